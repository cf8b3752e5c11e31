//! The names of services, containers and ports, over UDP and TCP.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Edns, Message, MessageType};
use hickory_proto::rr::Record;

use crate::harness::dns::{
    RData, RecordType, ResponseCode, answers, exchange_udp, query, query_tcp, question,
};
use crate::harness::{
    Container, Engine, NAME_SERVER, PATIENCE, Portolan, await_addresses, eventually, longer, resolve,
};

/// The most that answers may lag behind the engine.
const DELAY_MAX: Duration = Duration::from_millis(100);

fn replica(name: &str) -> Container {
    Container::new(name).label("portolan.service", "web").network("shop").alias("front")
}

/// Two replicas of `web` on a network of their own, with IPv6.
fn start(flags: &[&str]) -> (Engine, Portolan) {
    let engine = Engine::start();
    engine.network6("shop", "fd00:7::/64");
    engine.run(&replica("web-1").label("portolan.port.metrics", "9100"));
    engine.run(&replica("web-2"));
    let portolan = Portolan::start(&engine, flags);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    (engine, portolan)
}

fn ask(name: &str, kind: RecordType) -> Message {
    query(NAME_SERVER, name, kind).expect("an answer")
}

#[test]
fn every_name_of_a_service_and_its_containers_is_answered() {
    let (engine, portolan) = start(&[]);
    let addresses = |field: fn(&crate::harness::Endpoint) -> String| {
        ["web-1", "web-2"].map(|name| field(&portolan.endpoint(name).expect("it is known")))
    };
    let v4 = addresses(|endpoint| endpoint.ipv4.clone());
    let v6 = addresses(|endpoint| endpoint.ipv6.clone());
    let id = portolan.endpoint("web-1").expect("it is known").id;
    assert_eq!(v4[0], engine.address("web-1", "shop").to_string());
    assert_eq!(v6[0], engine.address6("web-1", "shop").to_string());
    for (name, which) in [
        ("web", 0..2),
        ("tasks.web", 0..2),
        ("all.web", 0..2),
        ("front", 0..2),
        ("web-1", 0..1),
        ("web-2", 1..2),
        (&id, 0..1),
        ("WeB", 0..2),
    ] {
        assert_eq!(
            resolve(name, RecordType::A),
            (ResponseCode::NoError, v4[which.clone()].to_vec()),
            "{name}"
        );
        assert_eq!(resolve(name, RecordType::AAAA), (ResponseCode::NoError, v6[which].to_vec()), "{name}");
    }
    for (name, expected) in [
        ("_http._tcp.web", vec!["0 10 80 web-1.portolan.internal.", "0 10 80 web-2.portolan.internal."]),
        ("_80._tcp.web", vec!["0 10 80 web-1.portolan.internal.", "0 10 80 web-2.portolan.internal."]),
        ("_metrics._tcp.web", vec!["0 10 9100 web-1.portolan.internal."]),
    ] {
        let (code, found) = resolve(name, RecordType::SRV);
        assert_eq!((code, found.len()), (ResponseCode::NoError, expected.len()), "{name}: {found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            // Priority and weight are for the server to choose.
            let tail = |text: &str| text.split(' ').skip(2).collect::<Vec<_>>().join(" ");
            assert_eq!(tail(found), tail(expected), "{name}");
        }
    }
    for address in [&v4[0], &v6[0]] {
        let address: std::net::IpAddr = address.parse().expect("an address");
        let name = hickory_proto::rr::Name::from(address).to_ascii();
        assert_eq!(answers(&ask(&name, RecordType::PTR)), ["web-1.portolan.internal."], "{name}");
    }
    let srv = ask("_http._tcp.web.portolan.internal.", RecordType::SRV);
    assert!(srv.additionals.len() >= 4, "the addresses come along: {srv:?}");
}

#[test]
fn every_replica_comes_first_in_its_turn() {
    let (_engine, _portolan) = start(&[]);
    let first: BTreeSet<String> =
        (0..4).map(|_| ask("web.portolan.internal.", RecordType::A).answers[0].data.to_string()).collect();
    assert_eq!(first.len(), 2, "{first:?}");
}

