//! The kernel carries published ports where that is asked for and the host can do it; where it can't, Portolan says why
//! and carries them itself.

mod breaks;
mod ipv6;
mod left_behind;
mod upgrade;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::harness::{Container, Engine, PATIENCE, Portolan, Sandbox, Signal, eventually};

/// This host as others see it.
const HOST: &str = "10.9.0.1";
/// A host beyond it.
const OUTSIDE: &str = "/run/netns/outside";
const OUTSIDE_IP: &str = "10.9.0.2";

/// The host is looked at every ten seconds.
const LOOKED: Duration = Duration::from_secs(25);

/// A host whose way to everything is this one.
fn add_outside(sandbox: &Sandbox) {
    sandbox.shell(
        "ip netns add outside
         ip link add to-outside type veth peer name eth0 netns outside
         ip addr add 10.9.0.1/24 dev to-outside
         ip link set to-outside up
         ip -n outside addr add 10.9.0.2/24 dev eth0
         ip -n outside link set lo up
         ip -n outside link set eth0 up
         ip -n outside route add default via 10.9.0.1",
    );
}

/// Answers each line, and each datagram, at port 7 of a container with its name and whom it sees as client. The
/// container's own processes have no part in it, so it goes on while those are frozen.
fn echo(engine: &Engine, name: &str) {
    let (tcp, udp) = engine.in_network_of(name, || {
        let tcp = TcpListener::bind("[::]:7").expect("a socket in the container");
        (tcp, UdpSocket::bind("[::]:7").expect("a socket in the container"))
    });
    let owned = name.to_owned();
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let name = owned.clone();
            thread::spawn(move || {
                let Ok(peer) = stream.peer_addr() else { return };
                let mut lines = BufReader::new(&stream);
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                    line.clear();
                    if writeln!(&stream, "{name} {}", peer.ip().to_canonical()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let name = name.to_owned();
    thread::spawn(move || {
        let mut datagram = [0; 100];
        while let Ok((_, client)) = udp.recv_from(&mut datagram) {
            let _ = udp.send_to(format!("{name} {}", client.ip().to_canonical()).as_bytes(), client);
        }
    });
}

/// Two replicas of `web`, published by TCP and UDP, and an outside.
fn start(data_path: &str) -> Engine {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        let container = Container::new(name)
            .label("portolan.service", "web")
            .label("portolan.publish", "8080:7, 5353:7/udp")
            .label("portolan.publish.datapath", data_path);
        engine.run(&container);
        echo(&engine, name);
    }
    add_outside(engine.sandbox());
    engine
}

/// A connection to the port, and who is at its other end, and whom that sees.
fn connect(to: &str) -> std::io::Result<(BufReader<TcpStream>, String)> {
    let stream = TcpStream::connect_timeout(&to.parse().expect("an address"), PATIENCE / 5)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let said = say(&mut stream)?;
    Ok((stream, said))
}

fn say(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    stream.get_ref().write_all(b"hello\n")?;
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn ask(client: &UdpSocket) -> std::io::Result<String> {
    client.send(b"hello")?;
    let mut datagram = [0; 100];
    let length = client.recv(&mut datagram)?;
    Ok(String::from_utf8_lossy(&datagram[..length]).into_owned())
}

/// How the TCP port's bytes travel, and why.
fn travels(portolan: &Portolan) -> (String, String) {
    let snapshot = portolan.snapshot();
    let publications = snapshot["publications"].as_array().expect("a list").clone();
    let tcp = publications.into_iter().find(|publication| publication["protocol"] == "tcp");
    let path = tcp.expect("a TCP port")["dataPath"].clone();
    let text = |key: &str| path[key].as_str().unwrap_or_default().to_owned();
    (text("path"), text("reason"))
}

#[track_caller]
fn await_path(portolan: &Portolan, path: &str) -> String {
    eventually(LOOKED, &format!("the port to travel by {path}"), || match travels(portolan) {
        (by, why) if by == path => Ok(why),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn the_kernel_carries_a_port_and_the_client_keeps_its_address() {
    let engine = start("nftables");
    let sandbox = engine.sandbox();
    let mut portolan = Portolan::start(&engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    // Docker's firewall would drop what it has not published: so Portolan carries the port, and says so.
    let why = why_in_user_space(&portolan);
    assert!(why.contains("iptables -I DOCKER-USER"), "{why}");
    let faults = portolan.faults();
    assert!(faults.iter().any(|fault| fault.label == "portolan.publish.datapath"), "{faults:?}");
    let (_, said) =
        sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")).expect("it is carried all the same");
    assert!(!said.ends_with(OUTSIDE_IP), "{said}");

    sandbox.shell("iptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT");
    await_path(&portolan, "nftables");
    let others = sandbox.shell("iptables-save | grep -v '^#' | sed 's/\\[.*//'");

    // Connections go round, and endpoints see who is there.
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20 {
        let (_, said) = sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")).expect("an answer");
        *counts.entry(said).or_default() += 1;
    }
    let both = ["web-1", "web-2"].map(|name| (format!("{name} {OUTSIDE_IP}"), 10));
    assert_eq!(counts, BTreeMap::from(both));
    // This host's own clients are served, by either of its addresses.
    connect("127.0.0.1:8080").expect("an answer, by Portolan itself");
    connect(&format!("{HOST}:8080")).expect("an answer");
    let eventually_counted = |selector: &str, least: f64| {
        eventually(PATIENCE, selector, || match portolan.metric(selector) {
            counted if counted >= least => Ok(()),
            counted => Err(counted.to_string()),
        });
    };
    eventually_counted("portolan_datapath_connections_total{entrypoint=\"8080/tcp\"}", 20.0);
    eventually_counted("portolan_entrypoint_received_bytes_total{entrypoint=\"8080/tcp\"}", 20.0 * 6.0);
    eventually_counted("portolan_entrypoint_sent_bytes_total{entrypoint=\"8080/tcp\"}", 20.0 * 6.0);

    // A container of the same bridge gets its answer from the address that it asked.
    let neighbour = engine.in_network_of("web-1", || connect(&format!("{HOST}:8080")));
    neighbour.expect("an answer");

    // One stops to be ready: it keeps what it has begun, and gets nothing new.
    let client = sandbox.in_network(OUTSIDE, || UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    client.connect("10.9.0.1:5353").expect("a destination");
    client.set_read_timeout(Some(PATIENCE / 5)).expect("a deadline");
    let its = ask(&client).expect("an answer");
    let (leaving, stays) = if its.starts_with("web-1") { ("web-1", "web-2") } else { ("web-2", "web-1") };
    assert_eq!(its, format!("{leaving} {OUTSIDE_IP}"));
    let mut begun = eventually(PATIENCE, "a connection to it", || {
        match sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")) {
            Ok((stream, said)) if said.starts_with(leaving) => Ok(stream),
            other => Err(format!("{other:?}")),
        }
    });
    engine.docker(&["pause", leaving]);
    portolan.await_state(leaving, "paused");
    eventually(PATIENCE, "the client to be another's", || match ask(&client) {
        Ok(said) if said == format!("{stays} {OUTSIDE_IP}") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..10 {
        let (_, said) = sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")).expect("an answer");
        assert!(said.starts_with(stays), "{said}");
    }
    assert!(say(&mut begun).expect("it goes on").starts_with(leaving));
    // Counted when all are removed, which the client may know first.
    eventually_counted("portolan_datapath_flows_removed_total", 1.0);

    // Somebody else removes the table, or a part of it: it is made again.
    for (number, harm) in
        ["nft delete table inet portolan", "nft flush chain inet portolan prerouting"].iter().enumerate()
    {
        sandbox.shell(harm);
        eventually_counted("portolan_datapath_repairs_total", number as f64 + 1.0);
        let back = || {
            let listed =
                sandbox.command("nft").args(["list", "chain", "inet", "portolan", "prerouting"]).output();
            let listed = String::from_utf8_lossy(&listed.expect("nft runs").stdout).into_owned();
            if listed.contains("jump choose") { Ok(()) } else { Err(listed) }
        };
        eventually(PATIENCE, "the table", back);
    }

    // All that is Docker's is as it was, and nothing of ours is left behind.
    portolan.terminate();
    portolan.wait_exit(PATIENCE);
    let now = sandbox.shell("iptables-save | grep -v '^#' | sed 's/\\[.*//'");
    assert_eq!(now, others);
    assert!(!sandbox.shell("nft list tables").contains("portolan"));
}

/// Waits until the port goes through Portolan itself with a reason, and returns that.
#[track_caller]
fn why_in_user_space(portolan: &Portolan) -> String {
    eventually(PATIENCE, "a reason", || match travels(portolan) {
        (by, why) if by == "userspace" && !why.is_empty() => Ok(why),
        other => Err(format!("{other:?}")),
    })
}

#[track_caller]
fn assert_shown_in_user_space(engine: &Engine) {
    let shown = engine.sandbox().command(Portolan::binary()).arg("ps").output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("port 8080/tcp -> web@docker port 7, by userspace: "), "{shown}");
}

/// Portolan that may not tell the kernel anything, which it says, and what a client hears through it.
fn without_the_capability(engine: &Engine) -> (Portolan, String) {
    let portolan = Portolan::start_without("net_admin", engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    let why = why_in_user_space(&portolan);
    assert!(why.contains("NET_ADMIN"), "{why}");
    let (_, said) = engine.sandbox().in_network(OUTSIDE, || connect("10.9.0.1:8080")).expect("an answer");
    (portolan, said)
}

#[test]
fn without_the_capability_portolan_carries_the_port_itself_and_says_so() {
    let engine = start("nftables");
    let (portolan, said) = without_the_capability(&engine);
    assert!(said.starts_with("web-"), "{said}");
    let fault = portolan.await_fault("web-1");
    assert_eq!(fault.label, "portolan.publish.datapath");
    assert_shown_in_user_space(&engine);
}

#[test]
fn where_it_was_only_preferred_it_is_no_fault_that_the_host_can_not_do_it() {
    let engine = Engine::start();
    engine.run(&Container::new("web").label("portolan.publish", "8080:80"));
    let portolan = Portolan::start(&engine, &["--data-path", "auto"]);
    portolan.await_state("web", "ready");
    eventually(PATIENCE, "a reason", || match travels(&portolan) {
        (by, why) if by == "userspace" && why.contains("DOCKER-USER") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(portolan.faults().is_empty(), "{:?}", portolan.faults());
}

#[test]
fn endpoints_of_a_transparent_port_see_the_clients_own_address() {
    let engine = start("transparent");
    let sandbox = engine.sandbox();
    let rules = || sandbox.shell("ip rule; ip route show table all; nft list tables");
    let before = rules();
    let mut portolan = Portolan::start(&engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    await_path(&portolan, "transparent");
    // From outside, by TCP and UDP.
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..10 {
        let (mut stream, said) = sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")).expect("an answer");
        assert_eq!(say(&mut stream).expect("another answer"), said);
        *counts.entry(said).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from(["web-1", "web-2"].map(|name| (format!("{name} {OUTSIDE_IP}"), 5))));
    let client = sandbox.in_network(OUTSIDE, || UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    client.connect("10.9.0.1:5353").expect("a destination");
    client.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    assert!(ask(&client).expect("an answer").ends_with(OUTSIDE_IP));
    // Those whose answers would not come back this way are served as ever.
    connect("127.0.0.1:8080").expect("an answer");
    connect(&format!("{HOST}:8080")).expect("an answer");
    engine.in_network_of("web-1", || connect(&format!("{HOST}:8080"))).expect("an answer to a neighbour");

    // Somebody else takes away what it needs: it comes back.
    for harm in ["ip rule del fwmark 0x706f7274", "nft delete table inet portolan-transparent"] {
        sandbox.shell(harm);
        eventually(PATIENCE, &format!("an answer after `{harm}`"), || {
            match sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080")) {
                Ok((_, said)) if said.ends_with(OUTSIDE_IP) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    portolan.terminate();
    portolan.wait_exit(PATIENCE);
    assert_eq!(rules(), before, "nothing is left behind");
}

#[test]
fn without_the_capability_a_transparent_port_shows_portolans_address_and_that_is_said() {
    let engine = start("transparent");
    let (portolan, said) = without_the_capability(&engine);
    assert!(said.starts_with("web-") && !said.ends_with(OUTSIDE_IP), "{said}");
    assert_eq!(portolan.await_fault("web-1").label, "portolan.publish.datapath");
    assert_shown_in_user_space(&engine);
}

#[test]
fn the_kernel_carries_established_connections_and_portolan_counts_them() {
    let engine = start("sockmap");
    let portolan = Portolan::start(&engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    await_path(&portolan, "sockmap");
    let (mut stream, said) = connect("127.0.0.1:8080").expect("an answer");
    for _ in 0..50 {
        assert_eq!(say(&mut stream).expect("another answer"), said);
    }
    // Half of a close arrives, and the rest of it comes back.
    stream.get_ref().shutdown(std::net::Shutdown::Write).expect("an end");
    assert_eq!(stream.read_line(&mut String::new()).expect("the endpoint's end"), 0);
    for (selector, least) in [
        ("portolan_datapath_connections_total{entrypoint=\"8080/tcp\"}", 1.0),
        ("portolan_entrypoint_received_bytes_total{entrypoint=\"8080/tcp\"}", 51.0 * 6.0),
        ("portolan_entrypoint_sent_bytes_total{entrypoint=\"8080/tcp\"}", 51.0 * 6.0),
    ] {
        eventually(PATIENCE, selector, || match portolan.metric(selector) {
            counted if counted >= least => Ok(()),
            counted => Err(counted.to_string()),
        });
    }
    // Datagrams can't go this way.
    assert!(portolan.await_fault("web-1").message.contains("only connections of TCP"));
}

#[test]
fn without_the_capabilities_established_connections_stay_in_user_space() {
    let engine = start("sockmap");
    let portolan = Portolan::start_without("net_admin,-sys_admin", &engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    let why = why_in_user_space(&portolan);
    assert!(why.contains("BPF and NET_ADMIN"), "{why}");
    let (mut stream, said) = connect("127.0.0.1:8080").expect("an answer");
    assert_eq!(say(&mut stream).expect("another answer"), said);
    assert_shown_in_user_space(&engine);
}
