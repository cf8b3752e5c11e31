//! RFC 9110, as far as it binds a gateway: what of a message is for the next hop, what passes, and what each method and
//! status means for where a message ends.

use crate::support::{End, Origin, World};

/// One request and its answer: what the origin got, and what the client got until its connection ended.
async fn pass(request: &str, answer: &str) -> (String, String) {
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
