//! What is kept and read for second answers and for copies has limits: each is reached once, and what then.

use portolan_config::dynamic::service::{Mirror, Mirroring, ServiceKind};
use portolan_proxy::limits::{GATHERED_BYTES_MAX, MIRRORS_MAX, WITHHELD_BYTES_MAX};

use crate::support::{Origin, Reply, Then, World, ok, place, soon};

fn status(code: u16, body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A world whose `b.test` asks again where an answer is a 503.
fn retrying(origin: &Origin) -> World {
    let mut world = World::in_front_of(origin);
    let retry = "retry: {attempts: 2, initialInterval: 1ms, status: ['503'], maxRequestBodyBytes: -1}";
    world.define("retry", retry);
    assert!(world.route_through("b.test", &["retry"]).is_empty());
    world
}

/// The connections that the two attempts of a request came on, where the first is answered like this.
async fn attempts(first: Reply) -> [usize; 2] {
    let mut origin = Origin::answering(move |seen| {
        if seen.connection == 0 && seen.target() == "/0" { first.clone() } else { ok("fine") }
    })
    .await;
    let world = retrying(&origin);
    let mut client = world.client().await;
    client.send("GET /0 HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
    [origin.seen().await.connection, origin.seen().await.connection]
}

#[tokio::test]
async fn an_answer_that_nobody_sees_is_read_off_up_to_a_limit() {
    let most = "x".repeat(WITHHELD_BYTES_MAX as usize - 1);
    assert_eq!(attempts(status(503, &most)).await, [0, 0], "its connection is used again");
    let more = "x".repeat(WITHHELD_BYTES_MAX as usize + 1);
    assert_eq!(attempts(status(503, &more)).await, [0, 1], "it costs its connection");
    let more = more.repeat(2);
    let chunk = format!("{:x}\r\n{more}\r\n0\r\n\r\n", more.len());
    let chunked = Reply::raw(format!("HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
    assert_eq!(attempts(chunked).await, [0, 1], "also where its length is not said");
}

#[tokio::test]
async fn an_answer_that_nobody_sees_is_not_waited_for() {
    // Five of ten bytes, and never the rest.
    let unfinished = Reply::raw("HTTP/1.1 503 X\r\nContent-Length: 10\r\n\r\n12345").then(Then::Keep);
    assert_eq!(attempts(unfinished).await, [0, 1]);
}

#[tokio::test]
async fn a_body_that_is_longer_than_is_gathered_is_passed_on_as_it_comes() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    world.define("gather", "buffering: {memRequestBodyBytes: 1000000000}");
    assert!(world.route_through("b.test", &["gather"]).is_empty());
    let (gathered, rest) = (GATHERED_BYTES_MAX as usize, 100_000);
    let mut client = world.client().await;
    let sends = async {
        let head = format!("PUT / HTTP/1.1\r\nHost: b.test\r\nContent-Length: {}\r\n\r\n", gathered + rest);
        client.send(head).await;
        client.send("x".repeat(gathered + rest / 2)).await;
        // What is missing is sent once the server has seen what is there.
        client
    };
    let receives = async {
        let mut server = origin.accept().await;
        let head = server.head().await;
        assert!(head.contains(&format!("Content-Length: {}", gathered + rest)), "{head}");
        assert_eq!(server.exactly(gathered).await.len(), gathered);
        server
    };
    let (mut client, mut server) =
        soon("the beginning at the server", async { tokio::join!(sends, receives) }).await;
    client.send("x".repeat(rest - rest / 2)).await;
    assert_eq!(server.exactly(rest).await.len(), rest);
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_longer_than_is_gathered_is_sent_once() {
    let mut origin = Origin::answering(|_| status(503, "")).await;
    let world = retrying(&origin);
    for (length, times) in [(GATHERED_BYTES_MAX as usize - 1, 2), (GATHERED_BYTES_MAX as usize + 1, 1)] {
        let mut client = world.client().await;
        let head = format!("PUT / HTTP/1.1\r\nHost: b.test\r\nContent-Length: {length}\r\n\r\n");
        client.send(head + &"x".repeat(length)).await;
        assert_eq!(client.answer().await.status, 503, "{length}");
        let seen: Vec<usize> = origin.seen_by_now().iter().map(|seen| seen.body.len()).collect();
        assert_eq!(seen, vec![length; times]);
    }
}

#[tokio::test]
async fn so_many_copies_are_on_their_way_and_no_more() {
    const MORE: usize = 20;
    let main = Origin::answering(|_| ok("main")).await;
    // It reads what it is asked, and never answers.
    let mut silent = Origin::answering(|_| Reply::raw("")).await;
    let mut world = World::in_front_of(&main);
    world.serve_as("aside@test", vec![place("p0", silent.at)]);
    let mirrors = vec![Mirror { name: "aside@test".to_owned(), percent: 100 }];
    let mirroring = Mirroring { service: "app@test".to_owned(), mirrors, ..Mirroring::default() };
    world.compose("both@test", ServiceKind::Mirroring(mirroring));
    world.route("b.test", "Host(`b.test`)", "both@test");
    world.serve(vec![place("c0", main.at)]);
    // One connection is one worker's.
    let mut client = world.client().await;
    for _ in 0..MIRRORS_MAX + MORE {
        client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
        assert_eq!(client.answer().await.body, "main", "who asks is answered in any case");
    }
    let dropped = ["service=\"aside@test\"", "reason=\"limit\""];
    world.metric_becomes("portolan_service_copies_dropped_total", &dropped, MORE as f64).await;
    for _ in 0..MIRRORS_MAX {
        silent.seen().await;
    }
    assert!(silent.seen_by_now().is_empty(), "no more than there may be were sent");
    // What ends makes room.
    silent.stop();
    let mut answers = Origin::answering(|_| ok("")).await;
    world.serve_as("aside@test", vec![place("p1", answers.at)]);
    soon("a copy", async {
        loop {
            client.send("GET /again HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
            assert_eq!(client.answer().await.body, "main");
            if answers.seen_by_now().iter().any(|seen| seen.target() == "/again") {
                break;
            }
        }
    })
    .await;
}
