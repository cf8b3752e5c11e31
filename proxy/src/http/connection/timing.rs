//! How long a client is waited for. The clock is the tests' own.

use std::time::Duration;

use portolan_config::settings::EntryPointLimits;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::limits::{CLIENT_IDLE_TIMEOUT, REQUEST_HEAD_TIMEOUT, TLS_HANDSHAKE_TIMEOUT};
use crate::worker::tend_parked;

/// What became of a client.
struct Served {
    received: String,
    took: Duration,
    worker: Rc<Worker>,
}

impl Served {
    fn refusals(&self, reason: Reason) -> u64 {
        self.worker.metrics.refusals("web", reason)
    }
}

/// Serves one client, which does as `behave` says.
async fn served<C: Future<Output = TcpStream>>(behave: impl FnOnce(TcpStream) -> C) -> Served {
    served_within(EntryPointLimits::default(), behave).await
}

/// The same, at an entry point with these limits.
async fn served_within<C: Future<Output = TcpStream>>(
    limits: EntryPointLimits,
    behave: impl FnOnce(TcpStream) -> C,
) -> Served {
    let (worker, _drain) = Worker::alone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    let entry_point = Rc::new(EntryPoint::limited(&worker, limits));
    let begun = tokio::time::Instant::now();
    let received = async {
        let mut client = behave(client).await;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        String::from_utf8(received).unwrap()
    };
    let serving = serve(accepted.into(), peer, entry_point, worker.clone(), None);
    let together = async {
        // It goes on serving when what is parked is heard of.
        tokio::task::spawn_local(tend_parked(worker.clone()));
        tokio::join!(received, serving).0
    };
    let received = LocalSet::new().run_until(together).await;
    Served { received, took: begun.elapsed(), worker }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_cut_off_and_told_so() {
    let Served { received, took, .. } = served(|mut client| async {
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
async fn a_handshake_that_trickles_is_cut_off() {
    let Served { received, took, .. } = served(|mut client| async {
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01" {
            let _ = client.write_all(&[*byte]).await;
            sleep(TLS_HANDSHAKE_TIMEOUT / 4).await;
        }
        client
    })
    .await;
    assert_eq!(received, "");
    assert!(took < TLS_HANDSHAKE_TIMEOUT * 3, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_waits_is_let_go_of_without_a_word() {
    let short = Duration::from_secs(3);
    let limits = EntryPointLimits { idle_timeout: Some(short), ..EntryPointLimits::default() };
    for (limits, expected) in [(EntryPointLimits::default(), CLIENT_IDLE_TIMEOUT), (limits, short)] {
        let served = served_within(limits, |client| async { client }).await;
        assert_eq!((served.received.as_str(), served.refusals(Reason::ClientIdle)), ("", 1));
        assert!((expected..expected * 2).contains(&served.took), "{:?}", served.took);
    }
}

/// A read that fills its buffer to the last byte leaves the socket marked as readable.
#[tokio::test(start_paused = true)]
async fn a_client_that_filled_a_buffer_to_the_last_byte_may_wait_as_long_as_any_other() {
    let Served { received, took, .. } = served(|mut client| async {
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

#[tokio::test(start_paused = true)]
async fn a_head_has_no_more_time_than_the_whole_request() {
    let second = Duration::from_secs(1);
    let limits = EntryPointLimits { read_timeout: Some(second), ..EntryPointLimits::default() };
    let served = served_within(limits, |mut client| async {
        client.write_all(b"GET / HT").await.unwrap();
        client
    })
    .await;
    assert!(served.received.starts_with("HTTP/1.1 408 "), "{}", served.received);
    assert_eq!(served.refusals(Reason::HeadTimeout), 1);
    assert!((second..second * 3).contains(&served.took), "{:?}", served.took);
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_as_many_requests_and_grows_as_old_as_was_said() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n";
    let limits = EntryPointLimits { keep_alive_max_requests: Some(3), ..EntryPointLimits::default() };
    let served = served_within(limits, |mut client| async {
        client.write_all(&GET.repeat(5)).await.unwrap();
        client
    })
    .await;
    assert_eq!(served.received.matches("HTTP/1.1 404 ").count(), 3, "{}", served.received);
    assert_eq!(served.received.matches("Connection: close\r\n").count(), 1, "{}", served.received);
    let age = Duration::from_secs(30);
    let limits = EntryPointLimits { keep_alive_max_time: Some(age), ..EntryPointLimits::default() };
    let served = served_within(limits, |mut client| async {
        for _ in 0..3 {
            client.write_all(GET).await.unwrap();
            sleep(Duration::from_secs(20)).await;
        }
        client
    })
    .await;
    assert_eq!(served.received.matches("HTTP/1.1 404 ").count(), 3, "{}", served.received);
    assert_eq!(served.received.matches("Connection: close\r\n").count(), 1, "{}", served.received);
    assert!(served.took < CLIENT_IDLE_TIMEOUT, "{:?}", served.took);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_paused_is_served_as_any_other_and_let_go_of_in_time() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n";
    let paused = CLIENT_IDLE_TIMEOUT * 9 / 10;
    let served = served(|mut client| async {
        for _ in 0..3 {
            client.write_all(REQUEST).await.unwrap();
            sleep(paused).await;
        }
        client
    })
    .await;
    assert_eq!(served.received.matches("HTTP/1.1 404 ").count(), 3, "{}", served.received);
    assert!(served.took >= paused * 2 + CLIENT_IDLE_TIMEOUT, "{:?}", served.took);
    assert_eq!(served.refusals(Reason::ClientIdle), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_is_parked_and_keeps_little() {
    let (worker, _drain) = Worker::alone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    let entry_point = Rc::new(EntryPoint::alone(&worker));
    client.write_all(b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n").await.unwrap();
    let begun = tokio::time::Instant::now();
    serve(accepted.into(), peer, entry_point, worker.clone(), None).await;
    assert!((PARK_AFTER..PARK_AFTER * 4).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(worker.parking.len(), 1);
    assert!(size_of::<Waiting>() <= 112, "{} bytes", size_of::<Waiting>());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_through_which_nothing_moves_is_closed_in_the_end() {
    let (mut near, mut client) = pair().await;
    let (mut far, mut endpoint) = pair().await;
    let begun = tokio::time::Instant::now();
    let talking = async {
        client.write_all(b"x").await.unwrap();
        sleep(TUNNEL_IDLE_TIMEOUT * 9 / 10).await;
        endpoint.write_all(b"y").await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        received
    };
    let (worker, _drain) = Worker::alone();
    let relaying = async {
        let relayed =
            relay(&mut near, &mut far, Pace { idle: Some(TUNNEL_IDLE_TIMEOUT), half_closed: None }, &worker)
                .await;
        drop((near, far));
        relayed
    };
    let (received, relayed) = tokio::join!(talking, relaying);
    assert_eq!((received.as_slice(), relayed.received, relayed.sent), (&b"y"[..], 1, 1));
    assert_eq!(relayed.end, End::Idle);
    let took = begun.elapsed();
    assert!((TUNNEL_IDLE_TIMEOUT * 19 / 10..TUNNEL_IDLE_TIMEOUT * 3).contains(&took), "{took:?}");
}

async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0.into(), other)
}
