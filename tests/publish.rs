//! One label puts a host port in front of all replicas.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use crate::harness::{Container, Engine, PATIENCE, Portolan, eventually, http};

const REPLICAS: [&str; 3] = ["web-1", "web-2", "web-3"];

fn replica(name: &str, publish: &str) -> Container {
    Container::new(name).label("portolan.service", "web").label("portolan.publish", publish)
}

/// Three replicas of `web`, each ready.
fn start(publish: &str) -> (Engine, Portolan) {
    let engine = Engine::start();
    for name in REPLICAS {
        engine.run(&replica(name, publish));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    for name in REPLICAS {
        portolan.await_state(name, "ready");
    }
    (engine, portolan)
}

/// Who answers, and how often, when each request has a connection of its own.
fn answers(address: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for _ in 0..requests {
        let answer = http::get(address, "any", "/").expect("an answer");
        *count.entry(answer.text().trim_end().to_owned()).or_default() += 1;
    }
    count
}

fn await_open(address: &str) {
    eventually(PATIENCE, &format!("an answer at {address}"), || http::get(address, "any", "/"));
}

fn await_closed(address: &str) {
    eventually(PATIENCE, &format!("{address} to be closed"), || match http::get(address, "any", "/") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn connections_rotate_evenly_over_the_replicas() {
    let (engine, portolan) = start("8080:80");
    await_open("127.0.0.1:8080");
    for address in ["127.0.0.1:8080", "[::1]:8080"] {
        let even = BTreeMap::from(REPLICAS.map(|name| (name.to_owned(), 10)));
        assert_eq!(answers(address, 30), even, "{address}");
    }
    let connections =
        |name| portolan.metric(&format!("portolan_endpoint_connections_total{{endpoint=\"{name}\"}}"));
    for name in REPLICAS {
        assert!(connections(name) >= 20.0, "{name} was given {}", connections(name));
    }

    // Without one of them the others share.
    engine.docker(&["pause", "web-2"]);
    portolan.await_state("web-2", "paused");
    let two = BTreeMap::from(["web-1", "web-3"].map(|name| (name.to_owned(), 10)));
    assert_eq!(answers("127.0.0.1:8080", 20), two);

    // With none of them the port stays open, and the connection is closed without an answer.
    engine.docker(&["pause", "web-1"]);
    engine.docker(&["pause", "web-3"]);
    portolan.await_state("web-1", "paused");
    portolan.await_state("web-3", "paused");
    let error = http::get("127.0.0.1:8080", "any", "/").expect_err("nobody is there");
    assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    let refused = "portolan_refusals_total{entrypoint=\"8080/tcp\",reason=\"no_endpoint\"}";
    assert!(portolan.metric(refused) >= 1.0);
    engine.docker(&["unpause", "web-2"]);
    await_open("127.0.0.1:8080");
}

#[test]
fn a_label_may_list_ports_and_addresses() {
    let (engine, portolan) = start("127.0.0.1:8081:80, [::1]:8082:80/tcp");
    await_open("127.0.0.1:8081");
    await_open("[::1]:8082");
    await_closed("[::1]:8081");
    await_closed("127.0.0.1:8082");
    portolan.await_no_fault();
    for name in REPLICAS {
        engine.docker(&["rm", "--force", name]);
    }
    await_closed("127.0.0.1:8081");
    await_closed("[::1]:8082");
}

/// Answers each datagram at port 7 of a container with the container's name before it, for as long as the test runs.
fn echo(engine: &Engine, name: &str) {
    let socket =
        engine.in_network_of(name, || UdpSocket::bind("0.0.0.0:7")).expect("a socket in the container");
    let name = name.to_owned();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..length]);
            let _ = socket.send_to(format!("{name} {line}").as_bytes(), client);
        }
    });
}

