//! The engine beside hyper's client: what one takes for an answer, the other must not take for another, or for two.

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portolan_proxy::fuzz::sent_back;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Compares what both make of a server's bytes, and of what is sent back for them.
pub fn differential_answers(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4096)];
    for method in ["GET", "HEAD"] {
        let Some(ours) = sent_back(method, bytes) else { continue };
        // hyper has limits of its own, and no status below 100.
        if let Some(seen) = seen_by_hyper(method, &ours.bytes) {
            assert_eq!(
                seen,
                (ours.status, ours.content.clone()),
                "{method}: what is sent back means something else to hyper"
            );
        }
        // As it came: hyper may refuse what we take, but both must not see different answers.
        if let Some(seen) = seen_by_hyper(method, bytes) {
            assert_eq!(
                seen,
                (ours.status, ours.content),
                "{method}: the same bytes mean something else to hyper"
            );
        }
    }
}

/// The answer that hyper's client finds in these bytes, if that is whole.
fn seen_by_hyper(method: &str, bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async move {
        let (client, mut server) = duplex(1 << 20);
        let (mut requests, connection) = http1::handshake(TokioIo::new(client)).await.ok()?;
        let asking = async move {
            let request = Request::builder().method(method).uri("/").header("host", "a");
            let request = request.body(Empty::<&[u8]>::new()).expect("a request");
            let (head, body) = requests.send_request(request).await.ok()?.into_parts();
            // One that breaks off, or turns out bad, is no answer.
            let content = body.collect().await.ok()?.to_bytes();
            Some((head.status.as_u16(), content.to_vec()))
        };
        let serving = async move {
            // Nothing before the request: it would be nobody's answer.
            let _ = server.read(&mut [0; 1024]).await;
            let _ = server.write_all(bytes).await;
            let _ = server.shutdown().await;
            let mut rest = Vec::new();
            let _ = server.read_to_end(&mut rest).await;
        };
        let (seen, _, ()) = tokio::join!(asking, connection, serving);
        seen
    })
}
