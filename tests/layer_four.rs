//! What is told of connections and datagrams once they are over: a line each, how long they lasted, and why they ended;
//! and how many there may be.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

use crate::harness::{Container, Engine, PATIENCE, Portolan, Sandbox, eventually};

const ROUTES: &str = "
tcp:
  routers:
    db: {entryPoints: [db], rule: HostSNI(`*`), service: db}
    down: {entryPoints: [down], rule: HostSNI(`*`), service: down}
  services:
    db: {loadBalancer: {servers: [{address: '127.0.0.1:7001'}]}}
    down: {loadBalancer: {servers: [{address: '127.0.0.1:7002'}]}}
udp:
  routers:
    game: {entryPoints: [game], service: game}
  services:
    game: {loadBalancer: {servers: [{address: '127.0.0.1:7003'}]}}
";

/// Answers `ping` with `pong!`, and breaks off whoever says anything else.
fn serve_tcp() {
    let listener = TcpListener::bind("127.0.0.1:7001").expect("a socket");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut word = [0; 4];
            while client.read_exact(&mut word).is_ok() {
                if &word != b"ping" {
                    // Closed so, it is reset.
                    let _ = set_socket_linger(&client, Some(Duration::ZERO));
                    break;
                }
                let _ = client.write_all(b"pong!");
            }
        }
    });
}

fn serve_udp() {
    let socket = UdpSocket::bind("127.0.0.1:7003").expect("a socket");
    thread::spawn(move || {
        let mut datagram = [0; 100];
        while let Ok((_, client)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(b"pong!", client);
        }
    });
}

fn connect(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("an entry point");
    client.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    client
}

/// The line of this entry point that says this of its end.
fn line(sandbox: &Sandbox, entry_point: &str, reason: &str) -> Value {
    eventually(PATIENCE, "the line", || {
        let text = fs::read_to_string(sandbox.path("/run/access.log")).unwrap_or_default();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
        lines
            .find(|line| line["entryPointName"] == entry_point && line["Reason"] == reason)
            .ok_or_else(|| format!("no {reason} of {entry_point}: {text}"))
    })
}

#[test]
fn a_connection_that_ended_has_a_line_and_is_counted_with_why() {
    let sandbox = Sandbox::enter();
    serve_tcp();
    serve_udp();
    sandbox.write("/etc/dynamic.yml", ROUTES);
    let flags = "--source demo --file /etc/dynamic.yml --dns-address off --entryPoints.db.address=:9001 \
                 --entryPoints.down.address=:9002 --entryPoints.game.address=:9003/udp \
                 --entryPoints.game.udp.timeout=1s --access-log /run/access.log --access-log-format json";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let portolan = Portolan::start(None, &flags);

    let mut answer = [0; 5];
    let mut client = connect(9001);
    client.write_all(b"ping").expect("it reads");
    client.read_exact(&mut answer).expect("an answer");
    client.shutdown(Shutdown::Both).expect("a connection");
    let done = line(&sandbox, "db", "done");
    assert_eq!((&done["RequestContentSize"], &done["DownstreamContentSize"]), (&4.into(), &5.into()));
    for (field, expected) in [
        ("RouterName", "db@file"),
        ("ServiceName", "db@file"),
        ("ServiceURL", "tcp://127.0.0.1:7001"),
        ("RequestProtocol", "TCP"),
        ("ClientHost", "127.0.0.1"),
    ] {
        assert_eq!(done[field], expected, "{field} of {done}");
    }
    assert_eq!(done["DownstreamStatus"], 200);

    let mut client = connect(9001);
    client.write_all(b"quit").expect("it reads");
    assert!(client.read(&mut answer).is_err(), "a reset is passed on");
    assert_eq!(line(&sandbox, "db", "endpoint_reset")["DownstreamStatus"], 502);

    // One that reads nothing and goes is the client's doing.
    let client = connect(9001);
    set_socket_linger(&client, Some(Duration::ZERO)).expect("a socket");
    (&client).write_all(b"pi").expect("it reads");
    eventually(PATIENCE, "the connection to be passed on", || {
        let open = portolan.metric("portolan_service_connections_open{service=\"db@file/tcp\"}");
        if open >= 1.0 { Ok(()) } else { Err(open) }
    });
    drop(client);
    assert_eq!(line(&sandbox, "db", "client_reset")["DownstreamStatus"], 499);

    drop(connect(9002).read(&mut answer));
    let refused = line(&sandbox, "down", "connect_refused");
    assert_eq!((&refused["ServiceName"], &refused["EndpointName"]), (&"down@file".into(), &Value::Null));

    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.send_to(b"ping", "127.0.0.1:9003").expect("it is sent");
    client.recv(&mut answer).expect("an answer");
    let idle = line(&sandbox, "game", "idle");
    assert_eq!((&idle["RouterName"], &idle["RequestProtocol"]), (&"game@file".into(), &"UDP".into()));
    assert_eq!((&idle["RequestContentSize"], &idle["DownstreamContentSize"]), (&4.into(), &5.into()));

    for (selector, expected) in [
        (
            "portolan_entrypoint_connections_ended_total{entrypoint=\"db\",protocol=\"tcp\",reason=\"done\"}",
            1.0,
        ),
        (
            "portolan_service_connections_ended_total{protocol=\"tcp\",reason=\"endpoint_reset\",service=\"db@file/tcp\"}",
            1.0,
        ),
        (
            "portolan_entrypoint_connections_ended_total{entrypoint=\"down\",protocol=\"tcp\",reason=\"connect_refused\"}",
            1.0,
        ),
        ("portolan_entrypoint_connection_duration_seconds_count{entrypoint=\"db\",protocol=\"tcp\"}", 3.0),
        (
            "portolan_service_connection_duration_seconds_count{protocol=\"udp\",service=\"game@file/udp\"}",
            1.0,
        ),
    ] {
        assert!((portolan.metric(selector) - expected).abs() < 0.5, "{selector}\n{}", portolan.metrics());
    }
}

