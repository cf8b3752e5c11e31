//! Work is spread evenly, over all workers.

use std::net::SocketAddr;

use crate::support::{Origin, World, ok};

#[tokio::test]
async fn every_endpoint_gets_as_many_requests_as_the_others_however_many_workers_ask() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::answering(|_| ok("fine")).await);
    }
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let world = World::of(&addresses);
    // Sixteen connections reach both workers, but for one time in 32,768.
    for _ in 0..16 {
        let mut client = world.client().await;
        for _ in 0..5 {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            assert_eq!(client.answer().await.status, 200);
        }
    }
    let counts: Vec<usize> = origins.iter_mut().map(|origin| origin.seen_by_now().len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 80);
    assert!(counts.iter().all(|count| (26..=27).contains(count)), "{counts:?}");
}
