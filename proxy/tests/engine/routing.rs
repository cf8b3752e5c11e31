//! Which endpoint a request goes to, and what it is asked for there.

use crate::support::{Origin, World, ok, place};

async fn echo_of_targets(name: &'static str) -> Origin {
    Origin::answering(move |seen| ok(&format!("{name} {}", seen.head.lines().next().unwrap_or_default())))
        .await
}

#[tokio::test]
async fn each_request_of_a_connection_is_routed_by_its_own_host_and_path() {
    let (a, b) = (echo_of_targets("a").await, echo_of_targets("b").await);
    let mut world = World::in_front_of(&a);
    world.route("b.test", "Host(`b.test`) || PathPrefix(`/b`)", "b@test");
    world.serve_as("b@test", vec![place("b0", b.at)]);
    let mut client = world.client().await;
    for (line, host, expected) in [
        ("GET / HTTP/1.1", "a.test", "a GET / HTTP/1.1"),
        ("GET / HTTP/1.1", "B.test:8080", "b GET / HTTP/1.1"),
        ("GET / HTTP/1.1", "a.test.", "a GET / HTTP/1.1"),
        ("GET http://b.test/x?y=/../z HTTP/1.1", "a.test", "b GET /x?y=/../z HTTP/1.1"),
        ("GET /x/..//b/./c HTTP/1.1", "other.test", "b GET /b/c HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "a.test", "a OPTIONS * HTTP/1.1"),
        ("OPTIONS http://b.test HTTP/1.1", "a.test", "b OPTIONS * HTTP/1.1"),
        ("PURGE /x HTTP/1.1", "a.test", "a PURGE /x HTTP/1.1"),
    ] {
        client.send(format!("{line}\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.answer().await.body, expected, "{line} {host}");
    }
}

#[tokio::test]
async fn an_absolute_target_replaces_the_host_that_the_endpoint_sees() {
    let mut origin = echo_of_targets("a").await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET http://a.test:81/ HTTP/1.1\r\nHost: evil.test\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let seen = origin.seen().await;
    assert!(seen.head.contains("\r\nHost: a.test:81\r\n"), "{}", seen.head);
    assert!(!seen.head.contains("evil"), "{}", seen.head);
}

#[tokio::test]
async fn a_new_snapshot_counts_from_the_next_request_of_an_open_connection() {
    let (a, b) = (echo_of_targets("a").await, echo_of_targets("b").await);
    let mut world = World::in_front_of(&a);
    let mut client = world.client().await;
    for (at, name) in [(a.at, "a"), (b.at, "b"), (a.at, "a")] {
        world.serve(vec![place(name, at)]);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert!(client.answer().await.body.starts_with(name), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_routed_by_what_an_unrouted_request_leaves_behind() {
    let origin = echo_of_targets("a").await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let refused = client.answer().await;
    assert_eq!((refused.status, refused.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(client.answer().await.status, 200);
}
