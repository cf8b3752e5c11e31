//! Services of TCP routers that say something of their connections: that the kernel is to carry them, how many there may be,
//! how long they may be idle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::harness::{PATIENCE, Portolan, Sandbox, eventually};

const FILE: &str = "/etc/dynamic.yml";
const FLAGS: &str = "--source demo --file /etc/dynamic.yml --dns-address off --access-log /run/access.log \
                     --access-log-format json --entryPoints.db.address=:9001 --entryPoints.few.address=:9002";

/// Answers each `ping` with `pong`, and says `bye.` when the client has ended.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:7001").expect("a socket");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut word = [0; 4];
                while client.read_exact(&mut word).is_ok() {
                    if client.write_all(b"pong").is_err() {
                        return;
                    }
                }
                let _ = client.write_all(b"bye.");
            });
        }
    });
}

fn start(sandbox: &Sandbox, options: &str) {
    sandbox.write(
        FILE,
        &format!(
            "
tcp:
  routers:
    db: {{entryPoints: [db], rule: HostSNI(`*`), service: db}}
    ended: {{entryPoints: [db], rule: HostSNI(`ended.test`), service: ended, tls: {{}}}}
    few: {{entryPoints: [few], rule: HostSNI(`*`), service: few}}
  services:
    db: {{loadBalancer: {{servers: [{{address: '127.0.0.1:7001'}}], dataPath: sockmap}}}}
    ended: {{loadBalancer: {{servers: [{{address: '127.0.0.1:7001'}}], dataPath: auto}}}}
    few: {{loadBalancer: {{servers: [{{address: '127.0.0.1:7001'}}], {options}}}}}
"
        ),
    );
}

fn connect(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("an entry point");
    client.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    client
}

/// Whether it is answered.
fn ping(mut client: &TcpStream) -> Result<(), String> {
    let mut answer = [0; 4];
    client.write_all(b"ping").map_err(|error| error.to_string())?;
    client.read_exact(&mut answer).map_err(|error| error.to_string())?;
    if &answer == b"pong" { Ok(()) } else { Err(format!("{answer:?}")) }
}

fn shown(sandbox: &Sandbox) -> String {
    let output = sandbox.command(Portolan::binary()).arg("ps").output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn await_shown(sandbox: &Sandbox, line: &str) {
    eventually(PATIENCE, line, || match shown(sandbox) {
        text if text.contains(line) => Ok(()),
        text => Err(text),
    });
}

/// Talks to the database, and ends one side before the other.
fn talk() {
    let mut client = connect(9001);
    // TLS is taken there as well: who it is for is known by what is said first.
    for _ in 0..50 {
        ping(&client).expect("an answer");
    }
    client.shutdown(Shutdown::Write).expect("a connection");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("the server's last words");
    assert_eq!(rest, b"bye.");
}

#[test]
fn the_kernel_carries_connections_of_tcp_routers_and_they_are_counted_and_logged_all_the_same() {
    let sandbox = Sandbox::enter();
    serve();
    start(&sandbox, "maxConnections: 9");
    let portolan = Portolan::start(None, &FLAGS.split_whitespace().collect::<Vec<_>>());
    await_shown(&sandbox, "tcp service db@file, by sockmap\n");
    await_shown(
        &sandbox,
        "tcp service ended@file, by userspace: connections whose TLS ends here (ended@file)\n",
    );
    talk();
    let line = eventually(PATIENCE, "the line", || {
        let text = std::fs::read_to_string(sandbox.path("/run/access.log")).unwrap_or_default();
        text.lines().find(|line| line.contains("\"RouterName\":\"db@file\"")).map(str::to_owned).ok_or(text)
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("an object");
    assert_eq!(
        (&line["Reason"], &line["RequestContentSize"], &line["DownstreamContentSize"]),
        (&"done".into(), &200.into(), &204.into())
    );
    for (selector, expected) in [
        ("portolan_datapath_connections_total{entrypoint=\"db\"}", 1.0),
        ("portolan_service_received_bytes_total{service=\"db@file/tcp\"}", 200.0),
        ("portolan_service_sent_bytes_total{service=\"db@file/tcp\"}", 204.0),
    ] {
        let counted = portolan.metric(selector);
        assert!((counted - expected).abs() < 0.5, "{selector}: {counted}");
    }
    assert!(portolan.faults().is_empty(), "{:?}", portolan.faults());
}

#[test]
fn without_the_capabilities_connections_of_tcp_routers_stay_in_user_space_and_ps_says_why() {
    let sandbox = Sandbox::enter();
    serve();
    start(&sandbox, "maxConnections: 9");
    let flags: Vec<&str> = FLAGS.split_whitespace().collect();
    let portolan = Portolan::start_without("net_admin,-sys_admin", None, &flags);
    await_shown(
        &sandbox,
        "tcp service db@file, by userspace: Portolan has not the capabilities BPF and NET_ADMIN here",
    );
    talk();
    // Only what was asked for by name is a fault.
    let faults = portolan.faults();
    assert!(faults.iter().any(|fault| fault.origin == "service db@file"), "{faults:?}");
    assert!(!faults.iter().any(|fault| fault.origin.contains("ended")), "{faults:?}");
}

#[test]
fn a_service_has_limits_of_its_own_that_follow_the_file() {
    let sandbox = Sandbox::enter();
    serve();
    start(&sandbox, "maxConnections: 2");
    let portolan = Portolan::start(None, &FLAGS.split_whitespace().collect::<Vec<_>>());
    let refused = |reason: &str| {
        portolan.metric(&format!("portolan_refusals_total{{entrypoint=\"few\",reason=\"{reason}\"}}"))
    };
    let held = [connect(9002), connect(9002)];
    for client in &held {
        ping(client).expect("there is room");
    }
    assert!(ping(&connect(9002)).is_err(), "there is no room for a third");
    eventually(PATIENCE, "the reason", || match refused("connection_limit") {
        counted if counted >= 1.0 => Ok(()),
        counted => Err(counted),
    });
    // Another limit is followed at once, and those who are there stay.
    start(&sandbox, "maxConnectionsPerEndpoint: 3, idleTimeout: 2s");
    let third = eventually(PATIENCE, "room for a third", || {
        let client = connect(9002);
        ping(&client).map(|()| client)
    });
    assert!(third.peer_addr().is_ok());
    eventually(PATIENCE, "what is idle to be ended", || {
        let ended = portolan
            .metric("portolan_entrypoint_connections_ended_total{entrypoint=\"few\",reason=\"idle\"}");
        if ended >= 1.0 { Ok(()) } else { Err(ended) }
    });
}
