//! A process takes over while clients use a transparent port: connections go on, new ones never fail, and endpoints see
//! the clients' own addresses again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::process::signal;
use crate::harness::{PATIENCE, Portolan, Signal, eventually};

use super::{OUTSIDE, OUTSIDE_IP, await_path, connect, say, start};

#[test]
fn an_upgrade_loses_no_connection_to_a_transparent_port() {
    let engine = start("transparent");
    let sandbox = engine.sandbox();
    let portolan = Portolan::start(&engine, &[]);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    await_path(&portolan, "transparent");
    let open = || sandbox.in_network(OUTSIDE, || connect("10.9.0.1:8080"));
    let mut held: Vec<_> = (0..10).map(|_| open().expect("an answer")).collect();
    assert!(held.iter().all(|(_, said)| said.ends_with(OUTSIDE_IP)), "by their own address");
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
            await_path(&portolan, "transparent");
            eventually(PATIENCE, "new ones to be seen by their own address", || match open() {
                Ok((_, said)) if said.ends_with(OUTSIDE_IP) => Ok(()),
                other => Err(format!("{other:?}")),
            });
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
