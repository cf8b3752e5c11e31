//! A record as a line.

use std::fmt::Write as _;
use std::io::Write as _;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use portolan_config::settings::AccessLogFormat as Format;

use super::selection::Selection;
use super::{Asked, Record};

/// `10/Oct/2000:13:55:36 +0000`
pub(super) const CLF_TIME: &[BorrowedFormatItem] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// Appends the record's line.
pub(super) fn write(format: Format, record: &Record, selection: &Selection, line: &mut Vec<u8>) {
    match format {
        Format::Common => {
            common(record, selection, line);
            let is_kept = |name: &'static str| selection.keeps(|| name);
            // Traefik's additions; the count of requests is not kept, and is given as `-`.
            let endpoint = record.endpoint.filter(|_| is_kept("ServiceURL"));
            let server = endpoint.map_or_else(|| "-".to_owned(), |(_, address)| format!("http://{address}"));
            let router = record.router.filter(|_| is_kept("RouterName")).unwrap_or("-");
            let millis = if is_kept("Duration") { record.took.as_millis() } else { 0 };
            let _ = write!(line, " - \"{router}\" \"{server}\" {millis}ms");
        }
        Format::Combined => common(record, selection, line),
        Format::Json => super::json::write(record, selection, line),
    }
    line.push(b'\n');
}

/// The combined format, which is the common one with referrer and user agent.
/// A field that is left out is a `-`, as one that is not known.
fn common(record: &Record, selection: &Selection, line: &mut Vec<u8>) {
    let shown = |name: &'static str, value: String| {
        if selection.keeps(|| name) { value } else { "-".to_owned() }
    };
    let nothing = Asked::default();
    let asked = record.asked.unwrap_or(&nothing);
    let request = record.asked.map_or_else(|| "-".to_owned(), |asked| request_line(asked, shown));
    let time = OffsetDateTime::from(record.started).format(CLF_TIME).unwrap_or_default();
    let _ = write!(
        line,
        "{} - {} [{}] \"{}\" {} {} \"{}\" \"{}\"",
        shown("ClientHost", record.client.ip().to_canonical().to_string()),
        shown("ClientUsername", user(&asked.user)),
        shown("StartUTC", time),
        quoted(&request),
        shown("DownstreamStatus", record.status.to_string()),
        shown("DownstreamContentSize", record.sent.to_string()),
        quoted(asked.referer()),
        quoted(asked.user_agent()),
    );
}

/// A name in a place that has no quotes: nothing in it may look like the next.
fn user(name: &str) -> String {
    quoted(name).replace(' ', "\\x20")
}

fn request_line(asked: &Asked, shown: impl Fn(&'static str, String) -> String) -> String {
    let method = shown("RequestMethod", asked.method().to_owned());
    let target = shown("RequestPath", asked.target().to_owned());
    format!("{method} {target} {}", shown("RequestProtocol", asked.protocol.to_owned()))
}

/// The host and the port that were asked for; `-` where no port was.
pub(super) fn host_and_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, "-"),
    }
}