#[test]
fn what_is_not_there_is_denied_as_it_should_be() {
    let (engine, _portolan) = start(&["--dns-forward=off"]);
    for (name, kind, code, has_soa) in [
        ("web.portolan.internal.", RecordType::MX, ResponseCode::NoError, true),
        ("web.portolan.internal.", RecordType::SRV, ResponseCode::NoError, true),
        ("_tcp.web.portolan.internal.", RecordType::A, ResponseCode::NoError, true),
        ("nobody.portolan.internal.", RecordType::A, ResponseCode::NXDomain, true),
        ("_smtp._tcp.web.portolan.internal.", RecordType::SRV, ResponseCode::NXDomain, true),
        ("example.com.", RecordType::A, ResponseCode::Refused, false),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR, ResponseCode::Refused, false),
    ] {
        let answer = ask(name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name} {kind}");
        assert!(answer.answers.is_empty(), "{name} {kind}: {answer:?}");
        let soa: Vec<String> = answer.authorities.iter().map(|record| record.name.to_ascii()).collect();
        let expected: &[&str] = if has_soa { &["portolan.internal."] } else { &[] };
        assert_eq!(soa, expected, "{name} {kind}");
        assert_eq!(answer.metadata.authoritative, has_soa, "{name} {kind}");
    }
    // Without a ready replica the name exists all the same, so that nobody looks for it elsewhere.
    engine.docker(&["pause", "web-1"]);
    engine.docker(&["pause", "web-2"]);
    await_addresses("web", &[]);
    await_addresses("web-1", &[]);
    await_addresses("front", &[]);
}

#[test]
fn nothing_is_denied_before_the_first_list() {
    let portolan = Portolan::spawn(None, &["--dns-forward=off"]);
    let answer = eventually(PATIENCE, "the name server", || {
        query(NAME_SERVER, "web.portolan.internal.", RecordType::A)
    });
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ask("example.com.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    drop(portolan);
}

#[test]
fn flags_set_the_time_to_live_the_zone_and_the_address() {
    let (_engine, _portolan) = start(&[
        "--dns-ttl=30s",
        "--dns-zone=shop.test",
        "--dns-address=127.0.0.1:5300",
        "--dns-forward=off",
    ]);
    let answer = query("127.0.0.1:5300", "web.shop.test.", RecordType::A).expect("an answer");
    assert_eq!(answer.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [30, 30]);
    let other = query("127.0.0.1:5300", "web.portolan.internal.", RecordType::A).expect("an answer");
    assert_eq!(other.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn edns_is_answered_with_edns_and_tcp_like_udp() {
    let (_engine, _portolan) = start(&["--dns-forward=off"]);
    let name = "web.portolan.internal.";
    let plain = ask(name, RecordType::A);
    assert!(plain.edns.is_none() && plain.metadata.authoritative && !plain.metadata.recursion_available);
    assert_eq!(plain.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [2, 2]);
    let mut with_edns = question(name, RecordType::A);
    with_edns.edns = Some(Edns::new());
    let answer = exchange_udp(NAME_SERVER, &with_edns).expect("an answer");
    assert_eq!(answer.edns.as_ref().expect("EDNS is answered with EDNS").max_payload(), 1232);
    let by_tcp = query_tcp(NAME_SERVER, name, RecordType::A).expect("an answer");
    assert_eq!(answers(&by_tcp), answers(&plain));
}

/// Other names are looked up where the flag says, once; and where nobody answers, nobody waits for long.
#[test]
fn other_names_are_looked_up_where_the_operator_says() {
    let _portolan = Portolan::spawn(None, &["--dns-forward=127.0.0.1:5310,127.0.0.1:5311"]);
    // From here on in the test's own network. The one takes queries, and says nothing.
    let _dead = UdpSocket::bind("127.0.0.1:5310").expect("a socket");
    let upstream = UdpSocket::bind("127.0.0.1:5311").expect("a socket");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((length, peer)) = upstream.recv_from(&mut bytes) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut answer = Message::from_vec(&bytes[..length]).expect("a query");
            answer.metadata.message_type = MessageType::Response;
            let name = answer.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 300, RData::A(Ipv4Addr::new(192, 0, 2, 7).into())));
            upstream.send_to(&answer.to_vec().expect("an answer"), peer).expect("it is sent");
        }
    });
    for _ in 0..5 {
        let begun = Instant::now();
        let answer =
            eventually(PATIENCE, "an answer", || query(NAME_SERVER, "www.example.com.", RecordType::A));
        assert_eq!(answers(&answer), ["192.0.2.7"]);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the first answer is kept");
    assert_eq!(resolve("nobody", RecordType::A).0, ResponseCode::ServFail, "our own names stay here");
}

