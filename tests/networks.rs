//! Which of a container's addresses is used: networks by label and by flag, the host's, another container's, IPv6.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use crate::harness::dns::{RecordType, ResponseCode};
use crate::harness::{
    Container, Engine, FakeEngine, PATIENCE, Portolan, Recording, await_addresses, await_http, eventually,
    http, resolve,
};

/// `web` on the networks `one` and `two`.
fn on_two_networks(web: Container) -> Engine {
    let engine = Engine::start();
    engine.network("one");
    engine.network("two");
    engine.run(&web.network("one"));
    engine.docker(&["network", "connect", "two", "web"]);
    engine
}

#[test]
fn a_label_chooses_the_network() {
    let engine = on_two_networks(Container::new("web").label("traefik.docker.network", "two"));
    let portolan = Portolan::start(&engine, &["--docker-network=one"]);
    let endpoint = portolan.await_state("web", "ready");
    assert_eq!(endpoint.ipv4, engine.address("web", "two").to_string());
    assert_eq!(await_http("web", 200).text(), "web\n");
    await_addresses("tasks.web", &[&endpoint.ipv4]);
    portolan.await_no_fault();

    // It leaves that network; the other will do, and the operator is told.
    engine.docker(&["network", "disconnect", "two", "web"]);
    let fault = portolan.await_fault("web");
    assert_eq!(fault.label, "docker.network");
    for part in ["`two`", "one"] {
        assert!(fault.message.contains(part), "{fault:?}");
    }
    assert_eq!(portolan.await_state("web", "ready").ipv4, engine.address("web", "one").to_string());
    assert_eq!(await_http("web", 200).text(), "web\n");
}

#[test]
fn the_operator_chooses_the_network_where_no_label_does() {
    let engine = on_two_networks(Container::new("web"));
    for network in ["one", "two"] {
        let portolan = Portolan::start(&engine, &[&format!("--docker-network={network}")]);
        let endpoint = portolan.await_state("web", "ready");
        assert_eq!(endpoint.ipv4, engine.address("web", network).to_string(), "{network}");
        assert_eq!(await_http("web", 200).text(), "web\n");
    }
}

#[test]
fn a_container_on_the_hosts_network_is_reached_there() {
    let engine = Engine::start();
    // The host's port 80 is the sandbox's own.
    engine.run(&Container::new("web").network("host").label("portolan.publish", "8080:80"));
    let portolan = Portolan::start(&engine, &[]);
    let endpoint = portolan.await_state("web", "ready");
    assert_eq!(endpoint.ipv4, "127.0.0.1");
    assert_eq!(await_http("web", 200).text(), "web\n");
    await_addresses("web", &["127.0.0.1"]);
    let answer = eventually(PATIENCE, "an answer", || http::get("127.0.0.1:8080", "any", "/"));
    assert_eq!(answer.text(), "web\n");
    engine.docker(&["restart", "web"]);
    portolan.await_new_attachment("web", &endpoint.attachment);
    assert_eq!(await_http("web", 200).text(), "web\n");
}

#[test]
fn a_container_in_anothers_network_is_reached_at_the_others_address() {
    let engine = Engine::start();
    engine.network("shop");
    engine.run(
        &Container::new("owner").network("shop").script("trap 'exit 0' QUIT; while :; do usleep 10000; done"),
    );
    engine.run(&Container::new("guest").network("container:owner"));
    let portolan = Portolan::start(&engine, &[]);
    let guest = portolan.await_state("guest", "ready");
    assert_eq!(guest.ipv4, engine.address("owner", "shop").to_string());
    assert_eq!(await_http("guest", 200).text(), "owner\n", "it has the owner's host name");
    await_addresses("guest", &[&guest.ipv4]);
    // The guest is left in a network that nobody is attached to.
    engine.docker(&["stop", "owner"]);
    portolan.await_state("owner", "stopped");
    assert_eq!(portolan.await_state("guest", "starting").reason, "no address on any network");
    await_http("guest", 503);
}

#[test]
fn both_families_are_answered_for_and_served() {
    let engine = Engine::start();
    engine.network6("both", "fd00:5::/64");
    engine.run(&Container::new("web").network("both").label("portolan.publish", "8080:80"));
    let portolan =
        Portolan::start(&engine, &["--entry-point=web=[::1]:8000", "--entry-point=four=127.0.0.1:8000"]);
    let endpoint = portolan.await_state("web", "ready");
    assert_eq!(endpoint.ipv6, engine.address6("web", "both").to_string());
    await_addresses("web", &[&endpoint.ipv4]);
    assert_eq!(resolve("web", RecordType::AAAA), (ResponseCode::NoError, vec![endpoint.ipv6]));
    for address in ["[::1]:8000", "127.0.0.1:8000", "[::1]:8080", "127.0.0.1:8080"] {
        let answer = eventually(PATIENCE, address, || http::get(address, "web", "/"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "web\n"), "{address}");
    }
}

/// Debian's engine gives every container an IPv4 address; newer ones need not, and say so as this one does.
#[test]
fn a_container_without_ipv4_is_reached_by_ipv6() {
    let engine = FakeEngine::start();
    let mut life = Recording::read().of_number(1);
    let endpoint = &mut life.running["NetworkSettings"]["Networks"]["bridge"];
    endpoint["IPAddress"] = "".into();
    endpoint["GlobalIPv6Address"] = "::1".into();
    engine.put(&life.running, &life.listed);
    let listener = TcpListener::bind("[::1]:80").expect("the port is free");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            // The head of a request ends with an empty line.
            lines.find(String::is_empty);
            let _ = (&stream)
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsix\n");
        }
    });

    let portolan = Portolan::start(None, &[]);
    let endpoint = portolan.await_state(&Recording::name(1), "ready");
    assert_eq!((endpoint.ipv4.as_str(), endpoint.ipv6.as_str()), ("", "::1"));
    assert_eq!(await_http("web", 200).text(), "six\n");
    await_addresses("web", &[]);
    assert_eq!(resolve("web", RecordType::AAAA), (ResponseCode::NoError, vec!["::1".to_owned()]));
}
