//! How long each side is waited for. The clock is the tests' own.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::carrier::{ConnectedBy, connect_tcp};
use super::*;
use crate::limits::{CONNECT_PATIENCE, CONNECT_TIMEOUT, RESPONSE_HEAD_TIMEOUT, TUNNEL_IDLE_TIMEOUT};
use crate::table::tests::upstream;

/// Passes on an upload of ten bytes, which come as `behave` says, to an endpoint that answers when it has them all.
async fn upload<C: Future<Output = TcpStream>>(
    answers: bool,
    behave: impl FnOnce(TcpStream) -> C,
) -> (Outcome, Duration) {
    let endpoint = async move |mut connection: TcpStream| {
        if read_whole(&mut connection).await && answers {
            connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
        connection
    };
    upload_to(endpoint, |_| {}, behave).await
}

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";

/// Reads the head and ten bytes; gives whether they came.
async fn read_whole(connection: &mut TcpStream) -> bool {
    connection.read_exact(&mut vec![0; HEAD.len() + 10]).await.is_ok()
}

/// The same, with this to be said of the request and an endpoint that does as it likes.
async fn upload_to<C: Future<Output = TcpStream>>(
    endpoint: impl AsyncFnOnce(TcpStream) -> TcpStream,
    tune: impl FnOnce(&mut Exchange),
    behave: impl FnOnce(TcpStream) -> C,
) -> (Outcome, Duration) {
    let (worker, _drain) = Worker::alone();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut upstream = upstream(&[true]);
    Arc::get_mut(&mut upstream.available[0]).unwrap().address = origin.local_addr().unwrap();
    let mut head = worker.buffers.take();
    head.put(HEAD);
    let mut request = Exchange::plain(Method::Put, Framing::Length(10), head, Arc::new(upstream));
    tune(&mut request);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut accepted = Stream::from(accepted);
    let begun = Instant::now();
    let exchanged = async {
        let mut inbound = worker.buffers.take();
        let outcome =
            Box::pin(exchange(&mut accepted, &mut inbound, request, &mut Carrier::Pooled, &worker)).await;
        (outcome, begun.elapsed())
    };
    let endpoint = async {
        let (connection, _) = origin.accept().await.unwrap();
        endpoint(connection).await
    };
    let together = async { tokio::join!(exchanged, endpoint, behave(client)).0 };
    LocalSet::new().run_until(together).await
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_that_makes_progress_is_never_cut_off() {
    let (outcome, took) = upload(true, |mut client| async {
        for _ in 0..10 {
            sleep(BODY_IDLE * 9 / 10).await;
            client.write_all(b"x").await.unwrap();
        }
        client
    })
    .await;
    assert_eq!((outcome.status, outcome.failure, outcome.keep_alive), (Some(204), None, true));
    assert!(took > RESPONSE_HEAD_TIMEOUT, "{took:?}: it has to outlast every other deadline");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stands_still_is_given_up() {
    let (outcome, took) = upload(true, |mut client| async {
        client.write_all(b"x").await.unwrap();
        client
    })
    .await;
    assert_eq!(outcome.failure, Some(Reason::BodyIdle));
    assert!((BODY_IDLE..BODY_IDLE * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_given_up() {
    let (outcome, took) = upload(false, |mut client| async {
        client.write_all(b"0123456789").await.unwrap();
        client
    })
    .await;
    assert_eq!(outcome.failure, Some(Reason::ResponseTimeout));
    assert!((RESPONSE_HEAD_TIMEOUT..RESPONSE_HEAD_TIMEOUT * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_to_be_done_by_then_is_cut_off_though_it_makes_progress() {
    let allowed = BODY_IDLE * 3;
    let deadlines = Deadlines { request: Some(Moment::now() + allowed), answer: None };
    let (outcome, took) = upload_to(
        async |connection| connection,
        |request| request.deadlines = deadlines,
        |mut client| async {
            for _ in 0..5 {
                // It may be cut off meanwhile.
                let _ = client.write_all(b"x").await;
                sleep(BODY_IDLE * 9 / 10).await;
            }
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure), (None, Some(Reason::RequestTimeout)));
    assert!((allowed..allowed + BODY_IDLE).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_to_be_done_by_then_is_not_waited_for_longer() {
    let allowed = Duration::from_secs(7);
    let deadlines = Deadlines { request: None, answer: Some(Moment::now() + allowed) };
    let (outcome, took) = upload_to(
        async |connection| connection,
        |request| request.deadlines = deadlines,
        |mut client| async {
            client.write_all(b"0123456789").await.unwrap();
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure), (None, Some(Reason::AnswerTimeout)));
    assert!((allowed..allowed * 2).contains(&took), "{took:?}");
}

/// The kernel drops what asks for a connection while the queue of a listener is full.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_accept_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let mut target = (*upstream(&[true]).available[0]).clone();
    target.address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    let begun = Instant::now();
    let reason = loop {
        match connect_tcp(&target, ConnectedBy::of(&target, false).connected).await {
            Ok(connection) => waiting.push(connection),
            Err(reason) => break reason,
        }
        assert!(waiting.len() < 100, "the queue never fills");
    };
    assert_eq!(reason, Reason::ConnectTimeout);
    let took = begun.elapsed();
    assert!((CONNECT_TIMEOUT..CONNECT_TIMEOUT * 2).contains(&took), "{took:?}");
    let begun = Instant::now();
    let patient = ConnectedBy::of(&target, true).connected;
    assert_eq!(connect_tcp(&target, patient).await.unwrap_err(), Reason::ConnectTimeout);
    assert!(begun.elapsed() < CONNECT_PATIENCE * 2, "another one may be had");
    target.reach.connect = Duration::from_millis(100);
    let begun = Instant::now();
    let own = ConnectedBy::of(&target, true).connected;
    assert_eq!(connect_tcp(&target, own).await.unwrap_err(), Reason::ConnectTimeout);
    assert!(begun.elapsed() < CONNECT_PATIENCE, "the target's own deadline counts");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_to_be_told_to_go_on_is_not_cut_off_for_that() {
    let slow = async |mut connection: TcpStream| {
        connection.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
        sleep(BODY_IDLE * 5 / 2).await;
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        connection.read_exact(&mut [0; 10]).await.unwrap();
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        connection
    };
    let (outcome, _) = upload_to(
        slow,
        |request| request.expects_continue = true,
        |mut client| async {
            client.read_exact(&mut [0; "HTTP/1.1 100 Continue\r\n\r\n".len()]).await.unwrap();
            // It may take its time with the body, as anybody may.
            sleep(BODY_IDLE * 9 / 10).await;
            client.write_all(b"0123456789").await.unwrap();
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure, outcome.keep_alive), (Some(204), None, true));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_told_to_go_on_and_does_not_is_given_up() {
    let inviting = async |mut connection: TcpStream| {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        connection
    };
    let tune = |request: &mut Exchange| request.expects_continue = true;
    let (outcome, took) = upload_to(inviting, tune, |client| async { client }).await;
    assert_eq!(outcome.failure, Some(Reason::BodyIdle));
    assert!((BODY_IDLE..BODY_IDLE * 3).contains(&took), "{took:?}");
}

/// Only who breaks off is gone: who has said all may wait as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_client_that_ended_its_side_is_answered_however_late() {
    let late = async |mut connection: TcpStream| {
        assert!(read_whole(&mut connection).await);
        sleep(crate::limits::CLIENT_WATCHED_AFTER * 5).await;
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        connection
    };
    let (outcome, _) = upload_to(
        late,
        |_| {},
        |mut client| async {
            client.write_all(b"0123456789").await.unwrap();
            client.shutdown().await.unwrap();
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure), (Some(204), None));
}

/// More than the kernel takes of it for a client that does not read.
const LARGE: usize = 32 * 1024 * 1024;

/// An endpoint that answers with much; what the client does not take it keeps.
async fn answer_much(mut connection: TcpStream) -> TcpStream {
    assert!(read_whole(&mut connection).await);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    // It is broken off in the end.
    let _ = connection.write_all(&vec![b'x'; LARGE]).await;
    connection
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answer_is_given_up() {
    let (outcome, took) = upload_to(
        async |connection| answer_much(connection).await,
        |_| {},
        |mut client| async {
            client.write_all(b"0123456789").await.unwrap();
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure), (Some(200), Some(Reason::BodyIdle)));
    assert!((BODY_IDLE..BODY_IDLE * 2).contains(&took), "{took:?}");
}

/// A stream may be silent for as long as a tunnel may.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stalls_within_its_answer_is_given_up_in_the_end() {
    let stalling = async |mut connection: TcpStream| {
        assert!(read_whole(&mut connection).await);
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        connection
    };
    let (outcome, took) = upload_to(
        stalling,
        |_| {},
        |mut client| async {
            client.write_all(b"0123456789").await.unwrap();
            client
        },
    )
    .await;
    assert_eq!((outcome.status, outcome.failure), (Some(200), Some(Reason::ResponseTimeout)));
    assert!((TUNNEL_IDLE_TIMEOUT..TUNNEL_IDLE_TIMEOUT * 2).contains(&took), "{took:?}");
}
