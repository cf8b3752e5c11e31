//! A process takes over while clients use a published port that the kernel has a part in: connections go on, new ones
//! never fail, and endpoints see the clients' own addresses again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::process::signal;
use crate::harness::{PATIENCE, Portolan, Signal, eventually};

use super::{LOOKED, OUTSIDE, OUTSIDE_IP, await_path, connect, say, start};

#[test]
fn an_upgrade_loses_no_connection_to_a_transparent_port() {
    loses_no_connection("transparent", PATIENCE);
}

#[test]
fn an_upgrade_loses_no_connection_that_the_kernel_carries() {
    loses_no_connection("nftables", LOOKED);
}

/// Within `soon` after each upgrade, new connections travel by the path again.
fn loses_no_connection(path: &str, soon: Duration) {
    let engine = start(path);
    let sandbox = engine.sandbox();
    if path == "nftables" {
        sandbox.shell("iptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT");
    }
    let portolan = Portolan::start(&engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    await_path(&portolan, path);
    let open = || sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080"));
    let mut held: Vec<_> = (0..10).map(|_| open().expect("an answer")).collect();
    assert!(held.iter().all(|(_, said)| said.ends_with(OUTSIDE_IP)), "by {path}");
    let over = AtomicBool::new(false);
    let mut pid = portolan.pid();
    thread::scope(|scope| {
        let coming = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                open().unwrap_or_else(|error| panic!("after {answered} answers: {error}"));
                answered += 1;
            }
            answered
        });
        for _ in 0..3 {
            pid = portolan.upgrade(pid);
            for (stream, said) in &mut held {
                assert_eq!(&say(stream).expect("it goes on"), said);
            }
            await_path(&portolan, path);
            let said = eventually(soon, "new ones to be seen by their own address", || match open() {
                Ok((_, said)) if said.ends_with(OUTSIDE_IP) => Ok(said),
                other => Err(format!("{other:?}")),
            });
            assert!(said.starts_with("web-"), "{said}");
        }
        over.store(true, Ordering::Relaxed);
        let answered = coming.join().expect("no connection fails");
        assert!(answered > 10, "only {answered} connections");
    });
    for (stream, said) in &mut held {
        assert_eq!(&say(stream).expect("it goes on"), said);
    }
    signal(pid, Signal::TERM);
}
