//! The demo as the registry and a client see it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// For what must not hang.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    control: DemoControl,
    updates: mpsc::Receiver<Update>,
    instances: Vec<Instance>,
}

async fn run(replicas: usize) -> Running {
    let (demo, control) = Demo::new(replicas, Metrics::register(&prometheus::Registry::new()).unwrap());
    let (sender, mut updates) = mpsc::channel(16);
    tokio::spawn(demo.run(sender));
    let first = timeout(PATIENCE, updates.recv()).await.unwrap().unwrap();
    assert_eq!(first.provider, ProviderName::new("demo"));
    let Change::Reset(instances) = first.change else { panic!("{first:?}") };
    Running { control, updates, instances }
}

impl Running {
    async fn upsert(&mut self) -> Instance {
        let update = timeout(PATIENCE, self.updates.recv()).await.unwrap().unwrap();
        match update.change {
            Change::Upsert(instance) => *instance,
            other => panic!("{other:?}"),
        }
    }
}

async fn dial(instance: &Instance) -> std::io::Result<TcpStream> {
    TcpStream::connect((instance.networks[0].ipv4.unwrap(), instance.ports[0].number)).await
}

async fn read(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn replicas_are_one_service_on_one_port_and_say_who_they_are() {
    let demo = run(3).await;
    assert_eq!(demo.control.states(), [State::Ready; 3]);
    let port = demo.instances[0].ports[0].number;
    for (index, instance) in demo.instances.iter().enumerate() {
        let number = index + 1;
        assert_eq!(instance.name, format!("whoami-{number}"));
        assert_eq!(instance.service, ServiceKey::Label("whoami".into()));
        assert_eq!(instance.labels["portolan.publish"], format!("8080:{port}"));
        assert_eq!(instance.networks[0].ipv4, Some(Ipv4Addr::new(127, 0, 0, number as u8 + 1)));
        let mut stream = dial(instance).await.unwrap();
        stream
            .write_all(b"GET /some HTTP/1.1\r\nHost: h\r\nX-Test: 1\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let text = read(stream).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        for line in [&format!("Name: whoami-{number}\n"), "GET /some HTTP/1.1\n", "x-test: 1\n"] {
            assert!(text.contains(line), "{text}");
        }
    }
}

#[tokio::test]
async fn a_stopped_replica_finishes_what_it_has_begun_and_comes_back_with_a_new_life() {
    let mut demo = run(2).await;
    let before = demo.instances[1].clone();
    let mut in_flight = dial(&before).await.unwrap();
    in_flight.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
    // A request that was answered on another connection shows that the server has seen the first.
    let mut idle = dial(&before).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();

    demo.control.stop(2).await.unwrap();
    let draining = demo.upsert().await;
    assert_eq!((draining.state, draining.reason.as_str()), (State::Draining, "stopped by the operator"));
    assert_eq!(draining.networks, before.networks);
    assert_eq!(demo.control.states(), [State::Ready, State::Draining]);

    in_flight.write_all(b"llo").await.unwrap();
    let text = read(in_flight).await;
    assert!(text.contains("Body: 5 bytes"), "{text}");
    let stopped = demo.upsert().await;
    assert_eq!((stopped.state, stopped.networks.len()), (State::Stopped, 0));
    assert!(dial(&before).await.is_err());

    demo.control.start(2).await.unwrap();
    let again = demo.upsert().await;
    assert_eq!(again.state, State::Ready);
    assert_ne!(again.networks[0].endpoint_id, before.networks[0].endpoint_id);
    assert!(dial(&again).await.is_ok());
}

#[tokio::test]
async fn one_that_is_started_while_it_drains_starts_when_it_has_stopped() {
    let mut demo = run(1).await;
    let mut in_flight = dial(&demo.instances[0]).await.unwrap();
    in_flight.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    let mut idle = dial(&demo.instances[0]).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    demo.control.stop(1).await.unwrap();
    demo.control.start(1).await.unwrap();
    assert_eq!(demo.upsert().await.state, State::Draining);
    in_flight.write_all(b"x").await.unwrap();
    assert_eq!(demo.upsert().await.state, State::Ready);
}

#[tokio::test]
async fn a_replica_that_is_not_there_is_refused() {
    let demo = run(3).await;
    for number in [0, 4] {
        let refusal = demo.control.stop(number).await.unwrap_err();
        assert_eq!(refusal, UnknownReplica { number, replicas: 3 });
    }
}

#[tokio::test]
async fn the_demo_ends_with_its_receiver() {
    let demo = run(1).await;
    let Running { control, updates, instances } = demo;
    drop(updates);
    // The commands' channel closes as the provider ends.
    timeout(PATIENCE, control.commands.closed()).await.unwrap();
    assert!(control.start(1).await.is_err());
    drop(instances);
}
