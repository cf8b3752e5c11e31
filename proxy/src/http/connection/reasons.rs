//! What a client is told when a deadline of its request passes, and what is counted. The clock is the tests' own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use portolan_config::Rule;
use portolan_config::settings::{self, EntryPointLimits};
use portolan_discovery::{
    Endpoint, EndpointKey, Instance, InstanceId, ProviderName, Router, ServiceKey, Snapshot, State, Target,
    Upstream,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::ledger::Ledger;
use crate::limits::RESPONSE_HEAD_TIMEOUT;
use crate::table::{Table, compile};

/// A table in which every request goes to the one endpoint at this port.
fn table(port: u16, worker: &Worker) -> Table {
    let instance = Instance {
        id: InstanceId::new("c0"),
        name: "c0".to_owned(),
        service: ServiceKey::Label("app".to_owned()),
        labels: BTreeMap::new(),
        networks: Vec::new(),
        ports: Vec::new(),
        bindings: Vec::new(),
        node: None,
        virtual_host: std::collections::BTreeMap::new(),
        state: State::Ready,
        reason: String::new(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH,
    };
    let endpoint = Endpoint {
        key: EndpointKey {
            provider: ProviderName::new("test"),
            instance: instance.id.clone(),
            attachment: "c0".into(),
        },
        instance: Arc::new(instance),
        ports: Vec::new(),
        ipv4: Some(Ipv4Addr::LOCALHOST),
        ipv6: None,
        state: State::Ready,
        reason: String::new(),
    };
    let upstream = Upstream::new("app@test".to_owned(), vec![Target::new(Arc::new(endpoint), port)]);
    let rule = Rule::parse("PathPrefix(`/`)").expect("a rule");
    let router = Router::new("app@test", rule, "app@test");
    let snapshot = Snapshot {
        generation: 1,
        upstreams: vec![Arc::new(upstream)],
        routers: vec![Arc::new(router)],
        ..Snapshot::default()
    };
    let entry_point = settings::EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"));
    compile(&snapshot, &[entry_point], &Ledger::new(worker.metrics.clone())).0
}

/// Serves one client, which does as `behave` says, before an endpoint that does as it likes. Gives what the client
/// received until the end, and how often this reason was counted.
async fn refused<C: Future<Output = TcpStream>, E: Future<Output = TcpStream>>(
    reason: Reason,
    limits: EntryPointLimits,
    endpoint: impl FnOnce(TcpStream) -> E,
    behave: impl FnOnce(TcpStream) -> C,
) -> (String, u64) {
    let (worker, _drain) = Worker::alone();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    worker.put_in_place(table(origin.local_addr().unwrap().port(), &worker));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    let entry_point = Rc::new(EntryPoint::limited(&worker, limits));
    let received = async {
        let mut client = behave(client).await;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        String::from_utf8(received).unwrap()
    };
    let answering = async { endpoint(origin.accept().await.unwrap().0).await };
    let serving = serve(accepted.into(), peer, entry_point, worker.clone(), None);
    let together = async { tokio::join!(received, serving, answering).0 };
    let received = LocalSet::new().run_until(together).await;
    (received, worker.metrics.refusals("web", reason))
}

const UPLOAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234";

/// Sends this and waits.
async fn send(mut client: TcpStream, bytes: &[u8]) -> TcpStream {
    client.write_all(bytes).await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn every_deadline_of_a_request_is_told_by_its_status_and_its_reason() {
    let get: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let read = EntryPointLimits { read_timeout: Some(Duration::from_secs(5)), ..EntryPointLimits::default() };
    let write =
        EntryPointLimits { write_timeout: Some(Duration::from_secs(5)), ..EntryPointLimits::default() };
    for (reason, limits, sent) in [
        (Reason::BodyIdle, EntryPointLimits::default(), UPLOAD),
        (Reason::RequestTimeout, read, UPLOAD),
        (Reason::AnswerTimeout, write, get),
        (Reason::ResponseTimeout, EntryPointLimits::default(), get),
    ] {
        let silent = |connection| async { connection };
        let (received, count) = refused(reason, limits, silent, |client| send(client, sent)).await;
        let (status, phrase) = reason.status();
        assert!(received.starts_with(&format!("HTTP/1.1 {status} {phrase}\r\n")), "{reason}: {received}");
        assert!(received.ends_with(&format!("\r\n\r\n{}\n", reason.explanation())), "{reason}: {received}");
        assert_eq!(count, 1, "{reason}");
    }
}

/// What was begun can't be taken back; the client sees that it is not whole.
#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_broken_off() {
    let limits =
        EntryPointLimits { write_timeout: Some(Duration::from_secs(5)), ..EntryPointLimits::default() };
    let trickling = |mut connection: TcpStream| async {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            sleep(Duration::from_secs(1)).await;
            // It is told by the end of its connection.
            let _ = connection.write_all(b"x").await;
        }
        connection
    };
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (received, count) =
        refused(Reason::AnswerTimeout, limits, trickling, |client| send(client, get)).await;
    let (_, body) = received.split_once("\r\n\r\n").expect("a head");
    assert!((3..10).contains(&body.len()) && received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    assert_eq!(count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_closed_and_counted() {
    let upgrading = |mut connection: TcpStream| async {
        connection
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
            .await
            .unwrap();
        connection
    };
    let begun = tokio::time::Instant::now();
    let asks = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let (received, count) =
        refused(Reason::TunnelIdle, EntryPointLimits::default(), upgrading, |client| send(client, asks))
            .await;
    assert!(received.starts_with("HTTP/1.1 101 "), "{received}");
    assert_eq!(count, 1);
    assert!(begun.elapsed() >= TUNNEL_IDLE_TIMEOUT.max(RESPONSE_HEAD_TIMEOUT));
}
