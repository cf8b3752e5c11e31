//! WebSockets to endpoints that speak HTTP/2: over that where they take it (RFC 8441), else over HTTP/1.1.

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};

use super::head;
use crate::support::http2::Http2;
use crate::support::http2_origin::Http2Origin;
use crate::support::{End, Origin, World, soon};

/// The example of RFC 6455 §1.3.
const ASKS: &str = "GET /chat?x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: echo\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

async fn willing() -> Http2Origin {
    Http2Origin::tuned(None, |builder| {
        builder.enable_connect_protocol();
    })
    .await
}

#[tokio::test]
async fn a_client_of_http1_gets_a_stream_of_http2() {
    let mut origin = willing().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut asked = origin.asked().await;
    assert_eq!((asked.request.method(), asked.path()), (&Method::CONNECT, "/chat?x"));
    assert_eq!(asked.request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(asked.field("sec-websocket-protocol"), Some("echo"));
    assert_eq!((asked.field("sec-websocket-key"), asked.field("upgrade")), (None, None));
    let mut stream =
        asked.respond.send_response(head(200, &[("sec-websocket-protocol", "echo")]), false).unwrap();
    let told = client.head().await;
    assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
    for field in [
        format!("sec-websocket-accept: {ACCEPT}"),
        "Connection: Upgrade".to_owned(),
        "upgrade: websocket".to_owned(),
    ] {
        assert_eq!(told.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {told}");
    }
    for round in 0..3 {
        client.send(format!("ping {round}")).await;
        let piece = soon("a ping", asked.request.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(piece, format!("ping {round}"));
        stream.send_data(format!("pong {round}").into(), false).unwrap();
        client.expect(&format!("pong {round}")).await;
    }
    client.finish().await;
    assert_eq!(asked.body().await, (String::new(), None));
    stream.send_data(Bytes::from_static(b"still here"), true).unwrap();
    client.expect("still here").await;
    assert_eq!(client.ends().await, End::Clean);
    world.metric_becomes("portolan_entrypoint_requests_total", &["code=\"101\""], 1.0).await;
}

#[tokio::test]
async fn a_client_of_http2_gets_one_as_well() {
    let mut origin = willing().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    client.may_connect().await;
    let mut request = Request::builder().method(Method::CONNECT).uri("http://a.test/chat").body(()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, mut upload) = client.begin(request, false).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    upload.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(soon("a ping", asked.request.body_mut().data()).await.unwrap().unwrap(), "ping");
    stream.send_data(Bytes::from_static(b"pong"), false).unwrap();
    assert_eq!(soon("a pong", body.data()).await.unwrap().unwrap(), "pong");
    // A break is not an end.
    stream.send_reset(h2::Reason::INTERNAL_ERROR);
    let end = soon("the end", body.data()).await;
    assert!(end.is_some_and(|end| end.is_err()), "it looks like an end");
}

#[tokio::test]
async fn a_tunnel_that_is_declined_is_an_ordinary_answer() {
    let mut origin = willing().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    origin.asked().await.answer(403, &[], |_| "no".to_owned());
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
}

/// It says HTTP/1.1 to a server that has HTTP/2 without tunnels, on a connection of its own.
#[tokio::test]
async fn where_http2_has_no_tunnels_http1_is_spoken() {
    let mut origin = Origin::manual().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut first = origin.accept().await;
    first.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    first.send(crate::support::http2::frame(crate::support::http2::SETTINGS, 0, 0, &[])).await;
    let mut second = origin.accept().await;
    let head = second.head().await;
    assert!(
        head.starts_with("GET /chat?x HTTP/1.1\r\n") && head.contains("\r\nUpgrade: websocket\r\n"),
        "{head}"
    );
    second
        .send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\nhello"
        ))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    client.expect("hello").await;
    client.send("ping").await;
    second.expect("ping").await;
}