/// Whoever gives `192.0.2.N` for every name, on port 53 of an address in the test's own network.
fn name_server(address: &str, n: u8) {
    let socket = UdpSocket::bind((address, 53)).expect("a socket");
    thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            let mut answer = Message::from_vec(&bytes[..length]).expect("a query");
            answer.metadata.message_type = MessageType::Response;
            let name = answer.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 0, RData::A(Ipv4Addr::new(192, 0, 2, n).into())));
            socket.send_to(&answer.to_vec().expect("an answer"), peer).expect("it is sent");
        }
    });
}

/// The operator's records and the host's name servers are those that the files name now, and a faulty file takes nothing.
#[test]
fn files_that_change_are_followed() {
    let engine = Engine::start();
    let write = |name: &str, text: &str| engine.sandbox().write(name, text);
    let records = write("/run/records", "printer A 192.0.2.10\n");
    let servers = write("/run/resolv.conf", "nameserver 127.0.0.2\n");
    let portolan =
        Portolan::start(&engine, &[&format!("--dns-records={records}"), &format!("--dns-forward={servers}")]);
    for n in [2, 3] {
        name_server(&format!("127.0.0.{n}"), n);
    }
    let becomes = |name: &str, address: &str| {
        eventually(PATIENCE, address, || match query(NAME_SERVER, name, RecordType::A) {
            Ok(answer) if answers(&answer) == [address] => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    becomes("www.example.com.", "192.0.2.2");
    becomes("printer.portolan.internal.", "192.0.2.10");
    write("/run/resolv.conf", "nameserver 127.0.0.3\n");
    write("/run/records", "printer A nowhere\n");
    becomes("www.example.com.", "192.0.2.3");
    eventually(PATIENCE, "a fault", || {
        let faults = portolan.snapshot()["faults"].to_string();
        if faults.contains("--dns-records") { Ok(()) } else { Err(faults) }
    });
    becomes("printer.portolan.internal.", "192.0.2.10");
    write("/run/records", "printer A 192.0.2.11\n");
    becomes("printer.portolan.internal.", "192.0.2.11");
}

/// From the engine's word that a container is told to stop, or has started, to the answer that heeds it. With
/// `PORTOLAN_LONG` ten times as often, and what is printed is worth something.
#[test]
fn answers_follow_the_engine_within_a_tenth_of_a_second() {
    let rounds = 5 * longer();
    let (engine, portolan) = start(&[]);
    let (mut left, mut came) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let address = portolan.await_state("web-2", "ready").ipv4;
        left.push(delay(&engine, "stop", "kill", |found| !found.contains(&address)));
        portolan.await_state("web-2", "stopped");
        came.push(delay(&engine, "start", "start", |found| found.len() == 2));
        engine.serving("web-2", "shop");
    }
    left.sort_unstable();
    came.sort_unstable();
    for (what, delays) in [("stops is out of DNS", &left), ("starts is in DNS", &came)] {
        let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
        println!("a replica that {what}: median {:?}, p99 {:?} of {rounds}", at(50), at(99));
        assert!(at(50) <= DELAY_MAX, "median of {delays:?}");
    }
}

/// Lets the engine do something to `web-2`: the time from its event to the first answer that is as `heeds` wants it.
fn delay(engine: &Engine, command: &str, event: &str, heeds: impl Fn(&[String]) -> bool) -> Duration {
    let since = format!("{:.9}", now().as_secs_f64());
    let seen = thread::scope(|scope| {
        let done = scope.spawn(|| engine.try_docker(&[command, "web-2"]));
        let deadline = now() + PATIENCE;
        let seen = loop {
            let (_, found) = resolve("web", RecordType::A);
            let at = now();
            if heeds(&found) {
                break at;
            }
            assert!(at < deadline, "the answer does not follow: {found:?}");
        };
        done.join().expect("no panic").expect("it is done");
        seen
    });
    let until = format!("{:.9}", now().as_secs_f64());
    let events = engine.docker(&[
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        "container=web-2",
        "--filter",
        &format!("event={event}"),
        "--format",
        "{{json .}}",
    ]);
    let first = events.lines().next().unwrap_or_else(|| panic!("no event `{event}`"));
    let event: serde_json::Value = serde_json::from_str(first).expect("an event is JSON");
    let at = Duration::from_nanos(event["timeNano"].as_u64().expect("an event has a time"));
    seen.saturating_sub(at)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set")
}
