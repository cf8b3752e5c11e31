//! Published UDP ports.

use std::net::SocketAddr;

use portolan_config::Protocol;
use tokio::net::UdpSocket;

use crate::support::{Origin, World, place, soon};

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a free port")
}

fn at(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket")
}

async fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut datagram = [0; 2048];
    let (length, from) = soon("a datagram", socket.recv_from(&mut datagram)).await.expect("a datagram");
    (String::from_utf8_lossy(&datagram[..length]).into_owned(), from)
}

/// Sends to the port until one of the origins has it: gives which, and from where.
async fn reaches(client: &UdpSocket, to: SocketAddr, origins: &[&UdpSocket]) -> (usize, SocketAddr) {
    client.send_to(b"ping", to).await.expect("sent");
    let first = async {
        tokio::select! {
            (_, from) = receive(origins[0]) => (0, from),
            (_, from) = async { match origins.get(1) {
                Some(origin) => receive(origin).await,
                None => std::future::pending().await,
            } } => (1, from),
        }
    };
    soon("a datagram at an origin", first).await
}

#[tokio::test]
async fn a_client_stays_with_its_endpoint_and_gets_its_answers() {
    let (a, b) = (socket().await, socket().await);
    let mut world = World::of(&[at(&a), at(&b)]);
    let port = world.publish(Protocol::Udp);
    let mut firsts = Vec::new();
    for _ in 0..32 {
        let client = socket().await;
        let (first, session) = reaches(&client, port, &[&a, &b]).await;
        for round in 0..3 {
            assert_eq!(
                reaches(&client, port, &[&a, &b]).await,
                (first, session),
                "one session, one endpoint"
            );
            [&a, &b][first].send_to(format!("pong {round}").as_bytes(), session).await.expect("sent");
            assert_eq!(receive(&client).await, (format!("pong {round}"), port));
        }
        firsts.push(first);
    }
    // Their addresses decide, and those are the system's choice.
    assert!((4..=28).contains(&firsts.iter().filter(|first| **first == 0).count()), "{firsts:?}");
}

#[tokio::test]
async fn when_an_endpoint_leaves_its_clients_next_datagram_goes_to_another() {
    let (a, b) = (socket().await, socket().await);
    let mut world = World::of(&[at(&a)]);
    let port = world.publish(Protocol::Udp);
    let client = socket().await;
    assert_eq!(reaches(&client, port, &[&a, &b]).await.0, 0);
    world.serve(vec![place("c1", at(&b))]);
    assert_eq!(reaches(&client, port, &[&a, &b]).await.0, 1);
    // Without any, it is lost, and counted.
    world.serve(Vec::new());
    client.send_to(b"ping", port).await.expect("sent");
    world.metric_becomes("portolan_refusals_total", &["no_endpoint"], 1.0).await;
}

#[tokio::test]
async fn a_session_outlasts_an_endpoint_that_is_away_for_a_moment() {
    let origin = socket().await;
    let address = at(&origin);
    let mut world = World::of(&[address]);
    let port = world.publish(Protocol::Udp);
    let client = socket().await;
    reaches(&client, port, &[&origin]).await;
    drop(origin);
    for _ in 0..10 {
        client.send_to(b"lost", port).await.expect("sent");
    }
    let origin = UdpSocket::bind(address).await.expect("the port is free again");
    // A refusal may still be on its way, and costs one datagram.
    soon("the endpoint is back", async {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(20));
        let mut datagram = [0; 64];
        loop {
            tokio::select! {
                _ = again.tick() => { client.send_to(b"back", port).await.expect("sent"); }
                received = origin.recv(&mut datagram) => {
                    if received.is_ok_and(|length| &datagram[..length] == b"back") { return; }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn datagrams_of_every_size_pass_whole() {
    let origin = socket().await;
    let mut world = World::of(&[at(&origin)]);
    let port = world.publish(Protocol::Udp);
    let client = socket().await;
    let mut room = vec![0; 65_536];
    for length in [0, 1, 1_500, 16_384, 65_000] {
        client.send_to(&vec![7; length], port).await.expect("sent");
        let (received, session) = soon("a datagram", origin.recv_from(&mut room)).await.expect("received");
        assert_eq!(received, length);
        origin.send_to(&room[..received], session).await.expect("sent");
        assert_eq!(soon("an answer", client.recv(&mut room)).await.expect("received"), length);
    }
}

#[tokio::test]
async fn a_tcp_and_a_udp_port_do_not_stand_in_each_others_way() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let udp = world.publish(Protocol::Udp);
    let tcp = world.publish(Protocol::Tcp);
    assert_ne!(udp, tcp);
    let mut client = crate::support::Wire::connect(tcp).await;
    origin.accept().await.send("hello").await;
    client.expect("hello").await;
}
