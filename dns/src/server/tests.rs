//! Real sockets on 127.0.0.1, port 0.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::test_support::{Random, container, query, settings, with_edns, zone};
use crate::zone::shared;

struct Running {
    address: SocketAddr,
    zone: SharedZone,
    registry: Registry,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn start(listen: &str) -> Running {
    start_workers(listen, 1)
}

fn start_workers(listen: &str, workers: usize) -> Running {
    let registry = Registry::new();
    let zone = shared(&settings());
    let metrics = Metrics::register(&registry).unwrap();
    let mut settings = Dns { address: listen.parse().unwrap(), ..settings() };
    settings.options.workers = workers;
    let server = Server::bind(&settings, Arc::clone(&zone), metrics).unwrap();
    let (stop, stopped) = oneshot::channel();
    let address = server.local_addr();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Running { address, zone, registry, stop, task }
}

fn start_with(replicas: usize) -> Running {
    let running = start("127.0.0.1:0");
    let containers =
        (0..replicas).map(|n| container(&format!("web-{n}"), &format!("10.0.0.{n}")).compose("shop", "web"));
    running.zone.store(Arc::new(zone(containers)));
    running
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), future).await.expect("in time")
}

async fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, server.port())).await.unwrap();
    socket
}

async fn ask_udp(socket: &UdpSocket, query: &Message) -> Message {
    socket.send(&query.to_vec().unwrap()).await.unwrap();
    let mut bytes = vec![0; 65_535];
    loop {
        let length = within(socket.recv(&mut bytes)).await.unwrap();
        let reply = Message::from_vec(&bytes[..length]).unwrap();
        if reply.metadata.id == query.metadata.id {
            return reply;
        }
    }
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

async fn read_tcp(stream: &mut TcpStream) -> Message {
    let length = within(stream.read_u16()).await.unwrap();
    let mut bytes = vec![0; length.into()];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn numbered(id: u16, name: &str) -> Message {
    let mut query = query(name, RecordType::A);
    query.metadata.id = id;
    query
}

/// The sum of a metric's counters that have all these label values.
fn count(registry: &Registry, name: &str, labels: &[&str]) -> String {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("registered");
    let has = |metric: &prometheus::proto::Metric, value: &str| {
        metric.get_label().iter().any(|l| l.value() == value)
    };
    family
        .get_metric()
        .iter()
        .filter(|metric| labels.iter().all(|label| has(metric, label)))
        .map(|metric| metric.get_counter().get_value())
        .sum::<f64>()
        .to_string()
}

#[tokio::test]
async fn names_are_answered_by_udp_as_soon_as_a_zone_is_there() {
    let running = start("127.0.0.1:0");
    let socket = client(running.address).await;
    let reply = ask_udp(&socket, &query("web", RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    running.zone.store(Arc::new(zone([container("web", "10.0.0.1")])));
    let reply = ask_udp(&socket, &query("web", RecordType::A)).await;
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(count(&running.registry, "portolan_dns_requests_total", &["udp", "A"]), "2");
    assert_eq!(count(&running.registry, "portolan_dns_responses_total", &["servfail"]), "1");
    assert_eq!(count(&running.registry, "portolan_dns_do_requests_total", &[]), "0");
    let mut signed = with_edns(query("web", RecordType::A), 1232);
    signed.edns.as_mut().unwrap().set_dnssec_ok(true);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&framed(&signed)).await.unwrap();
    read_tcp(&mut stream).await;
    ask_udp(&socket, &signed).await;
    assert_eq!(count(&running.registry, "portolan_dns_do_requests_total", &[]), "2");
}

#[tokio::test]
async fn a_truncated_answer_is_whole_over_tcp_on_the_same_port() {
    let running = start_with(200);
    let query = with_edns(query("web", RecordType::A), 4096);
    let cut = ask_udp(&client(running.address).await, &query).await;
    assert!(cut.metadata.truncation && cut.answers.len() < 200);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&framed(&query)).await.unwrap();
    let whole = read_tcp(&mut stream).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));
}

#[tokio::test]
async fn pipelined_queries_are_answered_in_their_order() {
    let running = start_with(50);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let queries: Vec<u8> = (0..500).flat_map(|id| framed(&numbered(id, "web"))).collect();
    stream.write_all(&queries).await.unwrap();
    for id in 0..500 {
        let reply = read_tcp(&mut stream).await;
        assert_eq!((reply.metadata.id, reply.answers.len()), (id, 50));
    }
}

