//! RFC 9112, section by section: what is taken, as the endpoint then gets it, and what is refused. A refused request ends
//! its connection, and nothing behind it is heard.

use crate::support::{End, Origin, Reply, World, ok};

/// Takes each of these with 200, or refuses it with the status, over a connection of its own.
async fn conform(cases: &[(&str, &str, u16)]) {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    world.route("any", "PathPrefix(`/`)", "app@test");
    world.serve(vec![crate::support::place("c0", origin.at)]);
    let mut taken = 0;
    for (section, request, expected) in cases {
        let mut client = world.client().await;
        // What a fooled server would take for a request of its own.
        let behind = "GET /behind HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        // It may be refused before all of it was written.
        let _ = client.try_send(format!("{request}{behind}")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, *expected, "§{section}: {request:?}: {}", answer.body);
        if *expected == 200 {
            assert_eq!(
                client.answer().await.status,
                200,
                "§{section}: {request:?}: what follows is a request"
            );
            taken += 2;
        } else {
            assert_eq!(answer.field("Connection"), Some("close"), "§{section}: {request:?}");
            assert_eq!(client.ends().await, End::Clean, "§{section}: {request:?}");
        }
    }
    assert_eq!(origin.seen_by_now().len(), taken, "what is refused reaches nobody");
}

