//! Answers whose bodies middlewares change on the way, in both versions of HTTP.

use std::io::Read;

use bytes::Bytes;
use http::Request;

use crate::support::http2::Http2;
use crate::support::{Origin, Reply, Seen, Then, World};

/// An answer as its bytes came.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as the server meant it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let body = self.body.as_slice();
        match self.field("content-encoding") {
            Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
            Some("br") => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
            Some("zstd") => zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text),
            _ => { body }.read_to_string(&mut text),
        }
        .expect("what was compressed can be read");
        text
    }
}

/// What a request is answered by HTTP/1.
pub(crate) async fn by_http1(world: &World, request: &str) -> Raw {
    let mut client = world.client().await;
    client.send(request).await;
    let head = client.head().await;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let has_end =
        ["content-length:", "transfer-encoding:"].iter().any(|name| head.to_ascii_lowercase().contains(name));
    let body = if has_end { client.body(&head).await } else { client.rest().await.0 };
    Raw { status: status.expect("a status"), fields, body }
}

/// What a request is answered by HTTP/2.
pub(crate) async fn by_http2(world: &World, request: Request<&[u8]>) -> Raw {
    let mut client = Http2::connect(world.http).await;
    let (parts, body) = request.into_parts();
    let (answer, mut upload) = client.begin(Request::from_parts(parts, ()), body.is_empty()).await;
    if !body.is_empty() {
        upload.send_data(Bytes::copy_from_slice(body), true).expect("the stream is open");
    }
    let (parts, mut stream) = answer.await.expect("an answer").into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.expect("data");
        stream.flow_control().release_capacity(data.len()).expect("room");
        body.extend_from_slice(&data);
    }
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
    Raw { status: parts.status.as_u16(), fields: fields.collect(), body }
}

/// What a GET with these fields is answered, by HTTP/1 and HTTP/2.
async fn get(world: &World, path: &str, fields: &[(&str, &str)]) -> [Raw; 2] {
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let first = by_http1(world, &format!("GET {path} HTTP/1.1\r\nHost: b.test\r\n{lines}\r\n")).await;
    let mut request = Request::get(format!("http://b.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let second = by_http2(world, request.body(&b""[..]).expect("a request")).await;
    [first, second]
}

fn long() -> String {
    let lines: Vec<String> = (0..3000).map(|line| format!("line {line} of what was asked for\n")).collect();
    lines.concat()
}

/// Answers in the way that the path says.
fn serve(seen: &Seen) -> Reply {
    let text = long();
    let whole = |fields: &str, body: &str| {
        Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len()))
    };
    match seen.target() {
        "/long" => whole("Content-Type: text/plain\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n", &text),
        "/short" => whole("Content-Type: text/plain\r\n", "short"),
        "/coded" => whole("Content-Encoding: x\r\n", &text),
        "/frozen" => whole("Cache-Control: no-transform\r\n", &text),
        "/page" => whole("", "<html><p>words"),
        "/image" => whole("Content-Type: image/png\r\n", &text),
        "/close" => {
            Reply::raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{text}")).then(Then::Close)
        }
        "/chunked" => {
            let mut answer =
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n".to_vec();
            for chunk in text.as_bytes().chunks(1000) {
                answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\nX-Sum: 1\r\n\r\n");
            Reply::raw(answer)
        }
        _ => whole("", "?"),
    }
}

async fn world(middlewares: &[(&str, &str)]) -> (World, Origin) {
    let origin = Origin::answering(serve).await;
    let mut world = World::in_front_of(&origin);
    for (name, yaml) in middlewares {
        world.define(name, yaml);
    }
    let names: Vec<&str> = middlewares.iter().map(|(name, _)| *name).collect();
    let faults = world.route_through("b.test", &names);
    assert!(faults.is_empty(), "{faults:?}");
    (world, origin)
}

#[tokio::test]
async fn answers_are_made_smaller_in_the_way_that_the_client_likes() {
    let (world, _origin) = world(&[("compress", "compress: {}")]).await;
    for path in ["/long", "/chunked", "/close"] {
        for coding in ["gzip", "br", "zstd"] {
            for raw in get(&world, path, &[("Accept-Encoding", coding)]).await {
                assert_eq!((raw.status, raw.field("content-encoding")), (200, Some(coding)), "{path}");
                assert_eq!(raw.text(), long(), "{path} {coding}");
                assert!(raw.body.len() * 4 < long().len(), "{path} {coding}: {}", raw.body.len());
                assert_eq!(raw.field("vary"), Some("Accept-Encoding"));
                assert_eq!(raw.field("accept-ranges"), None);
            }
        }
    }
    let [first, second] = get(&world, "/long", &[("Accept-Encoding", "br;q=0.5, zstd")]).await;
    assert_eq!((first.field("content-encoding"), second.field("etag")), (Some("zstd"), Some("W/\"x\"")));
}

#[tokio::test]
async fn what_is_not_worth_it_or_not_wanted_is_left_as_it_is() {
    let (world, _origin) = world(&[("compress", "compress: {excludedContentTypes: [image/png]}")]).await;
    for path in ["/short", "/coded", "/frozen", "/image"] {
        for raw in get(&world, path, &[("Accept-Encoding", "gzip")]).await {
            assert_ne!(raw.field("content-encoding"), Some("gzip"), "{path}");
            let length = raw.body.len().to_string();
            assert_eq!(raw.field("content-length"), Some(length.as_str()), "{path}: passed on as it came");
        }
    }
    for raw in get(&world, "/long", &[]).await {
        assert_eq!((raw.field("content-encoding"), raw.field("vary")), (None, None));
        assert_eq!((raw.text(), raw.field("etag")), (long(), Some("\"x\"")));
    }
}

#[tokio::test]
async fn http10_gets_what_it_understands_and_the_connection_goes_on_where_it_can() {
    let (world, _origin) = world(&[("compress", "compress: {}")]).await;
    let ask = "GET /chunked HTTP/1.0\r\nHost: b.test\r\nAccept-Encoding: gzip\r\n\r\n";
    let raw = by_http1(&world, ask).await;
    assert_eq!((raw.field("transfer-encoding"), raw.text()), (None, long()));
    let mut client = world.client().await;
    for _ in 0..3 {
        client.send("GET /long HTTP/1.1\r\nHost: b.test\r\nAccept-Encoding: gzip\r\n\r\n").await;
        let head = client.head().await;
        assert!(!client.body(&head).await.is_empty() && head.contains("gzip"), "{head}");
    }
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    world.define("compress", "compress: {}");
    world.route_through("b.test", &["compress"]);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    server
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut coded = Vec::new();
    let mut head = None;
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        server.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        if head.is_none() {
            head = Some(client.head().await);
        }
        // What came by now gives the event, though the answer goes on.
        let mut seen = String::new();
        while !seen.contains(event) {
            let line = client.through("\r\n").await;
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            coded.extend(client.exactly(size).await);
            client.expect("\r\n").await;
            seen.clear();
            let mut reader = flate2::read::GzDecoder::new(coded.as_slice());
            let mut byte = [0];
            while let Ok(1) = reader.read(&mut byte) {
                seen.push(char::from(byte[0]));
            }
        }
    }
    assert!(head.unwrap().contains("Content-Encoding: gzip"));
}

