//! WebSocket over HTTP/2 (RFC 8441), to endpoints that speak HTTP/1.1.

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};

use crate::support::http2::{Http2, answered};
use crate::support::{Origin, Wire, World, soon};

fn asks() -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.test/chat?x")
        .header("sec-websocket-protocol", "echo")
        .header("origin", "http://a.test")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

/// The value of a field of a head.
fn field<'h>(head: &'h str, name: &str) -> &'h str {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).split_once(": ").unwrap().1
}

/// The `Sec-WebSocket-Accept` for a key, by a program of its own.
fn accept(key: &str) -> String {
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    );
    let digits: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    // In groups of six bits, the last of which lacks two.
    let bit = |at: usize| hash.as_ref().get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    let text: String =
        (0..27).map(|group| digits[(0..6).fold(0, |value, at| value << 1 | bit(group * 6 + at))]).collect();
    text + "="
}

/// The origin's end, after it has read the request.
async fn asked(origin: &mut Origin) -> (Wire, String) {
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    assert!(head.starts_with("GET /chat?x HTTP/1.1\r\nHost: a.test\r\n"), "{head}");
    assert_eq!(field(&head, "upgrade"), "websocket");
    assert_eq!(field(&head, "connection"), "Upgrade");
    assert_eq!(field(&head, "sec-websocket-version"), "13");
    assert_eq!(field(&head, "sec-websocket-protocol"), "echo");
    let key = field(&head, "sec-websocket-key").to_owned();
    (wire, key)
}

fn switches(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: echo\r\n\r\n"
    )
}

#[tokio::test]
async fn bytes_pass_both_ways_until_both_sides_are_done() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    client.may_connect().await;
    let (answer, mut upload) = client.begin(asks(), false).await;
    let (mut wire, key) = asked(&mut origin).await;
    wire.send(format!("{}hello", switches(&accept(&key)))).await;
    let answer = soon("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "echo");
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let mut body = answer.into_body();
    assert_eq!(soon("a greeting", body.data()).await.unwrap().unwrap(), "hello");
    for round in 0..3 {
        upload.send_data(Bytes::from(format!("ping {round}")), false).unwrap();
        wire.expect(&format!("ping {round}")).await;
        wire.send(format!("pong {round}")).await;
        assert_eq!(soon("a pong", body.data()).await.unwrap().unwrap(), format!("pong {round}"));
    }
    upload.send_data(Bytes::new(), true).unwrap();
    wire.ends().await;
    wire.send("still here").await;
    assert_eq!(soon("a last word", body.data()).await.unwrap().unwrap(), "still here");
    drop(wire);
    // The end may come with a frame of its own, which is empty.
    while let Some(last) = soon("the end", body.data()).await {
        assert_eq!(last.unwrap(), "");
    }
    world.metric_becomes("portolan_service_connections_open", &[], 0.0).await;
    world
        .metric_becomes("portolan_entrypoint_requests_total", &["protocol=\"h2\"", "code=\"200\""], 1.0)
        .await;
}

#[tokio::test]
async fn a_client_that_breaks_off_breaks_the_tunnel_off() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    client.may_connect().await;
    let (answer, mut upload) = client.begin(asks(), false).await;
    let (mut wire, key) = asked(&mut origin).await;
    wire.send(switches(&accept(&key))).await;
    let _answer = soon("an answer", answer).await.unwrap();
    upload.send_reset(h2::Reason::CANCEL);
    wire.ends().await;
    world.metric_becomes("portolan_service_connections_open", &[], 0.0).await;
}

#[tokio::test]
async fn an_endpoint_that_did_not_understand_opens_no_tunnel() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    client.may_connect().await;
    for (answers, status) in [
        (switches("bm90IHRoZSByaWdodCBvbmU="), 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".to_owned(), 403),
    ] {
        let (answer, _upload) = client.begin(asks(), false).await;
        let (mut wire, _) = asked(&mut origin).await;
        wire.send(&answers).await;
        assert_eq!(soon("an answer", answered(answer)).await.unwrap().status, status, "{answers}");
    }
}

/// Such a tunnel would lead anywhere.
#[tokio::test]
async fn any_other_connect_is_refused() {
    let origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    client.may_connect().await;
    let mut other = asks();
    other.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let plain = Request::builder().method(Method::CONNECT).uri("a.test:443").body(()).unwrap();
    for request in [other, plain] {
        let (answer, _upload) = client.begin(request, false).await;
        assert_eq!(soon("an answer", answered(answer)).await.unwrap().status, 501);
    }
}
