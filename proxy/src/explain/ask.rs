//! The request that is asked about, made from a URL and header fields as curl takes them.

use std::net::{IpAddr, Ipv4Addr};

/// A request that nobody sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether it comes by TLS.
    pub(super) secure: bool,
    /// The name asked for by TLS: the URL's, whatever the field `Host` says.
    pub(super) server_name: String,
    /// The port that it comes to.
    pub(super) port: u16,
    /// Whether that was written, and not the scheme's own.
    pub(super) port_is_written: bool,
    /// The only entry point that is to be asked.
    pub(super) entry_point: Option<String>,
    /// Who would send it.
    pub(super) client: IpAddr,
    /// The head, as HTTP/1.1 has it.
    pub(super) head: Vec<u8>,
}

impl Ask {
    /// A request with this method for a URL: `http://host:port/path?query`, `host/path`, or `/path`. `headers` are lines
    /// `Name: value`; a `Host` among them counts more than the URL's. The error says what can't be understood.
    pub fn new(method: &str, url: &str, headers: &[String]) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            other => return Err(format!("`{other}` is no scheme that is served: expected http or https")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (host, port) = split_port(authority)?;
        let mut fields = Vec::new();
        let mut host_field = None;
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("`{header}` is no header field: expected `Name: value`"))?;
            if header.contains(['\r', '\n']) {
                return Err(format!("`{}` has more than one line", header.escape_debug()));
            }
            if name.trim().eq_ignore_ascii_case("host") {
                host_field = Some(value.trim().to_owned());
            } else {
                fields.push(format!("{}: {}\r\n", name.trim(), value.trim()));
            }
        }
        if authority.is_empty() && host_field.is_none() {
            return Err(format!("`{url}` has no host: write it in the URL, or as -H 'Host: …'"));
        }
        if [method, target.as_str(), authority]
            .iter()
            .any(|part| part.contains(|c: char| c.is_ascii_control() || c == ' '))
        {
            return Err(format!("`{method} {url}` has a space in it: write it as %20"));
        }
        let authority = host_field.unwrap_or_else(|| authority.to_owned());
        let server_name = if host.is_empty() { split_port(&authority)?.0 } else { host };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", fields.concat());
        Ok(Self {
            secure,
            server_name: server_name.to_owned(),
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            port_is_written: port.is_some(),
            entry_point: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            head: head.into_bytes(),
        })
    }

    /// The same as it comes to this entry point, whatever the URL's port is.
    #[must_use]
    pub fn on(mut self, entry_point: Option<String>) -> Self {
        self.entry_point = entry_point;
        self
    }

    /// The same from this client.
    #[must_use]
    pub fn by(mut self, client: IpAddr) -> Self {
        self.client = client;
        self
    }
}

/// The host of an authority, and its port where it has one.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        None | Some((_, "")) => Ok((authority.trim_end_matches(':'), None)),
        Some((host, port)) => match port.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err(format!("`{port}` in `{authority}` is no port")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_curl_reads_it() {
        for (url, headers, secure, port, head) in [
            ("http://a.test", &[][..], false, (80, false), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("a.test:8000/x?y#z", &[], false, (8000, true), "GET /x?y HTTP/1.1\r\nHost: a.test:8000\r\n\r\n"),
            ("HTTPS://u:p@[::1]/", &[], true, (443, false), "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
            (
                "localhost?a=b",
                &["host:b.test", "X-A:  1 "],
                false,
                (80, false),
                "GET /?a=b HTTP/1.1\r\nHost: b.test\r\nX-A: 1\r\n\r\n",
            ),
            ("/x", &["Host: b.test:81"], false, (80, false), "GET /x HTTP/1.1\r\nHost: b.test:81\r\n\r\n"),
        ] {
            let headers: Vec<String> = headers.iter().map(|&header| header.to_owned()).collect();
            let ask = Ask::new("GET", url, &headers).expect(url);
            assert_eq!((ask.secure, (ask.port, ask.port_is_written)), (secure, port), "{url}");
            assert_eq!(String::from_utf8(ask.head).expect("text"), head, "{url}");
        }
        let ask = Ask::new("GET", "/x", &["Host: b.test:81".to_owned()]).expect("a request");
        assert_eq!(ask.server_name, "b.test");
    }

    #[test]
    fn what_can_not_be_understood_is_said() {
        for (url, header, expected) in [
            ("ftp://a.test", "A: b", "`ftp` is no scheme"),
            ("a.test:99999/", "A: b", "`99999` in `a.test:99999` is no port"),
            ("a.test", "nothing", "`nothing` is no header field"),
            ("a.test", "A: b\r\nC: d", "has more than one line"),
            ("/only/a/path", "A: b", "has no host"),
            ("a.test/a b", "A: b", "write it as %20"),
        ] {
            let error = Ask::new("GET", url, &[header.to_owned()]).expect_err(url);
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
