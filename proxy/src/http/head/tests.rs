//! What is read, and what is refused.

use proptest::prelude::*;

use super::*;

fn refusal(head: &str) -> Option<Refused> {
    match parse_request(head.as_bytes(), &mut fields()) {
        Ok(Some(_)) => None,
        Ok(None) => panic!("incomplete: {head:?}"),
        Err(refused) => Some(refused),
    }
}

#[test]
fn a_head_is_read_however_the_bytes_arrive() {
    let head = b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for length in 0..head.len() {
        assert!(parse_request(&head[..length], &mut fields()).unwrap().is_none(), "{length}");
    }
    let mut room = fields();
    let parsed = parse_request(head, &mut room).unwrap().unwrap();
    assert_eq!((parsed.length, parsed.target, parsed.authority), (head.len(), "/a?b", "a.test"));
    assert!(!parsed.keep_alive);
}

#[test]
fn request_smuggling_has_no_way_in() {
    for (fields, detail) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding and Content-Length"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "several Content-Length fields"),
        ("Content-Length: 3, 3\r\n", "invalid Content-Length"),
        ("Content-Length: +3\r\n", "invalid Content-Length"),
        ("Content-Length: 0x3\r\n", "invalid Content-Length"),
        ("Content-Length: \r\n", "invalid Content-Length"),
        ("Content-Length: 99999999999999999999\r\n", "invalid Content-Length"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding that does not end in chunked",
        ),
        ("Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding that does not end in chunked"),
        ("Transfer-Encoding: xchunked\r\n", "Transfer-Encoding that does not end in chunked"),
        ("Transfer-Encoding: \x0bchunked\r\n", "invalid field value"),
        ("Transfer-Encoding : chunked\r\n", "invalid field name"),
        ("X: a\r\n b\r\n", "invalid field name"),
        ("X: a\rb\r\n", "invalid field value"),
        ("X: a\nY: b\r\n", "bare LF"),
        ("X: a\0b\r\n", "invalid field value"),
        (" X: a\r\n", "invalid field name"),
        (": a\r\n", "invalid field name"),
        ("Host: b.test\r\n", "several Host fields"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let refused = refusal(&head).unwrap_or_else(|| panic!("taken: {fields:?}"));
        assert_eq!((refused.reason, refused.detail), (Reason::BadRequest, detail), "{fields:?}");
    }
    let gzip = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    assert_eq!(refusal(gzip).unwrap().reason, Reason::NotImplemented);
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refusal(old).unwrap().detail, "Transfer-Encoding in HTTP/1.0");
}

#[test]
fn a_target_has_one_meaning_or_none() {
    for (line, authority, target) in [
        ("GET / HTTP/1.1", "a.test", "/"),
        ("GET http://B.test:81/x?y HTTP/1.1", "B.test:81", "/x?y"),
        ("GET HTTP://b.test HTTP/1.1", "b.test", "/"),
        ("OPTIONS * HTTP/1.1", "a.test", "*"),
        ("OPTIONS http://b.test HTTP/1.1", "b.test", "*"),
    ] {
        let head = format!("{line}\r\nHost: a.test\r\n\r\n");
        let mut room = fields();
        let parsed = parse_request(head.as_bytes(), &mut room).unwrap().unwrap();
        assert_eq!((parsed.authority, parsed.target), (authority, target), "{line}");
    }
    for line in [
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#x HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://a?x HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
    ] {
        let head = format!("{line}\r\nHost: a.test\r\n\r\n");
        assert_eq!(refusal(&head).map(|refused| refused.reason), Some(Reason::BadRequest), "{line}");
    }
    assert_eq!(
        refusal("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").map(|refused| refused.reason),
        Some(Reason::NotImplemented)
    );
}

