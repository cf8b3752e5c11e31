//! Memory: what many clients take at once goes back to the system when they wait.

use crate::harness::{Container, ENTRY_POINT, Engine, PATIENCE, Portolan, await_http, eventually, http};

const CLIENTS: usize = 400;

/// KiB that a process wrote to and shares with nobody.
fn private_kib(pid: u32) -> usize {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).expect("a process that runs");
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("what is private");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn what_a_rush_of_clients_took_goes_back_when_they_wait() {
    let engine = Engine::start();
    engine.run(&Container::new("web"));
    engine.serving("web", "bridge");
    let portolan = Portolan::start(&engine, &["--workers", "1"]);
    await_http("web", 200);
    let before = private_kib(portolan.pid());

    // The head of each is half there: it is kept where it was read to.
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|_| http::Connection::open(ENTRY_POINT).expect("a connection")).collect();
    for client in &mut clients {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: web\r\nX-Long: {}", "x".repeat(6000)))
            .expect("half a head");
    }
    let at_once = eventually(PATIENCE, "all halves are read", || {
        let grown = private_kib(portolan.pid()).saturating_sub(before);
        if grown >= CLIENTS * 6 { Ok(grown) } else { Err(format!("{grown} KiB")) }
    });
    for client in &mut clients {
        client.send("\r\n\r\n").expect("the other half");
        assert_eq!(client.read().expect("an answer").status, 200);
    }
    eventually(PATIENCE, "next to nothing is kept of clients that wait", || {
        let grown = private_kib(portolan.pid()).saturating_sub(before);
        if grown <= at_once / 4 { Ok(()) } else { Err(format!("{grown} KiB of {at_once}")) }
    });
    // They are still there, and are served.
    let last = clients.last_mut().expect("a client");
    assert_eq!(last.get("web", "/").expect("an answer").status, 200);
}
