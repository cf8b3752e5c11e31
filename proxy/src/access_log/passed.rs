//! A connection or a UDP session as a line: Traefik's field names for what it has in common with a request, and nothing
//! for what only HTTP has.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use portolan_config::Protocol;
use portolan_config::settings::AccessLogFormat as Format;
use time::OffsetDateTime;

use super::Agreed;
use super::format::{CLF_TIME, quoted};
use super::json::{Object, address, ip, text_or_null, utc};
use super::selection::Selection;

/// One connection or session, when it is over.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) protocol: Protocol,
    /// When it began.
    pub(crate) started: SystemTime,
    /// How long it lasted.
    pub(crate) took: Duration,
    pub(crate) client: SocketAddr,
    /// What its TLS is, where it ended here.
    pub(crate) tls: Option<&'a Agreed>,
    pub(crate) entry_point: &'a str,
    /// The name that the client asked for by TLS; empty where it did not.
    pub(crate) server_name: &'a str,
    /// The status of HTTP that comes closest to why it ended.
    pub(crate) status: u16,
    /// Bytes from the client.
    pub(crate) received: u64,
    /// Bytes to the client.
    pub(crate) sent: u64,
    /// The qualified names, where it got that far.
    pub(crate) router: Option<&'a str>,
    pub(crate) service: Option<&'a str>,
    /// The endpoint by name and address.
    pub(crate) endpoint: Option<(&'a str, SocketAddr)>,
    /// Why it ended.
    pub(crate) reason: &'static str,
}

/// Appends the line.
pub(super) fn write(format: Format, passed: &Passed, selection: &Selection, line: &mut Vec<u8>) {
    match format {
        Format::Common => {
            common(passed, selection, line);
            let is_kept = |name: &'static str| selection.keeps(|| name);
            let endpoint = passed.endpoint.filter(|_| is_kept("ServiceURL"));
            let server = endpoint.map_or_else(|| "-".to_owned(), |(_, address)| url(passed, address));
            let router = passed.router.filter(|_| is_kept("RouterName")).unwrap_or("-");
            let millis = if is_kept("Duration") { passed.took.as_millis() } else { 0 };
            let (received, reason) = (passed.received, passed.reason);
            let _ = write!(line, " - \"{router}\" \"{server}\" {millis}ms {received} {reason}");
        }
        Format::Combined => common(passed, selection, line),
        Format::Json => json(passed, selection, line),
    }
    line.push(b'\n');
}

/// The combined format. In place of the request stands the protocol, and the name that was asked for.
fn common(passed: &Passed, selection: &Selection, line: &mut Vec<u8>) {
    let shown = |name: &'static str, value: String| {
        if selection.keeps(|| name) { value } else { "-".to_owned() }
    };
    let time = OffsetDateTime::from(passed.started).format(CLF_TIME).unwrap_or_default();
    let _ = write!(
        line,
        "{} - - [{}] \"{} {}\" {} {} \"-\" \"-\"",
        shown("ClientHost", passed.client.ip().to_canonical().to_string()),
        shown("StartUTC", time),
        shown("RequestProtocol", upper(passed.protocol).to_owned()),
        shown("RequestHost", quoted(passed.server_name)),
        shown("DownstreamStatus", passed.status.to_string()),
        shown("DownstreamContentSize", passed.sent.to_string()),
    );
}

