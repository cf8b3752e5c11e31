//! A container that was told to stop gets nothing new from that moment, and finishes what it has begun.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, NGINX, PATIENCE, Portolan, Signal, await_addresses, await_http,
    eventually, http,
};

/// nginx that goes on for as long as the file `/busy` is there, whatever signal is sent.
fn slow(name: &str) -> Container {
    Container::new(name)
        .label("portolan.service", "web")
        .label("portolan.publish", "8080:80")
        .option("--stop-timeout=60")
        .script("touch /busy; trap 'stop=1' QUIT; nginx & while [ -z \"$stop\" ] || [ -f /busy ]; do usleep 10000; done")
}

/// Has each of `web-1` and `web-2` begin with a request: half of one.
#[track_caller]
fn in_progress(portolan: &Portolan) -> Vec<http::Connection> {
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
    begun
}

/// The second would answer; it is not asked, by host or port.
#[track_caller]
fn assert_only_the_first_is_asked() {
    for _ in 0..20 {
        assert_eq!(http::get(ENTRY_POINT, "web", "/").expect("an answer").text(), "web-1\n");
        assert_eq!(http::get("127.0.0.1:8080", "any", "/").expect("an answer").text(), "web-1\n");
    }
}

/// Sends the other half of each request of [`in_progress`]: both replicas answer what they have begun.
#[track_caller]
fn finish(begun: &mut [http::Connection]) {
    let mut servers = Vec::new();
    for connection in begun {
        connection.send("cd").expect("the other half is sent");
        let answer = connection.read().expect("an answer");
        assert_eq!(answer.status, 200);
        servers.extend(answer.text().lines().last().map(str::to_owned));
    }
    servers.sort();
    assert_eq!(servers, ["server: web-1", "server: web-2"], "what was begun is finished where it was begun");
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
    let mut begun = in_progress(&portolan);

    std::thread::scope(|scope| {
        let stop = scope.spawn(|| engine.try_docker(&["stop", "web-2"]));
        let draining = portolan.await_state("web-2", "draining");
        assert_eq!(draining.reason, "kill signal 3", "SIGQUIT, which the image asks for");
        assert_only_the_first_is_asked();
        await_addresses("web", &[&stays.ipv4]);
        finish(&mut begun);
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

/// Runs a verb on a target: its exit code, and what it said.
fn order(engine: &Engine, verb: &str, target: &str) -> (Option<i32>, String) {
    let mut command = engine.sandbox().command(Portolan::binary());
    let output = command.args([verb, target]).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn an_operator_drains_a_container_and_undrains_it() {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        engine.run(&slow(name));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    let stays = portolan.await_state("web-1", "ready");
    let drained = portolan.await_state("web-2", "ready");
    let mut begun = in_progress(&portolan);

    // It is in place when the command says so, for traffic and names.
    let (code, said) = order(&engine, "drain", "web-2");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("web-2 drains until"), "{said}");
    let shown = portolan.endpoint("web-2").expect("it is known");
    assert_eq!((shown.state.as_str(), shown.reason.as_str()), ("draining", "operator"));
    assert_only_the_first_is_asked();
    await_addresses("web", &[&stays.ipv4]);
    finish(&mut begun);

    // A restart takes nothing back; neither does what else the engine tells.
    engine.exec("web-2", &["rm", "/busy"]);
    engine.docker(&["restart", "web-2"]);
    let restarted = eventually(PATIENCE, "another life of it", || match portolan.endpoint("web-2") {
        Some(endpoint) if endpoint.attachment != drained.attachment && !endpoint.ipv4.is_empty() => {
            Ok(endpoint)
        }
        other => Err(format!("{other:?}")),
    });
    assert_eq!(restarted.reason, "operator", "{restarted:?}");

    let (code, said) = order(&engine, "undrain", &restarted.id);
    assert_eq!(code, Some(0), "{said}");
    let back = portolan.endpoint("web-2").expect("it is known");
    assert_eq!((back.state.as_str(), back.reason.as_str()), ("ready", "running"));
    await_addresses("web", &[&stays.ipv4, &back.ipv4]);

    // The last one may go as well, and it is said what that means.
    assert!(!order(&engine, "drain", "web-1").1.contains("503"));
    let (code, said) = order(&engine, "drain", &back.ipv4);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("web@docker has no endpoint left that serves"), "{said}");
    assert_eq!(http::get(ENTRY_POINT, "web", "/").expect("an answer").status, 503);

    for (target, expected) in [
        ("web", "`web` is a service; choose of its endpoints: they are web-1, web-2"),
        ("gone", "nothing is called `gone`"),
        ("node/gone", "no task runs on a node `gone`"),
    ] {
        let (code, said) = order(&engine, "drain", target);
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_operator_drains_a_node_with_what_starts_there_later() {
    let engine = Engine::start();
    engine.init_swarm();
    let portolan = Portolan::start(&engine, &[]);
    engine.service("web", NGINX, &["--replicas", "2"]);
    let await_all = |count: usize, state: &str| {
        eventually(PATIENCE, &format!("{count} tasks to be {state}"), || {
            let tasks = portolan.endpoints("web@swarm");
            let fit = tasks.len() == count && tasks.iter().all(|task| task.state == state);
            if fit { Ok(tasks) } else { Err(format!("{tasks:?}")) }
        })
    };
    await_all(2, "ready");
    let node = engine.docker(&["info", "--format", "{{.Name}}"]).trim().to_owned();

    assert_eq!(order(&engine, "drain", "web.1").0, Some(0), "a task, as the engine lists it");
    let tasks = portolan.endpoints("web@swarm");
    assert_eq!(tasks.iter().filter(|task| task.reason == "operator").count(), 1, "{tasks:?}");
    assert_eq!(order(&engine, "undrain", "web.1").0, Some(0));

    let (code, said) = order(&engine, "drain", &format!("node/{node}"));
    assert_eq!(code, Some(0), "{said}");
    for task in portolan.endpoints("web@swarm") {
        assert_eq!(task.reason, format!("operator (node {node})"), "{task:?}");
    }
    engine.docker(&["service", "scale", "--detach", "web=3"]);
    await_all(3, "draining");
    assert_eq!(order(&engine, "undrain", &format!("node/{node}")).0, Some(0));
    await_all(3, "ready");
}

const SERVERS: &str = "
http:
  routers:
    own: {rule: Host(`own.test`), service: own}
  services:
    own: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9080'}, {url: 'http://127.0.0.1:9081'}]}}
";

/// A page in a browser on the same machine reaches the admin address as well.
#[test]
fn only_an_operator_drains() {
    let sandbox = crate::harness::Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", SERVERS);
    let portolan = Portolan::start(
        None,
        &[
            "--source",
            "demo",
            "--file=/etc/dynamic.yml",
            "--api.insecure=true",
            "--entryPoints.traefik.address=:8081",
        ],
    );
    portolan.await_state("whoami-1", "ready");
    let ask = |address: &str, method: &str, field: &str| {
        let mut connection = http::Connection::open(address).expect("it is reached");
        connection
            .send(format!("{method} /api/drain?target=whoami-1 HTTP/1.1\r\nHost: {address}\r\n{field}\r\n"))
            .expect("it is asked");
        connection.read().expect("an answer").status
    };
    assert_eq!(ask("127.0.0.1:9080", "GET", ""), 405);
    assert_eq!(ask("127.0.0.1:9080", "POST", "Origin: http://127.0.0.1:9080\r\n"), 403);
    assert_eq!(ask("127.0.0.1:8081", "POST", ""), 404);
    assert_eq!(portolan.endpoint("whoami-1").expect("it is known").state, "ready");
    assert_eq!(ask("127.0.0.1:9080", "POST", ""), 200);
    assert_eq!(portolan.endpoint("whoami-1").expect("it is known").reason, "operator");

    // Servers of files drain as well.
    let drain = |verb: &str, target: &str| {
        let output = sandbox.command(Portolan::binary()).args([verb, target]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        http::get("127.0.0.1:9080", "any", "/api/explain?url=http://own.test/").expect("an answer").text()
    };
    assert_eq!(drain("drain", "http://127.0.0.1:9081").matches("\"operator\"").count(), 1);
    assert_eq!(drain("undrain", "127.0.0.1:9081").matches("\"operator\"").count(), 0);
}

/// An order outlasts the process: on disk, and in the hands of a successor.
#[test]
fn an_order_is_there_for_the_next_process_and_ends_only_when_it_is_taken_back() {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        engine.run(&Container::new(name).label("portolan.service", "web"));
        engine.serving(name, "bridge");
    }
    let flags = ["--state-dir=/run/portolan-state"];
    let mut portolan = Portolan::start(&engine, &flags);
    portolan.await_state("web-1", "ready");
    portolan.await_state("web-2", "ready");
    let run = |arguments: &[&str]| {
        let mut command = engine.sandbox().command(Portolan::binary());
        let output = command.args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    run(&["drain", "web-2", "--reason", "new disk"]);
    let ordered = |portolan: &Portolan| {
        let shown = portolan.await_state("web-2", "draining");
        assert_eq!(shown.reason, "operator: new disk");
        let said = run(&["ps"]);
        assert!(said.contains("drained by order for ") && said.contains("@docker: new disk\n"), "{said}");
        for _ in 0..10 {
            assert_eq!(http::get(ENTRY_POINT, "web", "/").expect("an answer").text(), "web-1\n");
        }
        portolan.snapshot()["orders"][0]["since"].as_f64().expect("a time")
    };
    let since = ordered(&portolan);
    let file = engine.sandbox().path("/run/portolan-state/portolan.state");
    eventually(PATIENCE, "the order to be on disk", || {
        let kept = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        if kept.contains("new disk") { Ok(()) } else { Err(kept) }
    });
    portolan.signal(Signal::KILL);
    portolan.wait_exit(PATIENCE);
    let portolan = Portolan::start(&engine, &flags);
    let same = |found: f64| assert!((found - since).abs() < 0.001, "{found} {since}: it is as old as it is");
    same(ordered(&portolan));
    let pid = portolan.upgrade(portolan.pid());
    same(ordered(&portolan));
    run(&["undrain", "web-2"]);
    portolan.await_state("web-2", "ready");
    assert!(!run(&["ps"]).contains("drained by order"));
    crate::harness::process::signal(pid, Signal::TERM);
}
