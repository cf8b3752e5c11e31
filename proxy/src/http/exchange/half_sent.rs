//! A request that was answered while its last bytes were still waiting to be sent.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::table::tests::upstream;

/// A connection of which either end holds little more than nothing.
async fn narrow() -> (TcpStream, TcpStream) {
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_recv_buffer_size(1).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(1).unwrap();
    let connection = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    (connection, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn its_last_bytes_are_neither_lost_nor_taken_for_another_request() {
    let (worker, _drain) = Worker::alone();
    let upstream = Arc::new(upstream(&[true]));
    let (endpoint, mut origin) = narrow().await;
    let mut slot =
        Some(Pinned { target: upstream.available[0].clone(), endpoint: endpoint.into(), running: None });
    let body = [b'x'; BUFFER_BYTES];
    let mut head = worker.buffers.take();
    head.put(b"POST / HTTP/1.1\r\nContent-Length: 16384\r\n\r\n");
    let head_length = head.filled().len();
    let request = Exchange::plain(Method::Post, Framing::Length(body.len() as u64), head, upstream);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut accepted = Stream::from(accepted);
    let mut inbound = worker.buffers.take();
    let exchanged = async {
        let mut carrier = Carrier::Pinned(&mut slot);
        exchange(&mut accepted, &mut inbound, request, &mut carrier, &worker).await
    };
    let others = async {
        client.write_all(&body).await.unwrap();
        origin.read_exact(&mut vec![0; head_length + 1]).await.unwrap();
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let (outcome, ()) = LocalSet::new().run_until(async { tokio::join!(exchanged, others) }).await;
    assert_eq!(outcome.status, Some(200));
    assert!(!inbound.is_empty(), "all was sent at once: the connection is not narrow");
    assert_eq!(
        outcome.received as usize + inbound.filled().len(),
        body.len(),
        "what was sent is counted, no more"
    );
    assert!(!outcome.keep_alive && outcome.still_sending, "what is left would be read as a request");
    assert!(slot.is_none(), "the endpoint would take the next request for the rest of this one");
}
