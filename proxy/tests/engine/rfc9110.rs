//! RFC 9110, as far as it binds a gateway: what of a message is for the next hop, what passes, and what each method and
//! status means for where a message ends.

use crate::support::http2::Http2;
use crate::support::{End, Origin, World, ok};

/// One request and its answer: what the origin got, and what the client got until its connection ended.
async fn pass(request: &str, answer: &str) -> (String, String) {
    let (head, received) = pass_with_date(request, answer).await;
    if answer.contains("\r\nDate: ") {
        return (head, received);
    }
    // One that is added is the only thing that is.
    let (before, date) = received.split_once("Date: ").unwrap_or((&received, ""));
    let (_, behind) = date.split_once("\r\n").unwrap_or_default();
    (head, format!("{before}{behind}"))
}

/// The same, with the date that an answer without one is given.
async fn pass_with_date(request: &str, answer: &str) -> (String, String) {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(request).await;
    client.finish().await;
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    wire.send(answer).await;
    wire.finish().await;
    let (received, end) = client.rest().await;
    assert_eq!(end, End::Clean, "{request:?}");
    (head, String::from_utf8(received).expect("text"))
}

#[tokio::test]
async fn section_7_6_1_fields_for_one_hop_end_there() {
    // What `Connection` names besides; what of it must be gone; what must still be there.
    for (section, fields, gone, kept) in [
        ("7.6.1", "Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\n", &["X-A", "Connection"][..], &["X-B: 2"][..]),
        ("7.6.1", "Connection: x-a, X-B\r\nX-A: 1\r\nx-b: 2\r\n", &["X-A", "x-b"], &[]),
        ("7.6.1", "Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 2\r\n", &["X-A", "X-B"], &[]),
        ("7.6.1", "Connection: X-A\r\nX-A: 1\r\nX-A: 2\r\n", &["X-A"], &[]),
        ("7.6.1", "Connection: X\r\nX-A: 1\r\n", &[], &["X-A: 1"]),
        ("7.6.1", "Connection: \"X-A\"\r\nX-A: 1\r\n", &[], &["X-A: 1"]),
        (
            "7.6.1",
            "Connection: Host, Content-Length\r\nContent-Length: 0\r\n",
            &[],
            &["Host: a.test", "Content-Length: 0"],
        ),
        (
            "7.6.1",
            "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\n",
            &["Keep-Alive", "Proxy-", "TE:"],
            &[],
        ),
        ("7.6.3", "Via: 1.1 other\r\n", &[], &["Via: 1.1 other"]),
        ("7.8", "Upgrade: websocket\r\n", &["Upgrade"], &[]),
        ("7.8", "Connection: upgrade\r\nUpgrade: h2c\r\n", &["Upgrade"], &[]),
        (
            "7.8",
            "Connection: x, UPGRADE\r\nUpgrade: other/2\r\n",
            &[],
            &["Upgrade: other/2", "Connection: Upgrade"],
        ),
        (
            "11",
            "Authorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\n",
            &[],
            &["Authorization: Basic eDp5"],
        ),
        ("10.1.4", "TE: gzip\r\nConnection: TE\r\n", &["TE:", "Connection"], &[]),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let (head, _) = pass(&request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        for name in gone {
            assert!(!head.contains(&format!("\r\n{name}")), "§{section}: {name} of {fields:?} in {head}");
        }
        for field in kept {
            assert!(
                head.contains(&format!("\r\n{field}\r\n")),
                "§{section}: {field} of {fields:?} not in {head}"
            );
        }
    }
}

#[tokio::test]
async fn section_9_methods_pass_as_they_are() {
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get", "X!#$"] {
        let request = format!("{method} /p?q HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let (head, received) = pass(&request, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert!(head.starts_with(&format!("{method} /p?q HTTP/1.1\r\n")), "{head}");
        assert!(received.ends_with("\r\n\r\nok"), "{method}: {received}");
    }
}

/// Where an answer ends when its method or its status says that it has no content.
#[tokio::test]
async fn sections_6_and_15_answers_without_content() {
    for (section, method, status, fields, passed) in [
        ("9.3.2", "HEAD", "200 OK", "Content-Length: 5\r\n", "Content-Length: 5\r\n"),
        ("9.3.2", "HEAD", "200 OK", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n"),
        ("9.3.2", "HEAD", "404 Not Found", "", ""),
        ("15.3.5", "GET", "204 No Content", "", ""),
        ("8.6", "GET", "204 No Content", "Content-Length: 5\r\n", ""),
        ("15.4.5", "GET", "304 Not Modified", "Content-Length: 5\r\n", "Content-Length: 5\r\n"),
        ("15.3.6", "GET", "205 Reset Content", "Content-Length: 0\r\n", "Content-Length: 0\r\n"),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let (_, received) = pass(&request, &format!("HTTP/1.1 {status}\r\n{fields}\r\n")).await;
        assert_eq!(received, format!("HTTP/1.1 {status}\r\n{passed}\r\n"), "§{section}");
    }
}

#[tokio::test]
async fn section_15_2_interim_answers_come_before_the_answer() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (version, seen) in [("1.1", format!("{interim}{last}")), ("1.0", last.to_owned())] {
        let request = format!("GET / HTTP/{version}\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
        let (_, received) = pass(&request, &format!("{interim}{last}")).await;
        let received = received.replace("Connection: keep-alive\r\n", "");
        assert_eq!(received, seen, "HTTP/{version}");
    }
}

/// Statuses that nobody has heard of pass as they are (§15).
#[tokio::test]
async fn section_15_statuses_pass_as_they_are() {
    for status in ["299 Own", "418 I'm a teapot", "471 ", "999 x"] {
        let (_, received) = pass(
            "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
        )
        .await;
        assert!(received.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{received:?}");
    }
}

/// What is for those at either end passes as it is, whatever it says.
#[tokio::test]
async fn sections_8_13_and_14_what_is_for_the_ends_passes_untouched() {
    let asks = "Range: bytes=0-4, -2\r\nIf-Range: \"x\"\r\nIf-None-Match: W/\"a\", *\r\n\
        If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Encoding: gzip;q=0, *\r\nCache-Control: no-cache\r\n\
        Content-Type: a/b; c=\"d\\\"e\"\r\nContent-Encoding: gzip\r\nContent-Location: /x\r\nTrailer: X-Sum\r\n\
        Early-Data: 1\r\nExpect: other\r\nFrom: a@b\r\nReferer: http://c/\r\n";
    let says = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: W/\"a\"\r\nLast-Modified: x\r\nVary: *\r\n\
        Accept-Ranges: none\r\nContent-Range: bytes 0-4/9\r\nWWW-Authenticate: Basic realm=\"a, b\"\r\n\
        Retry-After: 9\r\nAllow: \r\nServer: (x)\r\nWarning: 110 - \"old\"\r\nAge: 7\r\nTrailer: X-Sum\r\n";
    for (section, status, framing) in [
        ("15.3.7", "206 Partial Content", "Content-Length: 5\r\n\r\nhello"),
        ("15.5.17", "416 Range Not Satisfiable", "Content-Length: 0\r\n\r\n"),
        ("15.5.20", "421 Misdirected Request", "Content-Length: 0\r\n\r\n"),
        ("RFC 8470 §5.2", "425 Too Early", "Content-Length: 0\r\n\r\n"),
        ("6.5", "200 OK", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{asks}\r\n");
        let answer = format!("HTTP/1.1 {status}\r\n{says}{framing}");
        let (head, received) = pass(&request, &answer).await;
        assert!(head.contains(&format!("\r\n{asks}")), "§{section}: {head}");
        assert_eq!(received, answer, "§{section}");
    }
}

/// A message that says that it was made at no time gets one; what says so keeps its own. Portolan's own answers have one.
#[tokio::test]
async fn section_6_6_1_an_answer_without_a_date_gets_one() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (_, received) = pass_with_date("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", answer).await;
    let (before, date) = received.split_once("\r\nDate: ").expect("a date");
    assert_eq!(before, "HTTP/1.1 200 OK\r\nContent-Length: 0");
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = date.trim_end();
    assert!(
        date.len() == 29 && date.is_char_boundary(3) && &date[3..5] == ", " && date.ends_with(" GMT"),
        "{date}"
    );
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for host in ["nowhere.test", "a.test"] {
        client.send(format!("GET / HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n")).await;
        assert!(client.answer().await.field("Date").is_some(), "{host}");
    }
    let mut newer = Http2::connect(world.http).await;
    for uri in ["http://nowhere.test/", "http://a.test/"] {
        assert!(newer.get(uri).await.fields.contains_key("date"), "{uri}");
    }
}

/// The hops that a request may take are counted for two methods, whatever the version.
#[tokio::test]
async fn section_7_6_2_hops_are_counted() {
    for (method, said, passed) in [
        ("OPTIONS", "10", Some("9")),
        ("TRACE", "1", Some("0")),
        ("OPTIONS", "x", Some("x")),
        ("OPTIONS", "18446744073709551616", Some("18446744073709551616")),
        ("GET", "0", Some("0")),
        ("OPTIONS", "0", None),
        ("TRACE", "00", None),
    ] {
        let mut origin = Origin::answering(|_| ok("")).await;
        let world = World::in_front_of(&origin);
        let mut client = world.client().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\nmax-forwards: {said}\r\n\r\n")).await;
        let status = client.answer().await.status;
        let mut newer = Http2::connect(world.http).await;
        let request = http::Request::builder().method(method).uri("http://a.test/");
        let request = request.header("max-forwards", said).body(&b""[..]).unwrap();
        assert_eq!(newer.ask(request).await.unwrap().status, status, "{method} {said}");
        let seen = origin.seen_by_now();
        match passed {
            None => assert_eq!((status, seen.len()), (501, 0), "{method} {said}"),
            Some(passed) => {
                assert_eq!((status, seen.len()), (200, 2), "{method} {said}");
                for seen in seen {
                    let head = seen.head.to_ascii_lowercase();
                    assert_eq!(head.matches("max-forwards: ").count(), 1, "{head}");
                    assert!(head.contains(&format!("\r\nmax-forwards: {passed}\r\n")), "{head}");
                }
            }
        }
    }
}

/// A proxy that is no forward proxy opens no tunnel to anywhere, in any version.
#[tokio::test]
async fn section_9_3_6_connect_opens_no_tunnel() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    for target in ["a.test:443", "a.test", "/", "http://a.test/"] {
        let mut client = world.client().await;
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 501, "{target}");
        assert_eq!(client.ends().await, End::Clean, "{target}");
    }
    let mut newer = Http2::connect(world.http).await;
    let request = http::Request::connect("a.test:443").body(&b""[..]).unwrap();
    assert_eq!(newer.ask(request).await.unwrap().status, 501);
    assert_eq!(origin.seen_by_now().len(), 0);
}
