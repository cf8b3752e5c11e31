//! How long a client is waited for. The clock is the tests' own.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;

/// Serves one client, which does as `behave` says; gives what it received and how long that took.
async fn served<C: Future<Output = TcpStream>>(behave: impl FnOnce(TcpStream) -> C) -> (String, Duration) {
    let (worker, _drain) = Worker::alone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    let entry_point = Rc::new(EntryPoint::alone(&worker));
    let begun = tokio::time::Instant::now();
    let received = async {
        let mut client = behave(client).await;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        String::from_utf8(received).unwrap()
    };
    let (received, ()) = LocalSet::new()
        .run_until(async { tokio::join!(received, serve(accepted.into(), peer, entry_point, worker)) })
        .await;
    (received, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_cut_off_and_told_so() {
    let (received, took) = served(|mut client| async {
        for byte in b"GET / HT" {
            // It may be cut off meanwhile.
            let _ = client.write_all(&[*byte]).await;
            sleep(REQUEST_HEAD_TIMEOUT / 4).await;
        }
        client
    })
    .await;
    assert!(received.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{received}");
    assert!(took < REQUEST_HEAD_TIMEOUT * 3, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_waits_is_let_go_of_without_a_word() {
    let (received, took) = served(|client| async { client }).await;
    assert_eq!(received, "");
    assert!((CLIENT_IDLE_TIMEOUT..CLIENT_IDLE_TIMEOUT * 2).contains(&took), "{took:?}");
}

/// A read that fills its buffer to the last byte leaves the socket marked as readable.
#[tokio::test(start_paused = true)]
async fn a_client_that_filled_a_buffer_to_the_last_byte_may_wait_as_long_as_any_other() {
    let (received, took) = served(|mut client| async {
        let head = "GET / HTTP/1.1\r\nHost: nowhere\r\nX: \r\n\r\n";
        let filler = "x".repeat(crate::limits::BUFFER_BYTES - head.len());
        client.write_all(head.replace("X: ", &format!("X: {filler}")).as_bytes()).await.unwrap();
        client
    })
    .await;
    assert!(received.starts_with("HTTP/1.1 404 Not Found\r\n"), "{received}");
    assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received}");
    assert!(took >= CLIENT_IDLE_TIMEOUT, "{took:?}");
}