#[tokio::test]
async fn an_answer_without_a_type_is_given_one() {
    let (world, _origin) = world(&[("type", "contentType: {}"), ("compress", "compress: {}")]).await;
    for raw in get(&world, "/page", &[]).await {
        assert_eq!(raw.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!((raw.text().as_str(), raw.field("content-length")), ("<html><p>words", Some("14")));
    }
    for raw in get(&world, "/image", &[]).await {
        assert_eq!(raw.field("content-type"), Some("image/png"));
    }
}

#[tokio::test]
async fn answers_are_gathered_and_those_that_are_too_large_are_not_passed_on() {
    let (world, _origin) = world(&[("buffer", "buffering: {maxResponseBodyBytes: 1000}")]).await;
    for path in ["/long", "/chunked"] {
        for raw in get(&world, path, &[]).await {
            assert_eq!(raw.status, 500, "{path}");
        }
    }
    for raw in get(&world, "/short", &[]).await {
        assert_eq!((raw.status, raw.text().as_str()), (200, "short"));
    }
    let (world, _origin) = self::world(&[("buffer", "buffering: {}")]).await;
    for raw in get(&world, "/chunked", &[]).await {
        assert_eq!((raw.status, raw.text()), (200, long()));
    }
}

#[tokio::test]
async fn browsers_call_by_grpc_web() {
    let mut origin = Origin::answering(|seen| {
        let message = b"\0\0\0\0\x02hi";
        assert_eq!(seen.body, b"\0\0\0\0\x03ask", "{}", seen.head);
        let mut answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\n\r\n\
            7\r\n"
                .to_vec();
        answer.extend_from_slice(message);
        answer.extend_from_slice(b"\r\n0\r\ngrpc-status: 0\r\n\r\n");
        Reply::raw(answer)
    })
    .await;
    let mut world = World::in_front_of(&origin);
    world.define("web", "grpcWeb: {allowOrigins: ['https://page.test']}");
    world.route_through("b.test", &["web"]);
    let ask = |content_type: &str, body: &'static [u8]| {
        Request::post("http://b.test/s/M")
            .header("content-type", content_type)
            .header("origin", "https://page.test")
            .body(body)
            .expect("a request")
    };
    let frame = b"\0\0\0\0\x02hi\x80\0\0\0\x10grpc-status: 0\r\n";
    let raw = by_http2(&world, ask("application/grpc-web+proto", b"\0\0\0\0\x03ask")).await;
    assert_eq!(raw.body, frame);
    assert_eq!(raw.field("content-type"), Some("application/grpc-web+proto"));
    assert_eq!(raw.field("access-control-allow-origin"), Some("https://page.test"));
    assert!(origin.seen().await.head.contains("application/grpc+proto"));
    let raw = by_http2(&world, ask("application/grpc-web-text", b"AAAAAANhc2s=")).await;
    assert_eq!(raw.body, data_encoding::BASE64.encode(frame).into_bytes());
    let preflight = "OPTIONS /s/M HTTP/1.1\r\nHost: b.test\r\nOrigin: https://page.test\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-grpc-web,content-type\r\n\r\n";
    let raw = by_http1(&world, preflight).await;
    assert_eq!(raw.status, 200);
    assert_eq!(raw.field("access-control-allow-headers"), Some("x-grpc-web,content-type"));
}