#[test]
fn datagrams_are_carried_both_ways() {
    let engine = Engine::start();
    for name in REPLICAS {
        engine.run(&replica(name, "5353:7/udp"));
        echo(&engine, name);
    }
    let portolan = Portolan::start(&engine, &[]);
    for name in REPLICAS {
        portolan.await_state(name, "ready");
    }
    let ask = |client: &UdpSocket, line: &str| {
        eventually(PATIENCE, "a datagram back", || -> io::Result<String> {
            client.send(line.as_bytes())?;
            let mut buffer = [0; 100];
            let length = client.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    };
    let mut servers = BTreeMap::new();
    for server in
        ["127.0.0.1:5353", "[::1]:5353"].map(|server| server.parse::<SocketAddr>().expect("an address"))
    {
        for number in 0..6 {
            let any: &str = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let client = UdpSocket::bind(any).expect("a socket");
            client.set_read_timeout(Some(PATIENCE / 10)).expect("a deadline");
            client.connect(server).expect("a destination");
            let first = ask(&client, &format!("hello {number}"));
            let (name, line) = first.split_once(' ').expect("a name and a line");
            assert_eq!(line, format!("hello {number}"));
            assert_eq!(ask(&client, "again"), format!("{name} again"), "a client stays with its replica");
            *servers.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(servers.keys().collect::<Vec<_>>(), REPLICAS.iter().collect::<Vec<_>>(), "{servers:?}");
}

#[test]
fn a_port_of_portolans_own_is_a_fault_that_names_both() {
    let engine = Engine::start();
    engine.run(&Container::new("entry").label("portolan.publish", "8000:80"));
    engine.run(&Container::new("admin").label("portolan.publish", "9080:80"));
    engine.run(&Container::new("names").label("portolan.publish", "1053:80/udp"));
    let portolan = Portolan::start(&engine, &[]);
    for (container, expected) in [
        ("entry", ["8000/tcp", "entry point web"]),
        ("admin", ["9080/tcp", "the admin address"]),
        ("names", ["1053/udp", "the DNS server"]),
    ] {
        let fault = portolan.await_fault(container);
        assert_eq!(fault.label, "portolan.publish");
        assert!(expected.iter().all(|part| fault.message.contains(part)), "{fault:?}");
        assert!(portolan.logs().contains(&fault.message), "{}", portolan.logs());
    }
    assert!((portolan.metric("portolan_faults") - 3.0).abs() < f64::EPSILON);
}

#[test]
fn of_two_services_that_want_a_port_the_elder_has_it_until_it_goes() {
    let engine = Engine::start();
    let wants = |name| Container::new(name).label("portolan.publish", "8080:80");
    let portolan = Portolan::start(&engine, &[]);
    engine.run(&wants("elder"));
    engine.run(&wants("younger"));
    engine.serving("elder", "bridge");
    engine.serving("younger", "bridge");
    let fault = portolan.await_fault("younger");
    assert_eq!(fault.label, "portolan.publish");
    for part in ["8080/tcp", "elder@docker", "container elder"] {
        assert!(fault.message.contains(part), "{fault:?}");
    }
    assert!(portolan.logs().contains(&fault.message), "{}", portolan.logs());
    await_open("127.0.0.1:8080");
    assert_eq!(answers("127.0.0.1:8080", 4), BTreeMap::from([("elder".to_owned(), 4)]));

    // The loser goes, and with it the fault.
    engine.docker(&["rm", "--force", "younger"]);
    portolan.await_no_fault();
    assert_eq!(answers("127.0.0.1:8080", 1), BTreeMap::from([("elder".to_owned(), 1)]));

    // The winner goes, and the other inherits the port.
    engine.run(&wants("younger"));
    engine.serving("younger", "bridge");
    portolan.await_fault("younger");
    engine.docker(&["rm", "--force", "elder"]);
    portolan.await_no_fault();
    eventually(PATIENCE, "the younger to answer", || match http::get("127.0.0.1:8080", "any", "/") {
        Ok(answer) if answer.text() == "younger\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });

    engine.docker(&["rm", "--force", "younger"]);
    await_closed("127.0.0.1:8080");
}

#[test]
fn a_port_that_another_program_has_is_taken_once_it_is_free() {
    let engine = Engine::start();
    let other = TcpListener::bind("127.0.0.1:8080").expect("the port is free");
    engine.run(&replica("web-1", "127.0.0.1:8080:80"));
    let portolan = Portolan::start(&engine, &[]);
    let fault = portolan.await_fault("web-1");
    for part in ["8080", "another program has it"] {
        assert!(fault.message.contains(part), "{fault:?}");
    }
    engine.serving("web-1", "bridge");
    drop(other);
    portolan.await_no_fault();
    assert_eq!(answers("127.0.0.1:8080", 1).keys().next().map(String::as_str), Some("web-1"));
}