#[tokio::test]
async fn a_query_may_come_byte_by_byte() {
    let running = start_with(1);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in [framed(&numbered(1, "web")), framed(&numbered(2, "nosuch"))].concat() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_tcp(&mut stream).await.answers.len(), 1);
    assert_eq!(read_tcp(&mut stream).await.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn what_is_no_query_ends_its_connection_only() {
    let running = start_with(1);
    let mut good = TcpStream::connect(running.address).await.unwrap();
    for garbage in [&[0, 0][..], &[0, 3, 1, 2, 3], &[0, 12, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut bad = TcpStream::connect(running.address).await.unwrap();
        bad.write_all(garbage).await.unwrap();
        assert_eq!(within(bad.read(&mut [0; 16])).await.unwrap_or(0), 0, "{garbage:?}");
    }
    good.write_all(&framed(&numbered(1, "web"))).await.unwrap();
    assert_eq!(read_tcp(&mut good).await.answers.len(), 1);
}

#[tokio::test]
async fn answers_owed_before_garbage_are_still_given() {
    let running = start_with(1);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&[framed(&numbered(1, "web")), vec![0, 0]].concat()).await.unwrap();
    assert_eq!(read_tcp(&mut stream).await.metadata.id, 1);
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_query_is_let_go() {
    let running = start_with(1);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&framed(&numbered(1, "web"))).await.unwrap();
    read_tcp(&mut stream).await;
    stream.write_all(&[0, 30, 1]).await.unwrap();
    tokio::time::pause(); // the clock now runs by itself to the next deadline
    let begun = tokio::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(12), "{waited:?}");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let running = start_with(1);
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&framed(&numbered(1, "web"))).await.unwrap();
    assert_eq!(read_tcp(&mut stream).await.answers.len(), 1);
    assert_eq!(within(silent[0].read(&mut [0; 1])).await.unwrap_or(0), 0, "the first gave way");
}

#[tokio::test]
async fn garbage_never_stops_it() {
    let running = start_with(20);
    let socket = client(running.address).await;
    let seed = with_edns(query("web", RecordType::A), 1232).to_vec().unwrap();
    let mut random = Random(0xBAD);
    for round in 0..3000_u16 {
        let _ = socket.send(&random.packet(&seed)).await;
        if round % 100 == 0 {
            let fresh = client(running.address).await;
            assert_eq!(ask_udp(&fresh, &numbered(round, "web")).await.answers.len(), 20);
        }
    }
    let fresh = client(running.address).await;
    assert_eq!(ask_udp(&fresh, &numbered(9, "web")).await.answers.len(), 20);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_does_not_stop_it() {
    let running = start_with(1);
    for _ in 0..20 {
        let socket = client(running.address).await;
        socket.send(&query("web", RecordType::A).to_vec().unwrap()).await.unwrap();
        drop(socket); // its port is closed when the answer comes
    }
    assert_eq!(ask_udp(&client(running.address).await, &query("web", RecordType::A)).await.answers.len(), 1);
}

#[tokio::test]
async fn every_address_means_ipv4_too() {
    for listen in [":0", "[::]:0"] {
        if !has_ipv6() {
            return;
        }
        let running = start(listen);
        running.zone.store(Arc::new(zone([container("web", "10.0.0.1")])));
        let query = query("web", RecordType::A);
        assert_eq!(ask_udp(&client(running.address).await, &query).await.answers.len(), 1);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, running.address.port())).await.unwrap();
        stream.write_all(&framed(&query)).await.unwrap();
        assert_eq!(read_tcp(&mut stream).await.answers.len(), 1);
    }
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error() {
    let running = start("127.0.0.1:0");
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let settings = Dns { address: running.address.to_string().parse().unwrap(), ..settings() };
    let error = Server::bind(&settings, Arc::clone(&running.zone), metrics).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&running.address.to_string()), "{error}");
}

