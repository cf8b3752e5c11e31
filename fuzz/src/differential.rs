//! The engine beside hyper's HTTP/1 parser: what one takes for a request, the other must not take for two, or for another.

use std::convert::Infallible;
use std::sync::mpsc::channel;

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use portolan_proxy::fuzz::{SentOn, requests};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// A request as hyper understood it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    host: String,
    content: Vec<u8>,
}

/// Compares what both make of a client's bytes, and of what is sent on for them.
pub fn differential(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4096)];
    let ours = requests([bytes]).requests;
    if ours.is_empty() {
        return;
    }
    let on_the_wire: Vec<u8> =
        ours.iter().flat_map(|sent_on| sent_on.head.iter().chain(&sent_on.body)).copied().collect();
    let seen = seen_by_hyper(&on_the_wire);
    for (sent_on, seen) in ours.iter().zip(&seen) {
        assert_eq!(
            (&sent_on.method, &sent_on.target, &sent_on.host, &sent_on.content),
            (&seen.method, &seen.target, &seen.host, &seen.content),
            "what is sent on means something else to hyper"
        );
    }
    assert!(seen.len() <= ours.len(), "hyper sees {} requests in {}", seen.len(), ours.len());
    if let Some(unseen) = ours.get(seen.len()) {
        assert!(hyper_refuses(unseen), "hyper does not see {:?}", String::from_utf8_lossy(&unseen.head));
    }
    // As it came: hyper may take what we refuse, and refuse what we take, but both must not see different requests.
    for (sent_on, seen) in ours.iter().zip(seen_by_hyper(bytes)) {
        assert_eq!(
            (&sent_on.method, &sent_on.content),
            (&seen.method, &seen.content),
            "the same bytes mean something else to hyper"
        );
    }
}

/// hyper refuses some characters of a target that browsers send, and that no server takes for anything else. What comes
/// behind `Connection: close` or an upgrade it does not read.
fn hyper_refuses(sent_on: &SentOn) -> bool {
    sent_on.target.parse::<hyper::http::uri::PathAndQuery>().is_err()
        || sent_on.target.parse::<hyper::Uri>().is_err()
}

/// The requests that hyper's server finds in these bytes.
fn seen_by_hyper(bytes: &[u8]) -> Vec<Seen> {
    let (note, seen) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async move {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(bytes).await.expect("there is room");
        client.shutdown().await.expect("it is open");
        let service = service_fn(move |request: Request<Incoming>| {
            let note = note.clone();
            async move {
                let (head, body) = request.into_parts();
                // A body that breaks off, or turns out bad, is no request.
                if let Ok(body) = body.collect().await {
                    let host = head.headers.get("host").map(HeaderValue::as_bytes).unwrap_or_default();
                    let _ = note.send(Seen {
                        method: head.method.to_string(),
                        target: head.uri.path_and_query().map_or_else(|| "*".to_owned(), ToString::to_string),
                        host: String::from_utf8_lossy(host).into_owned(),
                        content: body.to_bytes().to_vec(),
                    });
                }
                Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
            }
        });
        let mut http = http1::Builder::new();
        // What was sent before the client was done is answered, as we do.
        http.timer(TokioTimer::new()).max_headers(200).half_close(true);
        let serving = http.serve_connection(TokioIo::new(server), service);
        let reading = async {
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let _ = tokio::join!(serving, reading);
    });
    seen.try_iter().collect()
}
