//! The server before name servers of our own on 127.0.0.1, good ones and others.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use portolan_config::settings::Dns;
use portolan_config::settings::dns::{Forward, Group, NameServer, Options};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::server::Server;
use crate::test_support::{container, query, settings, with_edns, zone};
use crate::zone::shared;

/// How a name server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    Silent,
    Broken,
    /// Repeats names in lower case.
    LowerCase,
    /// Sends wrong answers ahead of the right one.
    Forged,
    /// Says by UDP that the answer does not fit.
    Truncates,
    /// Does not know OPT.
    NoEdns,
}

struct Other {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    manner: Arc<ArcSwap<Manner>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Other {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// `192.0.2.N` for every name, but for `nosuch…`, with so many seconds to live.
fn right(query: &Message, n: u8, ttl: u32) -> Message {
    let mut answer = query.clone();
    answer.edns = None;
    answer.metadata.message_type = MessageType::Response;
    let name = query.queries[0].name().clone();
    if name.to_lowercase().to_ascii().starts_with("nosuch") {
        answer.metadata.response_code = ResponseCode::NXDomain;
        let root = Name::root();
        let soa = SOA::new(root.clone(), root.clone(), 1, 2, 3, 4, ttl);
        answer.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
    } else {
        answer.add_answer(Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, n))));
    }
    answer
}