fn upper(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

fn url(passed: &Passed, address: SocketAddr) -> String {
    let mut url = String::new();
    // Writing to memory does not fail.
    let _ = write!(url, "{}://{address}", passed.protocol.as_str());
    url
}

fn json(passed: &Passed, selection: &Selection, line: &mut Vec<u8>) {
    let client = SocketAddr::new(passed.client.ip().to_canonical(), passed.client.port());
    let mut object = Object::begin(selection, line);
    if let Some(line) = object.field("\"ClientAddr\":\"") {
        address(client, line);
        line.push(b'"');
    }
    if let Some(line) = object.field("\"ClientHost\":\"") {
        ip(client.ip(), line);
        line.push(b'"');
    }
    object.number("\"ClientPort\":", client.port().into());
    object.number("\"DownstreamContentSize\":", passed.sent);
    object.number("\"DownstreamStatus\":", passed.status.into());
    // Nanoseconds.
    object.number("\"Duration\":", u64::try_from(passed.took.as_nanos()).unwrap_or(u64::MAX));
    object.text_or_null("\"EndpointName\":", passed.endpoint.map(|(name, _)| name));
    object.text("\"Reason\":", passed.reason);
    object.number("\"RequestContentSize\":", passed.received);
    object.text("\"RequestHost\":", passed.server_name);
    object.text("\"RequestProtocol\":", upper(passed.protocol));
    object.text("\"RequestScheme\":", passed.protocol.as_str());
    object.text_or_null("\"RouterName\":", passed.router);
    if let Some(line) = object.field("\"ServiceAddr\":") {
        text_or_null(passed.endpoint.map(|(_, address)| address.to_string()).as_deref(), line);
    }
    object.text_or_null("\"ServiceName\":", passed.service);
    if let Some(line) = object.field("\"ServiceURL\":") {
        text_or_null(passed.endpoint.map(|(_, address)| url(passed, address)).as_deref(), line);
    }
    let started = utc(passed.started.into());
    if let Some(line) = object.field("\"StartUTC\":\"") {
        line.extend_from_slice(&started);
        line.push(b'"');
    }
    if let Some(tls) = passed.tls {
        object.text("\"TLSCipher\":", &tls.cipher);
        object.text("\"TLSVersion\":", tls.version);
    }
    object.text("\"entryPointName\":", passed.entry_point);
    let line = object.always("\"level\":\"info\",\"msg\":\"\",\"time\":\"");
    line.extend_from_slice(&started);
    line.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use portolan_config::settings::Fields;

    use super::*;

    fn line(format: Format, server_name: &str, endpoint: Option<(&str, SocketAddr)>) -> String {
        let passed = Passed {
            protocol: Protocol::Tcp,
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_123),
            took: Duration::from_micros(1500),
            client: "[::ffff:192.0.2.7]:1234".parse().unwrap(),
            tls: None,
            entry_point: "db",
            server_name,
            status: 200,
            received: 12,
            sent: 321,
            router: endpoint.map(|_| "pg@docker"),
            service: endpoint.map(|_| "pg@docker"),
            endpoint,
            reason: "done",
        };
        let mut line = Vec::new();
        write(format, &passed, &Selection::new(&Fields::default(), format), &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_common_form_says_what_moved_and_why_it_ended() {
        let endpoint = Some(("pg-1", "10.0.0.2:5432".parse().unwrap()));
        assert_eq!(
            line(Format::Common, "db.test", endpoint),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"TCP db.test\" 200 321 \"-\" \"-\" - \"pg@docker\" \
             \"tcp://10.0.0.2:5432\" 1ms 12 done\n"
        );
        assert_eq!(
            line(Format::Combined, "", None),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"TCP -\" 200 321 \"-\" \"-\"\n"
        );
    }

    #[test]
    fn the_json_form_has_the_names_that_requests_have() {
        let hostile = "a\"b\n";
        let text = line(Format::Json, hostile, Some(("pg-1", "[fd00::2]:5432".parse().unwrap())));
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (field, expected) in [
            ("ClientAddr", "192.0.2.7:1234"),
            ("RequestHost", hostile),
            ("RequestProtocol", "TCP"),
            ("RouterName", "pg@docker"),
            ("ServiceURL", "tcp://[fd00::2]:5432"),
            ("EndpointName", "pg-1"),
            ("Reason", "done"),
            ("StartUTC", "2001-09-09T01:46:40.123000000Z"),
            ("entryPointName", "db"),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
        assert_eq!(
            (&value["RequestContentSize"], &value["DownstreamContentSize"]),
            (&12.into(), &321.into())
        );
        let nowhere: serde_json::Value = serde_json::from_str(&line(Format::Json, "", None)).unwrap();
        assert_eq!(
            (&nowhere["ServiceURL"], &nowhere["RouterName"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
    }
}