#[test]
fn a_host_is_a_host() {
    for host in ["a.test/x", "a b", "a@b", "a?b", "a,b", "<a>", "a\"b"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refusal(&head).unwrap().detail, "invalid host", "{host}");
    }
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n").unwrap().detail, "no Host field");
    assert_eq!(refusal("GET / HTTP/1.0\r\n\r\n"), None);
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n"), None);
}

#[test]
fn heads_are_limited_in_bytes_and_in_fields() {
    let many = "X-Many: a\r\n".repeat(HEAD_FIELDS_MAX + 1);
    let refused = refusal(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).unwrap();
    assert_eq!((refused.reason, refused.detail), (Reason::HeadTooLarge, "too many fields"));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
    assert_eq!(refusal(&long).unwrap().reason, Reason::LineTooLong);
    for (head, reason) in [("GET /", Reason::LineTooLong), ("GET / HTTP/1.1\r\nX: ", Reason::HeadTooLarge)] {
        let unfinished = format!("{head}{}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(parse_request(unfinished.as_bytes(), &mut fields()).unwrap_err().reason, reason);
    }
}

#[test]
fn connections_stay_open_by_version_and_field() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Upgrade, Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        let mut room = fields();
        let parsed = parse_request(head.as_bytes(), &mut room).unwrap().unwrap();
        assert_eq!(parsed.keep_alive, keep_alive, "{head:?}");
    }
}

#[test]
fn upgrades_are_seen_but_not_h2c() {
    for (to, upgrade) in [("websocket", true), ("h2c", false)] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {to}\r\n\r\n");
        let mut room = fields();
        assert_eq!(parse_request(head.as_bytes(), &mut room).unwrap().unwrap().upgrade, upgrade);
    }
}

#[test]
fn an_answers_end_is_where_rfc_9112_has_it() {
    for (head, method, framing) in [
        ("200 OK\r\nContent-Length: 5\r\n", Method::Get, Framing::Length(5)),
        ("200 OK\r\nContent-Length: 5\r\n", Method::Head, Framing::Empty),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", Method::Get, Framing::Chunked),
        ("200 OK\r\n", Method::Get, Framing::UntilClose),
        ("204 No Content\r\n", Method::Get, Framing::Empty),
        ("304 Not Modified\r\nContent-Length: 5\r\n", Method::Get, Framing::Empty),
        ("100 Continue\r\n", Method::Post, Framing::Empty),
    ] {
        let text = format!("HTTP/1.1 {head}\r\n");
        let mut room = fields();
        assert_eq!(
            parse_response(text.as_bytes(), &mut room, method).unwrap().unwrap().framing,
            framing,
            "{head}"
        );
    }
    for head in [
        "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "200 OK\r\nTransfer-Encoding: gzip\r\n",
        "2000 OK\r\n",
    ] {
        let text = format!("HTTP/1.1 {head}\r\n");
        assert!(parse_response(text.as_bytes(), &mut fields(), Method::Get).is_err(), "{head}");
    }
}

/// Some text that heads are made of, and what may go wrong with it.
fn any_piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST /a HTTP/1.0",
        "Host: a",
        "X:",
        "X: ",
        "Y: 1 ",
        "Y:\t1",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
    ])
}

proptest! {
    #[test]
    fn a_bare_lf_is_seen_wherever_it_is(pieces in prop::collection::vec(any_piece(), 1..12), whole in any::<bool>()) {
        // Most of what chance makes is refused for other reasons.
        let text = if whole { format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", pieces.concat()) } else { pieces.concat() };
        let mut room = fields();
        let mut parsed = httparse::Request::new(&mut []);
        let Ok(httparse::Status::Complete(length)) = parsed.parse_with_uninit_headers(text.as_bytes(), &mut room) else {
            return Ok(());
        };
        let head = &text.as_bytes()[..length];
        let lone = (0..length).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r'));
        prop_assert_eq!(has_bare_lf(head, parsed.method.unwrap_or_default(), parsed.headers), lone, "{:?}", text);
    }
}
