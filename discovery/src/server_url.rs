//! A server's URL or address as a file names it, taken apart. It asks nobody for an address.

use std::net::IpAddr;

use hyper::Uri;
use portolan_config::tls::Scheme;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// How it is spoken to.
    pub(crate) scheme: Scheme,
    /// Its name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path, without a slash at its end.
    pub(crate) path: String,
    /// Host and port as `Host` has them: without a port that is the scheme's own.
    pub(crate) authority: String,
}

impl ServerUrl {
    /// Reads `http://10.0.0.1:8080/path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fault =
            |why: &str| format!("`{text}` is not a server's URL: {why}; write `http://10.0.0.1:8080`");
        let uri: Uri = text.parse().map_err(|_| fault("it can't be read"))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            Some("h2c") => (Scheme::H2c, 80),
            Some(_) => return Err(fault("its scheme is none of http, https and h2c")),
            None => return Err(fault("it has no scheme")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| fault("it has no host"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let after_host =
            authority.rsplit('@').next().unwrap_or_default().strip_prefix(host).unwrap_or_default();
        let port = match after_host.strip_prefix(':') {
            None => default_port,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| fault("its port is none"))?
            }
        };
        let authority = if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
        Ok(Self {
            scheme,
            host: unbracketed(host).to_owned(),
            port,
            path: uri.path().trim_end_matches('/').to_owned(),
            authority,
        })
    }

    /// Reads `10.0.0.1:5432`, as layer 4 has it.
    pub(crate) fn parse_address(text: &str) -> Result<(String, u16), String> {
        let fault =
            || format!("`{text}` is not a server's address: write `10.0.0.1:5432` or `db.example:5432`");
        let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(fault)?;
        let host = unbracketed(host);
        if host.is_empty() || (host.contains(':') && host.parse::<IpAddr>().is_err()) {
            return Err(fault());
        }
        Ok((host.to_owned(), port))
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, scheme, host, port, path, authority) in [
            ("http://10.0.0.1:8080", Scheme::Http, "10.0.0.1", 8080, "", "10.0.0.1:8080"),
            ("http://web/", Scheme::Http, "web", 80, "", "web"),
            ("https://api.test/v1/", Scheme::Https, "api.test", 443, "/v1", "api.test"),
            ("h2c://[::1]:50051", Scheme::H2c, "::1", 50051, "", "[::1]:50051"),
        ] {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!((url.scheme, url.host.as_str(), url.port), (scheme, host, port), "{text}");
            assert_eq!((url.path.as_str(), url.authority.as_str()), (path, authority), "{text}");
        }
        for text in ["", "10.0.0.1:80", "web", "ftp://web", "http://", "http://web:0", "http://web:http"] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_layer_4_have_a_port() {
        assert_eq!(ServerUrl::parse_address("db:5432"), Ok(("db".to_owned(), 5432)));
        assert_eq!(ServerUrl::parse_address("[::1]:53"), Ok(("::1".to_owned(), 53)));
        for text in ["", "db", "db:", "db:0", ":53", "::1", "db:99999"] {
            assert!(ServerUrl::parse_address(text).is_err(), "{text}");
        }
    }
}
