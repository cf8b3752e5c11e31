//! A container that was told to stop gets nothing new from that moment, and finishes what it has begun.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, NGINX, PATIENCE, Portolan, await_addresses, await_http, eventually,
    http,
};

/// nginx that goes on for as long as the file `/busy` is there, whatever signal is sent.
fn slow(name: &str) -> Container {
    Container::new(name)
        .label("portolan.service", "web")
        .label("portolan.publish", "8080:80")
        .option("--stop-timeout=60")
        .script("touch /busy; trap 'stop=1' QUIT; nginx & while [ -z \"$stop\" ] || [ -f /busy ]; do usleep 10000; done")
}

#[test]
fn a_container_drains_from_the_stop_signal_on() {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        engine.run(&slow(name));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    let stays = portolan.await_state("web-1", "ready");
    portolan.await_state("web-2", "ready");
    // Each has a request in progress: half of one.
    let mut begun = Vec::new();
    for _ in 0..2 {
        let mut connection = eventually(PATIENCE, "the entry point", || http::Connection::open(ENTRY_POINT));
        connection
            .send("POST /body HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab")
            .expect("half a request is sent");
        begun.push(connection);
    }
    eventually(PATIENCE, "both to have a request in progress", || {
        let count =
            |name| portolan.metric(&format!("portolan_endpoint_requests_total{{endpoint=\"{name}\"}}"));
        match (count("web-1"), count("web-2")) {
            (1.0.., 1.0..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    std::thread::scope(|scope| {
        let stop = scope.spawn(|| engine.try_docker(&["stop", "web-2"]));
        let draining = portolan.await_state("web-2", "draining");
        assert_eq!(draining.reason, "kill signal 3", "SIGQUIT, which the image asks for");
        // It would answer; it is not asked.
        for _ in 0..20 {
            assert_eq!(http::get(ENTRY_POINT, "web", "/").expect("an answer").text(), "web-1\n");
            assert_eq!(http::get("127.0.0.1:8080", "any", "/").expect("an answer").text(), "web-1\n");
        }
        await_addresses("web", &[&stays.ipv4]);
        let mut servers = Vec::new();
        for connection in &mut begun {
            connection.send("cd").expect("the other half is sent");
            let answer = connection.read().expect("an answer");
            assert_eq!(answer.status, 200);
            servers.extend(answer.text().lines().last().map(str::to_owned));
        }
        servers.sort();
        assert_eq!(
            servers,
            ["server: web-1", "server: web-2"],
            "what was begun is finished where it was begun"
        );
        assert_eq!(portolan.await_state("web-2", "draining").reason, "kill signal 3");
        engine.exec("web-2", &["rm", "/busy"]);
        stop.join().expect("no panic").expect("it stops");
    });
    portolan.await_state("web-2", "stopped");
}

/// Killing it takes the engine three seconds; not one request waits for that.
#[test]
fn requests_do_not_wait_for_a_container_that_ignores_its_stop_signal() {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        engine.run(&slow(name).option("--stop-timeout=1"));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    portolan.await_state("web-2", "ready");
    await_http("web", 200);
    let load = Load::start(&format!("http://{ENTRY_POINT}/"), "web", 2);
    engine.docker(&["stop", "web-2"]);
    assert_eq!(portolan.await_state("web-2", "stopped").reason, "exited (137)");
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{}", report.text);
    assert!(report.requests > 100, "{}", report.text);
}

#[test]
fn other_signals_mean_nothing() {
    let engine = Engine::start();
    engine.run(&Container::new("web").script("trap '' HUP; nginx"));
    engine.run(&Container::new("term").image(NGINX).script("trap 'touch /told' TERM; nginx & wait; wait"));
    let portolan = Portolan::start(&engine, &[]);
    portolan.await_state("web", "ready");
    portolan.await_state("term", "ready");
    engine.serving("term", "bridge");
    engine.docker(&["kill", "--signal=HUP", "web"]);
    // This image stops by SIGQUIT, so that SIGTERM is like any other signal.
    engine.docker(&["kill", "--signal=TERM", "term"]);
    // Events come in order: whoever knows of this one has heeded those before.
    engine.docker(&["create", "--name=marker", NGINX]);
    portolan.await_state("marker", "stopped");
    for name in ["web", "term"] {
        let endpoint = portolan.endpoint(name).expect("it is known");
        assert_eq!((endpoint.state.as_str(), endpoint.reason.as_str()), ("ready", "running"), "{name}");
    }
}