#[tokio::test]
async fn it_stops_when_told_though_connections_are_open() {
    let running = start_with(1);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&framed(&numbered(1, "web"))).await.unwrap();
    read_tcp(&mut stream).await;
    running.stop.send(()).unwrap();
    timeout(Duration::from_millis(900), running.task)
        .await
        .expect("idle ones don't hold it")
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    for listen in ["0.0.0.0:0", ":0"] {
        let running = start(listen);
        running.zone.store(Arc::new(zone([container("web", "10.0.0.1")])));
        for asked in ["127.0.0.1", "127.0.0.77", "127.3.2.1"] {
            // From another address than the one that was asked, the kernel would not let the answer pass.
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect((asked, running.address.port())).await.unwrap();
            let reply = ask_udp(&socket, &query("web", RecordType::A)).await;
            assert_eq!(reply.answers.len(), 1, "{listen} {asked}");
        }
    }
    if has_ipv6() {
        let running = start("[::]:0");
        let socket = UdpSocket::bind("[::1]:0").await.unwrap();
        socket.connect(("::1", running.address.port())).await.unwrap();
        let reply = ask_udp(&socket, &query("web", RecordType::A)).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
}

#[tokio::test]
async fn several_workers_share_a_port_and_a_batch_is_answered_whole() {
    let running = start_workers("127.0.0.1:0", 3);
    running.zone.store(Arc::new(zone([container("web", "10.0.0.1")])));
    for _ in 0..16 {
        let socket = client(running.address).await;
        for id in 0..50 {
            socket.send(&numbered(id, "web").to_vec().unwrap()).await.unwrap();
        }
        let mut left: std::collections::BTreeSet<u16> = (0..50).collect();
        let mut bytes = vec![0; 1024];
        while !left.is_empty() {
            let length = within(socket.recv(&mut bytes)).await.unwrap();
            let reply = Message::from_vec(&bytes[..length]).unwrap();
            assert!(left.remove(&reply.metadata.id) && reply.answers.len() == 1);
        }
    }
    assert_eq!(count(&running.registry, "portolan_dns_requests_total", &["udp", "A"]), "800");
}

#[tokio::test]
async fn a_cookie_is_answered_with_one_of_ours_that_stays_good() {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    let running = start_with(1);
    let socket = client(running.address).await;
    let mut query = with_edns(query("web", RecordType::A), 1232);
    let with = |query: &mut Message, data: Vec<u8>| {
        query.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(10, data));
    };
    let cookie = |reply: &Message| match reply.edns.as_ref().unwrap().option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(10, data)) => data.clone(),
        other => panic!("{other:?}"),
    };
    with(&mut query, b"8 bytes.".to_vec());
    let reply = ask_udp(&socket, &query).await;
    let ours = cookie(&reply);
    assert_eq!((ours.len(), &ours[..8], reply.answers.len()), (24, &b"8 bytes."[..], 1));
    let mut again = with_edns(query.clone(), 1232);
    with(&mut again, ours);
    assert_eq!(ask_udp(&socket, &again).await.answers.len(), 1);
    let mut broken = with_edns(query, 1232);
    with(&mut broken, b"too short".to_vec());
    assert_eq!(ask_udp(&socket, &broken).await.metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn a_network_is_sent_so_many_answers_a_second_unless_it_shows_a_cookie() {
    let mut settings = Dns { address: "127.0.0.1:0".parse().unwrap(), ..settings() };
    settings.options.rate_limit = Some(5);
    let registry = Registry::new();
    let server = Server::bind(&settings, shared(&settings), Metrics::register(&registry).unwrap()).unwrap();
    let address = server.local_addr();
    let task = tokio::spawn(server.run(std::future::pending()));
    let socket = client(address).await;
    for id in 0..200 {
        socket.send(&numbered(id, "web").to_vec().unwrap()).await.unwrap();
    }
    let (mut whole, mut cut, mut bytes) = (0, 0, [0; 512]);
    while let Ok(Ok(length)) = timeout(Duration::from_millis(500), socket.recv(&mut bytes)).await {
        let reply = Message::from_vec(&bytes[..length]).unwrap();
        assert_eq!(reply.queries.len(), 1);
        if reply.metadata.truncation { cut += 1 } else { whole += 1 }
    }
    // Two seconds at most may have begun meanwhile.
    assert!((5..=15).contains(&whole) && (80..=110).contains(&cut), "{whole} whole, {cut} cut");
    let limited = count(&registry, "portolan_dns_rate_limited_total", &[]);
    assert_eq!(limited, (200 - whole).to_string());
    task.abort();
}

mod encrypted;
mod transfers;