/// Text that can't end its quotes or its line: what a client sent must not look like another record.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use portolan_config::settings::{FieldMode, Fields};

    use super::*;
    use crate::access_log::Agreed;
    use crate::access_log::selection::tests::modes;
    use crate::http::Reason;

    fn line(format: Format, asked: Option<&Asked>, reason: Option<Reason>) -> String {
        chosen_line(format, asked, reason, &Fields::default())
    }

    fn chosen_line(format: Format, asked: Option<&Asked>, reason: Option<Reason>, fields: &Fields) -> String {
        let record = Record {
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_123),
            took: Duration::from_micros(1500),
            client: "[::ffff:192.0.2.7]:1234".parse().unwrap(),
            tls: None,
            entry_point: "web",
            asked,
            status: 200,
            received: 0,
            sent: 321,
            router: Some("app@docker"),
            service: Some("app@docker"),
            endpoint: Some(("app-1", "10.0.0.2:80".parse().unwrap())),
            retries: 1,
            reason,
            told: None,
        };
        let mut line = Vec::new();
        write(format, &record, &Selection::new(fields, format), &mut line);
        String::from_utf8(line).unwrap()
    }

    fn asked(user_agent: &str) -> Asked {
        Asked::new("HTTP/1.1", ["GET", "/a?b", "app.test", "", user_agent])
    }

    #[test]
    fn the_text_formats_are_those_that_tools_read() {
        assert_eq!(
            line(Format::Combined, Some(&asked("curl/8")), None),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /a?b HTTP/1.1\" 200 321 \"-\" \"curl/8\"\n"
        );
        assert_eq!(
            line(Format::Common, Some(&asked("curl/8")), None),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /a?b HTTP/1.1\" 200 321 \"-\" \"curl/8\" - \
             \"app@docker\" \"http://10.0.0.2:80\" 1ms\n"
        );
    }

    #[test]
    fn what_a_client_sends_can_not_look_like_another_request() {
        let hostile = asked("a\" 200 \\ \u{1b}[31m\nx");
        let text = line(Format::Combined, Some(&hostile), None);
        assert!(text.ends_with("\"a\\\" 200 \\\\ \\x1b[31m\\x0ax\"\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(line(Format::Json, Some(&hostile), None).lines().count(), 1);
    }

    #[test]
    fn the_json_form_has_traefiks_names_and_the_reason() {
        let text = line(Format::Json, None, Some(Reason::NoEndpoint));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Reason"], "no_endpoint");
        assert_eq!(value["RouterName"], "app@docker");
        assert_eq!(value["ServiceAddr"], "10.0.0.2:80");
        assert_eq!(value["Duration"], 1_500_000);
        assert_eq!(value["StartUTC"], "2001-09-09T01:46:40.123000000Z");
        assert_eq!(value["ClientHost"], "192.0.2.7");
        assert_eq!(value["RequestScheme"], "http");
        assert_eq!(
            (&value["OriginStatus"], &value["TLSVersion"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
        let value: serde_json::Value =
            serde_json::from_str(&line(Format::Json, Some(&asked("x")), None)).unwrap();
        for (field, expected) in [
            ("RequestHost", "app.test"),
            ("RequestPort", "-"),
            ("RequestLine", "GET /a?b HTTP/1.1"),
            ("ServiceURL", "http://10.0.0.2:80"),
            ("ClientUsername", "-"),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
        assert_eq!((&value["OriginStatus"], &value["RetryAttempts"]), (&200.into(), &1.into()));
    }

    #[test]
    fn fields_are_left_out_as_they_are_chosen() {
        let few = Fields {
            default_mode: FieldMode::Drop,
            names: modes(&[("RequestPath", FieldMode::Keep), ("routername", FieldMode::Keep)]),
            ..Fields::default()
        };
        let mut asked = asked("x");
        asked.fields = vec![("X-One".to_owned(), "1".to_owned())];
        let text = chosen_line(Format::Json, Some(&asked), None, &few);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "RequestPath",
                "RouterName",
                "level",
                "msg",
                "request_Referer",
                "request_User-Agent",
                "request_X-One",
                "time"
            ]
        );
        assert_eq!(
            chosen_line(Format::Common, Some(&asked), None, &few),
            "- - - [-] \"- /a?b -\" - - \"-\" \"x\" - \"app@docker\" \"-\" 0ms\n"
        );
        let but_two = Fields {
            names: modes(&[("ClientAddr", FieldMode::Drop), ("entrypointname", FieldMode::Drop)]),
            ..Fields::default()
        };
        let text = chosen_line(Format::Json, Some(&asked), None, &but_two);
        assert!(text.starts_with("{\"ClientHost\"") && !text.contains("entryPointName"), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn a_host_is_told_from_its_port() {
        for (authority, expected) in [
            ("a.test", ("a.test", "-")),
            ("a.test:81", ("a.test", "81")),
            ("[::1]", ("[::1]", "-")),
            ("[::1]:81", ("[::1]", "81")),
            ("", ("", "-")),
        ] {
            assert_eq!(host_and_port(authority), expected, "{authority}");
        }
    }

    #[test]
    fn what_was_agreed_on_is_in_the_json_form() {
        let agreed = Agreed { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
        let record = Record {
            started: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            client: "192.0.2.7:1".parse().unwrap(),
            tls: Some(&agreed),
            entry_point: "web",
            asked: None,
            status: 400,
            received: 0,
            sent: 0,
            router: None,
            service: None,
            endpoint: None,
            retries: 0,
            reason: Some(Reason::BadRequest),
            told: None,
        };
        let mut line = Vec::new();
        write(Format::Json, &record, &Selection::new(&Fields::default(), Format::Json), &mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["TLSVersion"], "1.3");
        assert_eq!(value["TLSCipher"], "TLS_AES_128_GCM_SHA256");
        assert_eq!(value["RequestScheme"], "https");
        assert_eq!((&value["ClientAddr"], &value["RequestPath"]), (&"192.0.2.7:1".into(), &"".into()));
    }

    #[test]
    fn what_a_client_sends_is_in_the_json_form_as_it_was() {
        let every: String = ('\0'..'\u{180}').chain(['\u{2028}', '\u{1f600}']).collect();
        let text = line(Format::Json, Some(&asked(&every)), None);
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["request_User-Agent"], every.as_str());
    }
}
