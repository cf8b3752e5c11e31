//! UDP entry points: every client has a session, answers come from the address that was asked, and an endpoint that
//! left is sent nothing more.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{PATIENCE, Portolan, Sandbox, eventually};

const DIRECTORY: &str = "/etc/dynamic";
const GAME: &str = "127.0.0.1:9000";

/// Answers each datagram with `name` before it, for as long as the test runs.
fn echo(name: &'static str, at: &str) {
    let socket = UdpSocket::bind(at).expect("a socket");
    thread::spawn(move || {
        let mut datagram = [0; 2000];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let line = String::from_utf8_lossy(&datagram[..length]);
            let _ = socket.send_to(format!("{name} {line}").as_bytes(), client);
        }
    });
}

/// A file by which the entry point leads to these servers, each a service of its own with a weight.
fn lead(sandbox: &Sandbox, servers: &[(&str, u16, u32)]) {
    let shares = servers.iter().map(|(name, _, weight)| format!("{{name: {name}, weight: {weight}}}"));
    let shares: Vec<String> = shares.collect();
    let services = servers.iter().map(|(name, port, _)| {
        format!("    {name}: {{loadBalancer: {{servers: [{{address: \"127.0.0.1:{port}\"}}]}}}}\n")
    });
    let text = format!(
        "udp:\n  routers:\n    game:\n      entryPoints: [game]\n      service: all\n  services:\n    \
         all: {{weighted: {{services: [{}]}}}}\n{}",
        shares.join(", "),
        services.collect::<String>()
    );
    sandbox.write(&format!("{DIRECTORY}/game.yml"), &text);
}

fn start(flags: &[&str]) -> Portolan {
    let fixed = [
        "--source",
        "demo",
        "--file",
        DIRECTORY,
        "--dns-address",
        "off",
        "--entryPoints.game.address=:9000/udp",
    ];
    Portolan::start(None, &[&fixed[..], flags].concat())
}

fn client(to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().expect("an address");
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = UdpSocket::bind(any).expect("a socket");
    client.set_read_timeout(Some(PATIENCE / 10)).expect("a deadline");
    // Connected, it hears of nobody but the address it asked.
    client.connect(to).expect("a destination");
    client
}

/// Who answers, whatever else may still be on its way.
fn ask(client: &UdpSocket, line: &str) -> io::Result<String> {
    client.send(line.as_bytes())?;
    loop {
        let mut datagram = [0; 2000];
        let length = client.recv(&mut datagram)?;
        let answer = String::from_utf8_lossy(&datagram[..length]);
        if let Some((name, _)) = answer.split_once(' ').filter(|(_, said)| *said == line) {
            return Ok(name.to_owned());
        }
    }
}

#[track_caller]
fn await_answer(client: &UdpSocket, line: &str) -> String {
    eventually(PATIENCE, "an answer", || ask(client, line))
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let sandbox = Sandbox::enter();
    echo("a", "127.0.0.1:7001");
    lead(&sandbox, &[("a", 7001, 1)]);
    let portolan = start(&[]);
    for asked in [GAME, "127.0.0.2:9000", "127.0.0.3:9000", "[::1]:9000"] {
        assert_eq!(await_answer(&client(asked), "hello"), "a", "{asked}");
    }
    // One that speaks to two of our addresses hears each of them.
    let both = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    both.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    for asked in [GAME, "127.0.0.2:9000", GAME] {
        both.send_to(b"x", asked).expect("a datagram leaves");
        let (_, from) = both.recv_from(&mut [0; 9]).expect("a datagram comes");
        assert_eq!(from.to_string(), asked);
    }
    // What was sent is counted once it has left.
    for (selector, least) in [
        ("portolan_udp_datagrams_total{entrypoint=\"game\",direction=\"sent\"}", 7.0),
        ("portolan_endpoint_connections_total{service=\"a@file/udp\"}", 6.0),
        ("portolan_entrypoint_connections_open{entrypoint=\"game\"}", 6.0),
    ] {
        eventually(PATIENCE, selector, || match portolan.metric(selector) {
            enough if enough >= least => Ok(()),
            counted => Err(counted.to_string()),
        });
    }
}

#[test]
fn a_session_ends_when_nothing_moved_for_as_long_as_its_entry_point_says() {
    let sandbox = Sandbox::enter();
    echo("a", "127.0.0.1:7001");
    lead(&sandbox, &[("a", 7001, 1)]);
    let portolan = start(&["--entryPoints.game.udp.timeout=1s"]);
    assert_eq!(await_answer(&client(GAME), "hello"), "a");
    assert!(portolan.metric("portolan_endpoint_connections_total{service=\"a@file/udp\"}") >= 1.0);
    eventually(PATIENCE, "the session to end", || {
        let open = portolan.metric("portolan_entrypoint_connections_open{entrypoint=\"game\"}");
        if open == 0.0 { Ok(()) } else { Err(format!("{open} are open")) }
    });
    assert!(portolan.metric("portolan_udp_sessions_ended_total{entrypoint=\"game\",reason=\"idle\"}") >= 1.0);
}

/// All files that the system lets this process have open.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("as far as allowed");
}

#[test]
fn ten_thousand_clients_keep_their_endpoints_until_those_leave() {
    const CLIENTS: usize = 10_000;
    raise_open_files();
    let sandbox = Sandbox::enter();
    echo("a", "127.0.0.1:7001");
    echo("b", "127.0.0.1:7002");
    echo("c", "127.0.0.1:7003");
    lead(&sandbox, &[("a", 7001, 1), ("b", 7002, 1), ("c", 7003, 2)]);
    let portolan = start(&["--entryPoints.game.udp.timeout=120s"]);
    await_answer(&client(GAME), "is it there?");
    let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| client(GAME)).collect();
    let everybody =
        |round: &str| -> Vec<String> { clients.iter().map(|client| await_answer(client, round)).collect() };
    let first = everybody("one");
    let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
    for name in &first {
        *counts.entry(name).or_default() += 1;
    }
    for (name, expected) in [("a", 2500), ("b", 2500), ("c", 5000)] {
        assert!((counts[name] - expected).abs() < 300, "{counts:?}");
    }
    let open = portolan.metric("portolan_entrypoint_connections_open{entrypoint=\"game\"}");
    assert!(open >= CLIENTS as f64, "{open}");

    // One leaves: its clients are answered by others, and all others by whom they know.
    lead(&sandbox, &[("a", 7001, 1), ("c", 7003, 2)]);
    let theirs = first.iter().position(|name| name == "b").expect("it has some");
    eventually(PATIENCE, "the file to count", || match ask(&clients[theirs], "gone?")?.as_str() {
        "b" => Err(io::Error::other("it still answers")),
        _ => Ok(()),
    });
    for ((name, client), index) in first.iter().zip(&clients).zip(0..) {
        // The very first datagram is answered: none is sent to the one that left.
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a deadline");
        let now = ask(client, "two").unwrap_or_else(|error| panic!("client {index} of {name}: {error}"));
        assert!(if name == "b" { now != "b" } else { now == *name }, "client {index}: {name}, now {now}");
    }
    let moved =
        portolan.metric("portolan_udp_sessions_ended_total{entrypoint=\"game\",reason=\"endpoint_left\"}");
    assert!((moved - f64::from(counts["b"])).abs() <= 1.0, "{moved} of {counts:?}");
    let lost = portolan.metric("portolan_udp_datagrams_lost_total");
    assert!(lost < 1.0, "{lost} were lost");
}