/// Opens connections until one is refused, and gives those that a replica has.
fn fill(portolan: &Portolan, port: u16, service: &str, refused: &str) -> Vec<TcpStream> {
    let passed = format!("portolan_endpoint_connections_total{{service=\"{service}:80/tcp@docker\"}}");
    let mut open = Vec::new();
    while open.len() < 10 {
        let before = (portolan.metric(&passed), portolan.metric(refused));
        let client = connect(port);
        let stays = eventually(PATIENCE, "the connection to be passed on, or refused", || {
            let now = (portolan.metric(&passed), portolan.metric(refused));
            if now == before { Err(format!("{now:?}")) } else { Ok(now.0 > before.0) }
        });
        if !stays {
            // An end, or a reset where it was closed before it was read.
            assert!(!matches!((&client).read(&mut [0]), Ok(1)));
            return open;
        }
        open.push(client);
    }
    panic!("there is no limit at {port}");
}

#[test]
fn a_published_port_takes_as_many_connections_as_its_labels_say_and_for_as_long() {
    let engine = Engine::start();
    let container = |name: &str, service: &str, ports: &str| {
        Container::new(name).label("portolan.service", service).label("portolan.publish", ports)
    };
    for name in ["each-1", "each-2"] {
        let each =
            container(name, "each", "8081:80").label("portolan.publish.maxconnectionsperendpoint", "1");
        engine.run(&each);
    }
    engine.run(&container("all", "all", "8082:80").label("portolan.publish.maxconnections", "3"));
    engine.run(&container("one", "one", "8083:80").label("portolan.publish.maxconnectionsperclient", "2"));
    engine.run(&container("idle", "idle", "8084:80").label("portolan.publish.idletimeout", "1s"));
    let portolan = Portolan::start(&engine, &[]);
    // Each is asked something and answered: a connection that waits to be accepted would be counted later.
    eventually(PATIENCE, "the ports to be served", || {
        [8081, 8082, 8083, 8084].iter().try_for_each(|port| {
            let mut client = TcpStream::connect(("127.0.0.1", *port))?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            match client.read_to_end(&mut Vec::new())? {
                0 => Err(std::io::Error::other(format!("{port} does not answer"))),
                _ => Ok(()),
            }
        })
    });
    for (port, service, most, reason) in [
        (8081, "each", 2, "endpoint_limit"),
        (8082, "all", 3, "connection_limit"),
        (8083, "one", 2, "client_connection_limit"),
    ] {
        let refused = format!("portolan_refusals_total{{entrypoint=\"{port}/tcp\",reason=\"{reason}\"}}");
        // Those from before are on their way out.
        eventually(PATIENCE, "nobody to be connected", || {
            let open = portolan
                .metric(&format!("portolan_entrypoint_connections_open{{entrypoint=\"{port}/tcp\"}}"));
            if open < 0.5 { Ok(()) } else { Err(open) }
        });
        let open = fill(&portolan, port, service, &refused);
        assert_eq!(open.len(), most, "{reason}");
        // A place that was left can be taken.
        drop(open);
        eventually(PATIENCE, "a free place", || {
            let client = connect(port);
            (&client).write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
            match (&client).read(&mut [0]) {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    let client = connect(8084);
    assert_eq!((&client).read(&mut [0]).expect("an end, and no reset"), 0);
    eventually(PATIENCE, "the reason to be counted", || {
        // By whether anything was passed on yet when it was over.
        let ended = ["idle", "client_idle"].map(|reason| {
            portolan.metric(&format!(
                "portolan_entrypoint_connections_ended_total{{entrypoint=\"8084/tcp\",reason=\"{reason}\"}}"
            ))
        });
        if ended.iter().sum::<f64>() >= 1.0 { Ok(()) } else { Err(format!("{ended:?}")) }
    });
}
