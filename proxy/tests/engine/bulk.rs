//! Bodies that are long enough to be moved by the kernel: whole, unchanged, and ending where they end.

use crate::support::{End, Origin, Reply, Then, Wire, World, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// So many bytes of which no two pieces look alike.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn chunked(sizes: &[usize]) -> Vec<u8> {
    let mut body = Vec::new();
    for size in sizes {
        body.extend(format!("{size:x}\r\n").as_bytes());
        body.extend(content(*size));
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\nX-Sum: 7\r\n\r\n");
    body
}

/// These bytes come next.
async fn arrives(at: &mut Wire, bytes: &[u8]) {
    assert!(at.exactly(bytes.len()).await == bytes, "others than these {} bytes", bytes.len());
}

#[tokio::test]
async fn large_chunks_pass_as_they_were_written_and_small_ones_between_them_too() {
    let body = chunked(&[300_000, 1, 16_384, 65_536, 7, 1_000_000]);
    let answer = [&b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &body].concat();
    let sent = answer.clone();
    let origin = Origin::answering(move |_| Reply::raw(sent.clone())).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..3 {
        client.send(GET).await;
        arrives(&mut client, &answer).await;
    }
}

#[tokio::test]
async fn a_large_chunked_upload_reaches_the_endpoint_as_it_was_written() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let body = chunked(&[1_000_000, 3, 200_000]);
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let uploaded = async {
        client.send(head).await;
        client.send(&body).await;
        client.answer().await.status
    };
    let received = async {
        let mut wire = origin.accept().await;
        wire.head().await;
        arrives(&mut wire, &body).await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    };
    assert_eq!(tokio::join!(uploaded, received).0, 200);
}

#[tokio::test]
async fn a_large_answer_that_ends_with_its_connection_arrives_whole() {
    let body = content(2_000_000);
    let answer = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &body].concat();
    let origin = Origin::answering(move |_| Reply::raw(answer.clone()).then(Then::Close)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    client.head().await;
    let (rest, end) = client.rest().await;
    assert!(rest == body, "{} bytes", rest.len());
    assert_eq!(end, End::Clean);
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_spoils_nobody_elses() {
    let half = [&b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"[..], &content(1_000_000)].concat();
    let origin = Origin::answering(move |seen| match seen.target() {
        "/half" => Reply::raw(half.clone()).then(Then::Close),
        _ => ok("fine"),
    })
    .await;
    let world = World::in_front_of(&origin);
    for _ in 0..3 {
        let mut client = world.client().await;
        client.send("GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.head().await;
        let (rest, _) = client.rest().await;
        assert!(rest == content(rest.len()) && rest.len() <= 1_000_000, "{} bytes", rest.len());
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "fine");
    }
    world.metric_becomes("portolan_refusals_total", &["response_truncated"], 3.0).await;
}

#[tokio::test]
async fn much_passes_through_a_tunnel_both_ways() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
    client.head().await;
    let body = content(2_000_000);
    for _ in 0..2 {
        tokio::join!(client.send(&body), arrives(&mut wire, &body));
        tokio::join!(wire.send(&body), arrives(&mut client, &body));
    }
}
