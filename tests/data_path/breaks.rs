//! Much at a time by each data path: it arrives whole, one side may end before the other, and a break is a break.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::net::sockopt::set_socket_linger;

use super::*;
use crate::harness::bulk::{self, BLOCK, receive, send};

/// The ports, each with the data path it goes by.
const PORTS: [(u16, &str); 3] = [(8081, "userspace"), (8082, "sockmap"), (8083, "nftables")];
/// What is sent until something breaks: more than fits between the two.
const HALF: usize = 512;
/// Much takes its time on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A replica for each data path, whose port 7 does as it is told by the first four bytes of a connection. What it sees of
/// breaks it tells.
fn serve(engine: &Engine) -> Receiver<Option<ErrorKind>> {
    let (tell, told) = channel();
    for (port, path) in PORTS {
        let container = Container::new(path)
            .label("portolan.publish", &format!("{port}:7"))
            .label("portolan.publish.datapath", path);
        engine.run(&container);
        let bind = || TcpListener::bind("0.0.0.0:7").expect("a socket in the container");
        let listener = engine.in_network_of(path, bind);
        let tell = tell.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || obey(client, &tell));
            }
        });
    }
    told
}

fn obey(mut client: TcpStream, tell: &Sender<Option<ErrorKind>>) {
    let mut word = [0; 4];
    if client.read_exact(&mut word).is_err() {
        return;
    }
    match &word {
        b"swap" => {
            let (hash, _) = receive(&client);
            client.write_all(&hash.to_le_bytes()).expect("it is taken");
            send(&client, 2, bulk::blocks());
        }
        b"fail" => {
            let _ = client.write_all(&vec![7; HALF * 1024]);
            let _ = set_socket_linger(&client, Some(Duration::ZERO));
        }
        b"hear" => {
            let mut room = vec![0; BLOCK];
            let end = loop {
                match client.read(&mut room) {
                    Ok(0) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error.kind()),
                }
            };
            let _ = tell.send(end);
        }
        // Closed with something unread, as by the kernel for one that was killed.
        b"dies" => client.read_exact(&mut vec![0; HALF * 1024]).expect("the client sends"),
        other => panic!("{other:?}"),
    }
}

fn ask(sandbox: &Sandbox, port: u16, word: &str) -> TcpStream {
    let to = format!("{HOST}:{port}");
    let mut client = sandbox
        .in_network(OUTSIDE, || TcpStream::connect_timeout(&to.parse().expect("an address"), LONG))
        .expect("a published port");
    client.set_read_timeout(Some(LONG)).expect("a deadline");
    client.set_write_timeout(Some(LONG)).expect("a deadline");
    client.write_all(word.as_bytes()).expect("it is taken");
    client
}

/// Reads until that is over; how much there was, and why it ended.
fn to_the_end(client: &mut TcpStream) -> (usize, Option<ErrorKind>) {
    let (mut room, mut count) = (vec![0; BLOCK], 0);
    loop {
        match client.read(&mut room) {
            Ok(0) => return (count, None),
            Ok(more) => count += more,
            Err(error) => return (count, Some(error.kind())),
        }
    }
}

#[test]
fn much_arrives_whole_by_each_data_path_and_a_break_in_the_middle_is_seen_as_one() {
    let engine = Engine::start();
    let told = serve(&engine);
    let sandbox = engine.sandbox();
    add_outside(sandbox);
    sandbox.shell("iptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT");
    let portolan = Portolan::start(&engine, &[]);
    for (port, path) in PORTS {
        portolan.await_state(path, "ready");
        eventually(LOOKED, &format!("{port} to travel by {path}"), || match way(&portolan, port) {
            by if by == path => Ok(()),
            other => Err(other),
        });
        // The server says nothing before the client has ended its side.
        let mut client = ask(sandbox, port, "swap");
        let sent = send(&client, 1, bulk::blocks());
        client.shutdown(Shutdown::Write).expect("a connection");
        let mut heard = [0; 8];
        client.read_exact(&mut heard).expect("what the server has heard");
        assert_eq!(u64::from_le_bytes(heard), sent, "to the server by {path}");
        let (hash, bytes) = receive(&client);
        assert_eq!((hash, bytes), (bulk::hash(2, bulk::blocks()), bulk::blocks() * BLOCK), "back by {path}");

        // The endpoint breaks off in the middle of what it says.
        let (count, end) = to_the_end(&mut ask(sandbox, port, "fail"));
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "after {count} bytes by {path}");
        assert!(count <= HALF * 1024);

        // The client breaks off in the middle of what it says.
        let mut client = ask(sandbox, port, "hear");
        client.write_all(&vec![7; HALF * 1024]).expect("it is taken");
        set_socket_linger(&client, Some(Duration::ZERO)).expect("a socket");
        drop(client);
        let end = told.recv_timeout(LONG).expect("the endpoint hears of it");
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "by {path}");

        // The endpoint dies in the middle of what the client says.
        let mut client = ask(sandbox, port, "dies");
        let block = vec![7; BLOCK];
        let error =
            (0..100_000).find_map(|_| client.write_all(&block).err()).expect("nobody takes that much");
        assert!(
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{error} by {path}"
        );
    }
    // Whose packets nobody answers any more: the kernel forgets the way, and the client hears of it.
    let mut client = ask(sandbox, 8083, "hear");
    engine.docker(&["kill", "nftables"]);
    portolan.await_state("nftables", "stopped");
    let error = eventually(LONG, "the client to hear of it", || {
        client.write_all(b"x").err().ok_or("it is taken").or_else(|still| {
            let (_, end) = read_now(&mut client);
            end.map(std::io::Error::from).ok_or(still)
        })
    });
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    for (port, path) in &PORTS[..2] {
        // Where the kernel was sending to an endpoint that died, it may say no more than that the way is over.
        let broken = if *path == "sockmap" { 1.0 } else { 2.0 };
        for (reason, least) in [("done", 1.0), ("client_reset", 1.0), ("endpoint_reset", broken)] {
            let selector = format!(
                "portolan_entrypoint_connections_ended_total{{entrypoint=\"{port}/tcp\",reason=\"{reason}\"}}"
            );
            eventually(LONG, &selector, || match portolan.metric(&selector) {
                counted if counted >= least => Ok(()),
                counted => Err(counted),
            });
        }
    }
}

/// What there is to read already.
fn read_now(client: &mut TcpStream) -> (usize, Option<ErrorKind>) {
    client.set_read_timeout(Some(Duration::from_millis(10))).expect("a deadline");
    match client.read(&mut [0; 16]) {
        Ok(count) => (count, None),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => (0, None),
        Err(error) => (0, Some(error.kind())),
    }
}

/// How the bytes of a published port travel.
fn way(portolan: &Portolan, port: u16) -> String {
    let snapshot = portolan.snapshot();
    let publications = snapshot["publications"].as_array().cloned().unwrap_or_default();
    let found = publications.into_iter().find(|publication| publication["hostPort"] == port);
    found.map_or_else(String::new, |found| found["dataPath"]["path"].as_str().unwrap_or_default().to_owned())
}