#[tokio::test]
async fn section_2_messages() {
    conform(&[
        ("2.2", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("2.2", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("2.2", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("2.2", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("2.2", "GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("2.3", "GET /\r\n\r\n", 400),
    ])
    .await;
}

#[tokio::test]
async fn section_3_request_lines_and_targets() {
    conform(&[
        ("3", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("3", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.1", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.1", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.1", "!#$%&'*+-.^_`|~Az09 / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: \ta\t \r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: user:pass@a\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a/\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:99999999999999999999\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]\r\n\r\n", 200),
        ("3.2", "GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: [2001:db8::1\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: [a.test]\r\n\r\n", 400),
        ("3.2", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", 400),
        ("3.2.1", "GET /a?b=c&d#e HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.1", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.1", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("3.2.2", "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("3.2.2", "GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        // The field is not used, and still has to be one.
        ("3.2.2", "GET http://b/ HTTP/1.1\r\n\r\n", 400),
        ("3.2.2", "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("3.2.2", "GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("3.2.2", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET http://b:65536/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("3.2.2", "GET //b/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("3.2.3", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        ("3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", 200),
        ("3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ])
    .await;
}

#[tokio::test]
async fn section_5_fields() {
    conform(&[
        ("5", "GET / HTTP/1.1\r\nHost: a\r\nX:y\r\n\r\n", 200),
        ("5", "GET / HTTP/1.1\r\nHost: a\r\nX: \t y \t \r\n\r\n", 200),
        ("5", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", 200),
        ("5", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("5", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
        ("5.1", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        ("5.1", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("5.1", "GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n", 400),
        ("5.1", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400),
        ("5.1", "GET / HTTP/1.1\r\nHost: a\r\nX(: z\r\n\r\n", 400),
        ("5.2", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
        ("5.2", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", 400),
        ("5.2", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\n", 400),
        ("5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
        ("5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
        ("5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n", 200),
    ])
    .await;
}

#[tokio::test]
async fn section_6_bodies() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let cases: Vec<(&str, String, u16)> = [
        ("6.1", "1", CHUNKED, 200),
        ("6.1", "1", "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 200),
        ("6.1", "1", "Transfer-Encoding: \t chunked \t\r\n\r\n0\r\n\r\n", 200),
        ("6.1", "0", CHUNKED, 400),
        ("6.1", "1", "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: chunked,\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: ,chunked\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding:\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: xchunked\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: chunkedx\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: chunked;q=1\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: \"chunked\"\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: identity\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("6.1", "1", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("6.1", "1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("6.2", "1", "Content-Length: 5\r\n\r\nhello", 200),
        ("6.2", "1", "Content-Length: 005\r\n\r\nhello", 200),
        ("6.2", "1", "Content-Length: +5\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: -5\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: 0x5\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: 5 5\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: 5;x\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: 5.0\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: \u{665}\r\n\r\nhello", 400),
        ("6.2", "1", "Content-Length: 18446744073709551616\r\n\r\nhello", 400),
        ("6.3", "1", "Content-Length: 5, 5\r\n\r\nhello", 400),
        ("6.3", "1", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("6.3", "1", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        ("6.3", "1", "Content-Length:\r\n\r\nhello", 400),
        ("6.3", "1", "\r\n", 200),
    ]
    .into_iter()
    .map(|(section, minor, rest, status)| {
        (section, format!("{}{rest}", HEAD.replace("HTTP/1.1", &format!("HTTP/1.{minor}"))), status)
    })
    .collect();
    let cases: Vec<(&str, &str, u16)> =
        cases.iter().map(|(section, request, status)| (*section, request.as_str(), *status)).collect();
    conform(&cases).await;
}

/// Each is sent behind a head that was taken, so that the endpoint may have had the beginning; what follows a bad chunk
/// is never read as a request.
#[tokio::test]
async fn section_7_chunks() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let behind = "GET /behind HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let cases = [
        ("7.1", "5\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("7.1", "05\r\nhello\r\n000\r\n\r\n", Some("hello")),
        ("7.1", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", Some("01234567890123456789")),
        ("7.1", " 5\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "5 \r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "+5\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "0x5\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "5_0\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "5\nhello\r\n0\r\n\r\n", None),
        ("7.1", "5\rXhello\r\n0\r\n\r\n", None),
        ("7.1", "5\r\nhello\n0\r\n\r\n", None),
        ("7.1", "5\r\nhelloXX0\r\n\r\n", None),
        ("7.1", "4\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "10000000000000005\r\nhello\r\n0\r\n\r\n", None),
        ("7.1", "0\r\n\n", None),
        ("7.1.1", "5;x\r\nhello\r\n0;y=\"z\"\r\n\r\n", Some("hello")),
        ("7.1.1", "5;\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("7.1.1", "5;x\ny\r\nhello\r\n0\r\n\r\n", None),
        ("7.1.1", "5;x\ry\r\nhello\r\n0\r\n\r\n", None),
        ("7.1.1", "5;\0\r\nhello\r\n0\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: \t2\r\n\r\n", Some("hello")),
        ("7.1.2", "5\r\nhello\r\n0\r\nX-Sum: 1\nY: 2\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nX-Sum: a\rb\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n folded\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nX-Sum : 1\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\n: 1\r\n\r\n", None),
        ("7.1.2", "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n", None),
    ];
    for (section, body, content) in cases {
        let mut client = world.client().await;
        let _ = client.try_send(format!("{head}{body}{behind}")).await;
        let answer = client.answer().await;
        match content {
            Some(content) => {
                assert_eq!(answer.status, 200, "§{section}: {body:?}");
                assert_eq!(client.answer().await.status, 200, "§{section}: {body:?}");
                assert_eq!(origin.seen().await.body, content.as_bytes(), "§{section}: {body:?}");
                assert_eq!(origin.seen().await.target(), "/behind", "§{section}: {body:?}");
            }
            None => {
                assert_eq!(answer.status, 400, "§{section}: {body:?}");
                assert_eq!(client.ends().await, End::Clean, "§{section}: {body:?}");
            }
        }
    }
    assert_eq!(origin.seen_by_now().len(), 0);
}

#[tokio::test]
async fn section_9_connections() {
    let origin = Origin::answering(|seen| match seen.target() {
        "/last" => Reply::raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        _ => ok(""),
    })
    .await;
    let world = World::in_front_of(&origin);
    for (section, version, field, target, stays) in [
        ("9.3", "1.1", "", "/", true),
        ("9.3", "1.1", "Connection: close\r\n", "/", false),
        ("9.3", "1.1", "Connection: CLOSE\r\n", "/", false),
        ("9.3", "1.1", "Connection: x, close\r\n", "/", false),
        ("9.3", "1.1", "Connection: x\r\nConnection: close\r\n", "/", false),
        ("9.3", "1.1", "Connection: closed\r\n", "/", true),
        ("9.3", "1.0", "", "/", false),
        ("9.3", "1.0", "Connection: keep-alive\r\n", "/", true),
        ("9.3", "1.0", "Connection: keep-alive, close\r\n", "/", false),
        // That of the endpoint is its own.
        ("9.6", "1.1", "", "/last", true),
    ] {
        let mut client = world.client().await;
        let request = format!("GET {target} HTTP/{version}\r\nHost: a.test\r\n{field}\r\n");
        client.send(&request).await;
        let answer = client.answer().await;
        let told = match (version, stays) {
            (_, false) => Some("close"),
            ("1.0", true) => Some("keep-alive"),
            (_, true) => None,
        };
        assert_eq!((answer.status, answer.field("Connection")), (200, told), "§{section}: {request:?}");
        if stays {
            client.send(&request).await;
            assert_eq!(client.answer().await.status, 200, "§{section}: {request:?}");
        } else {
            assert_eq!(client.ends().await, End::Clean, "§{section}: {request:?}");
        }
    }
}
