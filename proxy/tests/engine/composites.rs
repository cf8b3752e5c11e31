//! Services of services: weighted, highest random weight, failover; nested, and sticky at both ends.

use std::collections::BTreeMap;

use portolan_config::dynamic::service::{
    Cookie, Failover, HighestRandomWeight, LoadBalancer, ServiceKind, Sticky, Weighted, WeightedChild,
};

use crate::support::http2::Http2;
use crate::support::{Answer, Origin, Wire, World, ok, place};

fn child(name: &str, weight: u32) -> WeightedChild {
    WeightedChild { name: format!("{name}@test"), weight }
}

/// Services `a`, `b` and so on, one replica each that says its name; those named in `down` have none.
async fn services(names: &[&'static str], down: &[&str]) -> (World, Vec<Origin>) {
    let mut world = World::of(&[]);
    let mut origins = Vec::new();
    for name in names {
        let origin = Origin::answering(|_| ok(name)).await;
        let targets = if down.contains(name) { Vec::new() } else { vec![place(name, origin.at)] };
        world.serve_as(&format!("{name}@test"), targets);
        origins.push(origin);
    }
    (world, origins)
}

async fn ask(client: &mut Wire, cookie: &str) -> Answer {
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\n\r\n")).await;
    client.answer().await
}

async fn shares(world: &World, times: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..times / 10 {
        let mut client = world.client().await;
        for _ in 0..10 {
            *shares.entry(ask(&mut client, "").await.body).or_default() += 1;
        }
    }
    shares
}

fn told(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_canary_gets_its_share_and_counts_as_itself() {
    let (mut world, _origins) = services(&["a", "b", "c"], &["c"]).await;
    let weighted =
        Weighted { services: vec![child("a", 9), child("b", 1), child("c", 5)], ..Weighted::default() };
    world.compose("app@test", ServiceKind::Weighted(weighted.clone()));
    assert_eq!(shares(&world, 100).await, told(&[("a", 90), ("b", 10)]), "c can't serve");
    world.metric_becomes("portolan_service_requests_total", &["service=\"b@test\""], 10.0).await;
    world.metric_becomes("portolan_route_requests_total", &["route=\"a.test@test\""], 100.0).await;
    let mut client = Http2::connect(world.http).await;
    assert_eq!(client.get("http://a.test/").await.status, 200);
    // Turns go on over a new table.
    let none = Weighted { services: vec![child("a", 0), child("b", 0)], ..weighted };
    world.compose("app@test", ServiceKind::Weighted(none));
    assert_eq!(ask(&mut world.client().await, "").await.status, 503);
    assert_eq!(client.get("http://a.test/").await.status, 503);
}

#[tokio::test]
async fn a_client_stays_with_its_service_and_within_that_with_its_replica() {
    let (mut world, origins) = services(&["a", "b"], &[]).await;
    let cookie = |name: &str| Cookie { name: name.to_owned(), ..Cookie::default() };
    let balancing =
        LoadBalancer { sticky: Some(Sticky { cookie: Some(cookie("replica")) }), ..LoadBalancer::default() };
    for (name, origin) in ["a@test", "b@test"].into_iter().zip(&origins) {
        world.spread_as(name, vec![place(name, origin.at)], balancing.clone());
    }
    let weighted = Weighted {
        services: vec![child("a", 1), child("b", 1)],
        sticky: Some(Sticky { cookie: Some(cookie("service")) }),
        ..Weighted::default()
    };
    world.compose("app@test", ServiceKind::Weighted(weighted));
    let first = ask(&mut world.client().await, "").await;
    let set: Vec<&str> =
        first.head.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")?.split(';').next()).collect();
    assert!(matches!(set[..], [one, other] if one.starts_with("service=") && other.starts_with("replica=")));
    let cookies = set.join("; ");
    for _ in 0..10 {
        let again = ask(&mut world.client().await, &cookies).await;
        assert_eq!((again.body.as_str(), again.field("Set-Cookie")), (first.body.as_str(), None));
    }
}

#[tokio::test]
async fn the_fallback_serves_while_the_first_can_not_also_below_others() {
    let (mut world, origins) = services(&["a", "b"], &["a"]).await;
    let failover =
        Failover { service: "a@test".to_owned(), fallback: "b@test".to_owned(), ..Failover::default() };
    world.compose("either@test", ServiceKind::Failover(failover));
    let hashed = HighestRandomWeight { services: vec![child("either", 1)], health_check: None };
    world.compose("app@test", ServiceKind::HighestRandomWeight(hashed));
    let mut client = world.client().await;
    assert_eq!(ask(&mut client, "").await.body, "b");
    world.serve_as("a@test", vec![place("a", origins[0].at)]);
    assert_eq!(ask(&mut client, "").await.body, "a");
    world.serve_as("a@test", Vec::new());
    world.serve_as("b@test", Vec::new());
    assert_eq!(ask(&mut client, "").await.status, 503);
}

#[tokio::test]
async fn a_client_is_drawn_to_one_service() {
    let (mut world, _origins) = services(&["a", "b", "c"], &[]).await;
    let services = vec![child("a", 1), child("b", 1), child("c", 1)];
    world.compose(
        "app@test",
        ServiceKind::HighestRandomWeight(HighestRandomWeight { services, health_check: None }),
    );
    assert_eq!(shares(&world, 50).await.len(), 1, "all come from one address");
}
