//! How requests are spread, as configured: weights, hashes, load; and what a server of its own path is sent.

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::dynamic::service::{HashBy, LoadBalancer, Strategy};
use portolan_discovery::Target;

use crate::support::{Origin, Wire, World, ok, place};

/// Origins that say which one they are.
async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for index in 0..count {
        origins.push(Origin::answering(move |_| ok(&index.to_string())).await);
    }
    origins
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.at).collect()
}

fn places(origins: &[Origin], weights: &[u32]) -> Vec<Target> {
    let place = |(index, origin): (usize, &Origin)| Target {
        weight: weights[index],
        ..place(&format!("c{index}"), origin.at)
    };
    origins.iter().enumerate().map(place).collect()
}

async fn ask(client: &mut Wire, more: &str) -> String {
    client.send(&format!("GET /x?y HTTP/1.1\r\nHost: a.test\r\n{more}\r\n")).await;
    client.answer().await.body
}

#[tokio::test]
async fn replicas_get_what_their_weights_say_over_all_workers() {
    let origins = origins(4).await;
    let mut world = World::of(&addresses(&origins));
    world.serve(places(&origins, &[6, 3, 1, 0]));
    let mut counts = [0; 4];
    for _ in 0..10 {
        let mut client = world.client().await;
        for _ in 0..20 {
            counts[ask(&mut client, "").await.parse::<usize>().unwrap()] += 1;
        }
    }
    assert_eq!(counts, [120, 60, 20, 0]);
}

#[tokio::test]
async fn a_service_whose_replicas_have_no_weight_says_so() {
    let origins = origins(1).await;
    let mut world = World::of(&addresses(&origins));
    world.serve(places(&origins, &[0]));
    let mut client = world.client().await;
    let answer = ask(&mut client, "").await;
    assert!(answer.contains("1 endpoint: 1 without weight"), "{answer}");
}

#[tokio::test]
async fn a_cookie_leads_to_the_same_replica_from_anywhere_and_whoever_is_new() {
    let origins = origins(5).await;
    let mut world = World::of(&addresses(&origins[..4]));
    for strategy in [Strategy::Hrw, Strategy::Maglev] {
        let hash_by = HashBy::Cookie("user".to_owned());
        let balancing = LoadBalancer { strategy, hash_by, ..LoadBalancer::default() };
        let targets = places(&origins, &[1; 5]);
        world.spread(targets[..4].to_vec(), balancing.clone());
        let mut before = Vec::new();
        for user in 0..40 {
            let cookie = format!("Cookie: a=b; user={user}\r\n");
            let first = ask(&mut world.client().await, &cookie).await;
            assert_eq!(ask(&mut world.client().await, &cookie).await, first);
            before.push(first);
        }
        assert!((0..4).all(|index| before.contains(&index.to_string())), "{before:?}");
        world.spread(targets, balancing);
        let mut moved = 0;
        for (user, before) in before.into_iter().enumerate() {
            let now = ask(&mut world.client().await, &format!("Cookie: user={user}\r\n")).await;
            moved += usize::from(now != before);
        }
        assert!(moved < 20, "{strategy:?}: {moved} of 40 moved");
    }
}

#[tokio::test]
async fn who_is_busy_gets_no_more() {
    let mut slow = Origin::manual().await;
    let quick = Origin::answering(|_| ok("quick")).await;
    let mut world = World::of(&[slow.at, quick.at]);
    for strategy in [Strategy::LeastRequests, Strategy::P2c, Strategy::Ewma] {
        let balancing = LoadBalancer { strategy, ..LoadBalancer::default() };
        // What it has to do is known of it also when another one joins.
        world.spread(vec![place("c0", slow.at)], balancing.clone());
        let mut hangs = world.client().await;
        hangs.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let asked = slow.accept().await;
        world.spread(vec![place("c0", slow.at), place("c1", quick.at)], balancing);
        let mut client = world.client().await;
        for _ in 0..20 {
            assert_eq!(ask(&mut client, "").await, "quick", "{strategy:?}");
        }
        // It goes to the other, and is nobody's concern any more when the next strategy counts.
        drop(asked);
        assert_eq!(hangs.answer().await.body, "quick", "{strategy:?}");
    }
}

#[tokio::test]
async fn a_server_of_its_own_path_is_sent_that_before_the_requests() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::of(&[origin.at]);
    for (prefix, path) in [("/base", "/base/x?y"), ("/base/", "/base/x?y"), ("/", "/x?y"), ("", "/x?y")] {
        for pass_host_header in [true, false] {
            let target = Target { path_prefix: Arc::from(prefix), ..place("c0", origin.at) };
            world.spread(vec![target], LoadBalancer { pass_host_header, ..LoadBalancer::default() });
            ask(&mut world.client().await, "X-Last: 1\r\n").await;
            let seen = origin.seen().await;
            assert_eq!(seen.target(), path, "{prefix}");
            let host = if pass_host_header { "a.test".to_owned() } else { origin.at.to_string() };
            assert!(seen.head.contains(&format!("\r\nHost: {host}\r\n")), "{}", seen.head);
            assert!(seen.head.contains("\r\nX-Last: 1\r\n"), "{}", seen.head);
        }
    }
}