async fn other(n: u8, manner: Manner, ttl: u32) -> Other {
    // One port that is free for both.
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let manner = Arc::new(ArcSwap::from_pointee(manner));
    let (count, how) = (Arc::clone(&asked), Arc::clone(&manner));
    let datagrams = tokio::spawn(async move {
        let mut bytes = [0; 4096];
        loop {
            let (length, peer) = udp.recv_from(&mut bytes).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let query = Message::from_vec(&bytes[..length]).unwrap();
            let mut answer = right(&query, n, ttl);
            let manner = **how.load();
            match manner {
                Manner::Silent => continue,
                Manner::Broken => {
                    answer.answers.clear();
                    answer.metadata.response_code = ResponseCode::ServFail;
                }
                Manner::LowerCase => {
                    let lower = query.queries[0].name().to_lowercase();
                    answer.queries[0].set_name(lower);
                }
                Manner::Truncates => {
                    answer.answers.clear();
                    answer.metadata.truncation = true;
                }
                Manner::NoEdns if query.edns.is_some() => {
                    answer.answers.clear();
                    answer.metadata.response_code = ResponseCode::FormErr;
                }
                Manner::Forged => {
                    let mut forged = right(&query, 66, ttl);
                    forged.metadata.id = query.metadata.id.wrapping_add(1);
                    udp.send_to(&forged.to_vec().unwrap(), peer).await.unwrap();
                    forged.metadata.id = query.metadata.id;
                    forged.queries[0].set_name(Name::from_ascii("www.example.net.").unwrap());
                    udp.send_to(&forged.to_vec().unwrap(), peer).await.unwrap();
                    udp.send_to(b"noise", peer).await.unwrap();
                }
                Manner::Good | Manner::NoEdns => {}
            }
            udp.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let connections = tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut bytes = vec![0; length.into()];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let answer = right(&Message::from_vec(&bytes).unwrap(), 100 + n, ttl).to_vec().unwrap();
                    stream.write_u16(answer.len() as u16).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    Other { address, asked, manner, tasks: [datagrams, connections] }
}

struct Running {
    address: SocketAddr,
    registry: Registry,
    task: JoinHandle<std::io::Result<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(groups: &[(&str, &[SocketAddr])]) -> Running {
    start_with(groups, zone([container("web", "10.0.0.1")]))
}

fn start_with(groups: &[(&str, &[SocketAddr])], zone: crate::Zone) -> Running {
    let registry = Registry::new();
    let group = |(suffix, servers): &(&str, &[SocketAddr])| Group {
        suffix: (*suffix).to_owned(),
        servers: servers.iter().copied().map(NameServer::Plain).collect(),
    };
    let forward = Forward { groups: groups.iter().map(group).collect(), cache: 1000 };
    let options = Options { forward: Some(forward), ..Options::default() };
    let settings = Dns { address: "127.0.0.1:0".parse().unwrap(), options, ..settings() };
    let shared = shared(&settings);
    shared.store(Arc::new(zone));
    let server = Server::bind(&settings, shared, Metrics::register(&registry).unwrap()).unwrap();
    let address = server.local_addr();
    Running { address, registry, task: tokio::spawn(server.run(std::future::pending())) }
}

impl Running {
    async fn ask(&self, name: &str) -> Message {
        self.send(&with_edns(query(name, RecordType::A), 1232)).await
    }

    async fn send(&self, query: &Message) -> Message {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(&query.to_vec().unwrap()).await.unwrap();
        let mut bytes = [0; 4096];
        let length =
            timeout(Duration::from_secs(8), socket.recv(&mut bytes)).await.expect("in time").unwrap();
        Message::from_vec(&bytes[..length]).unwrap()
    }

    /// The sum of a metric's counters.
    fn count(&self, name: &str) -> String {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map_or(&[][..], |family| family.get_metric());
        metrics.iter().map(|metric| metric.get_counter().get_value()).sum::<f64>().to_string()
    }
}

fn shown(message: &Message) -> String {
    let data: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    format!("{:?} {}", message.metadata.response_code, data.join(" "))
}

#[tokio::test]
async fn others_names_are_looked_up_once_and_then_known() {
    let other = other(1, Manner::Good, 300).await;
    let running = start(&[("", &[other.address])]);
    for round in 0..3 {
        let reply = running.ask("wWw.Example.").await;
        assert_eq!(shown(&reply), "NoError 192.0.2.1", "{round}");
        assert_eq!(reply.queries[0].name().to_ascii(), "wWw.Example.");
        assert_eq!(reply.answers[0].name.to_ascii(), "wWw.Example.");
        assert!(reply.metadata.recursion_available && !reply.metadata.authoritative);
        assert!(reply.edns.is_some());
        let denied = running.ask("nosuch.example.").await;
        assert_eq!(shown(&denied), "NXDomain ");
        assert_eq!(denied.authorities.len(), 1);
    }
    assert_eq!(other.asked.load(Ordering::SeqCst), 2);
    assert_eq!(running.count("portolan_dns_cache_hits_total"), "4");
    assert_eq!(running.count("portolan_dns_forward_requests_total"), "2");
}

#[tokio::test]
async fn our_own_names_and_what_is_nobodys_never_leave() {
    let other = other(1, Manner::Good, 300).await;
    let running = start(&[("", &[other.address])]);
    for (name, expected) in [
        ("web", "NoError 10.0.0.1"),
        ("nosuch", "NXDomain "),
        ("nosuch.web", "NXDomain "),
        ("web.", "NXDomain "),
        ("a.invalid.", "NXDomain "),
        ("localhost.", "NoError 127.0.0.1"),
    ] {
        assert_eq!(shown(&running.ask(name).await), expected, "{name}");
    }
    let mut direct = query("www.example.", RecordType::A);
    direct.metadata.recursion_desired = false;
    assert_eq!(running.send(&direct).await.metadata.response_code, ResponseCode::Refused);
    assert_eq!(other.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_below_one_are_asked_of_its_own_servers() {
    let (all, corp) = (other(1, Manner::Good, 300).await, other(2, Manner::Good, 300).await);
    let running = start(&[("", &[all.address]), ("corp.example", &[corp.address])]);
    for (name, expected) in [
        ("example.", "NXDomain "), // of one label
        ("x.example.", "NoError 192.0.2.1"),
        ("corp.example.", "NoError 192.0.2.2"),
        ("x.CORP.example.", "NoError 192.0.2.2"),
        ("xcorp.example.", "NoError 192.0.2.1"),
    ] {
        assert_eq!(shown(&running.ask(name).await), expected, "{name}");
    }
}

#[tokio::test]
async fn a_dead_server_costs_no_client_its_patience() {
    let (dead, good) = (other(1, Manner::Silent, 300).await, other(2, Manner::Good, 300).await);
    let running = start(&[("", &[dead.address, good.address])]);
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let begun = Instant::now();
        assert_eq!(shown(&running.ask(&format!("n{n}.example.")).await), "NoError 192.0.2.2");
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(dead.asked.load(Ordering::SeqCst) <= 3, "it is spared");
    assert_ne!(running.count("portolan_dns_forward_healthcheck_failures_total"), "0");
    assert_eq!(running.count("portolan_dns_forward_healthcheck_broken_total"), "0", "there is a good one");
}

#[tokio::test]
async fn a_server_that_is_spared_is_asked_where_there_is_no_other() {
    let dead = other(1, Manner::Silent, 300).await;
    let running = start(&[("", &[dead.address])]);
    assert_eq!(shown(&running.ask("a.example.").await), "ServFail ");
    assert_eq!(running.count("portolan_dns_forward_healthcheck_failures_total"), "1");
    dead.manner.store(Arc::new(Manner::Good));
    assert_eq!(shown(&running.ask("b.example.").await), "NoError 192.0.2.1");
    assert_eq!(running.count("portolan_dns_forward_healthcheck_broken_total"), "1");
}

#[tokio::test]
async fn a_server_that_says_no_is_followed_by_the_next() {
    let (broken, good) = (other(1, Manner::Broken, 300).await, other(2, Manner::Good, 300).await);
    let running = start(&[("", &[broken.address, good.address])]);
    assert_eq!(shown(&running.ask("www.example.").await), "NoError 192.0.2.2");
    let alone = start(&[("", &[broken.address])]);
    assert_eq!(shown(&alone.ask("www.example.").await), "ServFail ");
    let before = broken.asked.load(Ordering::SeqCst);
    assert_eq!(shown(&alone.ask("www.example.").await), "ServFail ");
    assert_eq!(broken.asked.load(Ordering::SeqCst), before, "remembered for a while (RFC 9520)");
}

#[tokio::test]
async fn odd_servers_are_understood() {
    for (manner, expected) in [
        (Manner::LowerCase, "NoError 192.0.2.101"), // over TCP, where nobody forges
        (Manner::Truncates, "NoError 192.0.2.101"),
        (Manner::Forged, "NoError 192.0.2.1"),
        (Manner::NoEdns, "NoError 192.0.2.1"),
    ] {
        let other = other(1, manner, 300).await;
        let running = start(&[("", &[other.address])]);
        for n in 0..3 {
            let name = format!("long-enough-to-have-case-{n}.example.");
            let reply = running.ask(&name).await;
            let later = if manner == Manner::LowerCase && n > 0 { "NoError 192.0.2.1" } else { expected };
            assert_eq!(shown(&reply), later, "{manner:?} {n}");
        }
    }
}

#[tokio::test]
async fn what_has_run_out_is_better_than_nothing() {
    let other = other(1, Manner::Good, 1).await;
    let running = start(&[("", &[other.address])]);
    assert_eq!(running.ask("www.example.").await.answers[0].ttl, 1);
    other.manner.store(Arc::new(Manner::Broken));
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let reply = running.ask("www.example.").await;
        assert_eq!(shown(&reply), "NoError 192.0.2.1");
        if reply.answers[0].ttl == 30 {
            break;
        }
        assert!(Instant::now() < deadline, "it does not run out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.manner.store(Arc::new(Manner::Silent));
    let begun = Instant::now();
    assert_eq!(running.ask("www.example.").await.answers[0].ttl, 30);
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_who_ask_the_same_are_one_question() {
    let slow = other(1, Manner::Silent, 300).await;
    let running = start(&[("", &[slow.address])]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(running.address).await.unwrap();
    for id in 0..50 {
        let mut query = query("www.example.", RecordType::A);
        query.metadata.id = id;
        socket.send(&query.to_vec().unwrap()).await.unwrap();
    }
    let mut bytes = [0; 512];
    for _ in 0..50 {
        let length =
            timeout(Duration::from_secs(8), socket.recv(&mut bytes)).await.expect("in time").unwrap();
        assert_eq!(shown(&Message::from_vec(&bytes[..length]).unwrap()), "ServFail ");
    }
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_loop_is_noticed_and_ends() {
    // The one forwards to the other, which forwards to the one.
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let running = start(&[("", &[relay.local_addr().unwrap()])]);
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(running.address).await.unwrap();
    let looping = tokio::spawn(async move {
        let (mut bytes, mut reply, mut turns) = ([0; 512], [0; 512], 0);
        loop {
            let (length, peer) = relay.recv_from(&mut bytes).await.unwrap();
            turns += 1;
            assert!(turns < 5, "it goes round and round");
            back.send(&bytes[..length]).await.unwrap();
            let length = back.recv(&mut reply).await.unwrap();
            relay.send_to(&reply[..length], peer).await.unwrap();
        }
    });
    let begun = Instant::now();
    assert_eq!(shown(&running.ask("a-long-name-in-a-circle.example.").await), "ServFail ");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(!looping.is_finished());
    looping.abort();
}

#[tokio::test]
async fn connections_get_answers_from_others_too_and_do_not_wait_for_them() {
    let other = other(1, Manner::Good, 300).await;
    let running = start(&[("", &[other.address])]);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for (id, name) in [(1, "a.example."), (2, "web"), (3, "b.example."), (4, "a.example.")] {
        let mut query = query(name, RecordType::A);
        query.metadata.id = id;
        let bytes = query.to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
    let mut given = Vec::new();
    for _ in 0..4 {
        let length = timeout(Duration::from_secs(8), stream.read_u16()).await.expect("in time").unwrap();
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        given.push((reply.metadata.id, shown(&reply)));
    }
    assert_eq!(given[0], (2, "NoError 10.0.0.1".to_owned()), "what is known here holds for nobody else");
    given.sort();
    let others = |id: u16| (id, "NoError 192.0.2.1".to_owned());
    assert_eq!(given, [others(1), (2, "NoError 10.0.0.1".to_owned()), others(3), others(4)]);
}

#[tokio::test]
async fn an_alias_that_leads_to_others_brings_what_they_say() {
    let other = other(1, Manner::Good, 300).await;
    let text = "www CNAME Www.Example.\nmissing CNAME nosuch.example.\nlocal CNAME www\n";
    let fixed = crate::Fixed::parse(text, None, &settings()).unwrap();
    let world = crate::test_support::snapshot([container("web", "10.0.0.1")]);
    let zone = crate::Compiler::with_records(&settings(), &fixed).compile(&world).0;
    let running = start_with(&[("", &[other.address])], zone);
    for time in 0..2 {
        for name in ["www", "local"] {
            let reply = running.ask(name).await;
            let (last, aliases) = reply.answers.split_last().unwrap();
            assert_eq!(aliases.len(), if name == "www" { 1 } else { 2 }, "{time} {reply}");
            assert_eq!(
                (last.name.to_ascii().to_lowercase(), last.data.to_string()),
                ("www.example.".into(), "192.0.2.1".into())
            );
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        }
    }
    assert_eq!(other.asked.load(Ordering::Relaxed), 1, "and it is kept");
    let missing = running.ask("missing").await;
    assert_eq!((missing.metadata.response_code, missing.answers.len()), (ResponseCode::NXDomain, 1));
    let mut alone = with_edns(query("www", RecordType::A), 1232);
    alone.metadata.recursion_desired = false;
    assert_eq!(running.send(&alone).await.answers.len(), 1, "who does not ask for more gets no more");
}

#[tokio::test]
async fn who_says_no_more_still_gets_what_was_asked() {
    let other = other(1, Manner::Good, 300).await;
    let running = start(&[("", &[other.address])]);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let bytes = query("a.example.", RecordType::A).to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    timeout(Duration::from_secs(8), stream.read_to_end(&mut all)).await.expect("in time").unwrap();
    assert_eq!(shown(&Message::from_vec(&all[2..]).unwrap()), "NoError 192.0.2.1");
}

#[test]
fn names_of_others_are_looked_up_for_those_nearby() {
    for (ip, near) in [
        ("127.0.0.1", true),
        ("10.1.2.3", true),
        ("172.17.0.2", true),
        ("192.168.1.1", true),
        ("169.254.1.1", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("192.0.2.1", false),
        ("::1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("2001:db8::1", false),
    ] {
        assert_eq!(is_near(ip.parse().unwrap()), near, "{ip}");
    }
}
