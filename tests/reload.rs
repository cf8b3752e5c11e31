//! Settings are read again on SIGHUP: entry points open, close and change, and whoever uses another one notices nothing.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Http2Load, Load, PATIENCE, Portolan, Signal, await_http, eventually,
    http, longer,
};

const OTHER: &str = "127.0.0.1:8001";
const FILE: &str = "/run/portolan.yml";
const RELOADS: usize = 100;

/// `web` is there with a deadline of so many seconds, `other` where it is wanted.
fn settings(idle: usize, other: bool, rest: &str) -> String {
    let other = if other { "  other: {address: \"127.0.0.1:8001\"}\n" } else { "" };
    let timeouts = format!("transport: {{respondingTimeouts: {{idleTimeout: {idle}s}}}}");
    format!("entryPoints:\n  web: {{address: \":8000\", asDefault: true, {timeouts}}}\n{other}{rest}")
}

fn reload(portolan: &mut Portolan) {
    let read = |log: String| log.matches("the settings were read again").count();
    let before = read(portolan.logs());
    portolan.signal(Signal::HUP);
    eventually(PATIENCE, "the settings to be read", || match read(portolan.logs()) {
        now if now > before => Ok(()),
        _ => Err(portolan.logs()),
    });
}

fn start(engine: &Engine) -> Portolan {
    engine.run(
        &Container::new("web")
            .label("traefik.http.routers.web.entrypoints", "web,other")
            .label("traefik.http.routers.web.rule", "Host(`web`)"),
    );
    engine.serving("web", "bridge");
    engine.sandbox().write(FILE, &settings(60, false, ""));
    let portolan = Portolan::start(engine, &["--config-file", FILE]);
    portolan.await_state("web", "ready");
    await_http("web", 200);
    portolan
}

#[test]
fn reloads_under_load_lose_no_request() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    let url = format!("http://{ENTRY_POINT}/");
    let loads = ["keep-alive", "close"].map(|connection| {
        let header = format!("Connection: {connection}");
        Load::start_with(&url, &["--connections", "4", "--header", "Host: web", "--header", &header])
    });
    let http2 = Http2Load::start(ENTRY_POINT, "web");
    for round in 0..RELOADS {
        // `web` changes with each, `other` comes and goes.
        let other = round % 2 == 0;
        engine.sandbox().write(FILE, &settings(60 + round, other, ""));
        reload(&mut portolan);
        eventually(PATIENCE * 12, "requests by these settings", || {
            match portolan.metric("portolan_entrypoint_requests_total{entrypoint=\"web\"}") {
                enough if enough > 150.0 * (round * longer()) as f64 => Ok(()),
                few => Err(few.to_string()),
            }
        });
        // Closing is told to the workers, and done a moment later.
        eventually(PATIENCE, "the other one to follow", || match http::get(OTHER, "web", "/") {
            Ok(answer) if other && answer.status == 200 => Ok(()),
            Err(_) if !other => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }
    let http2 = http2.stop();
    assert_eq!(http2.failures, [""; 0], "of {}", http2.answers);
    let mut requests = http2.answers;
    for load in loads {
        let report = load.stop();
        assert_eq!(report.failures(), 0, "{}", report.text);
        requests += report.requests;
    }
    println!("{requests} requests");
    assert!(requests > 10_000 * longer() as u64, "only {requests} requests: no load to speak of");
}

#[test]
fn a_port_that_becomes_an_entry_point_is_no_label_s_any_more_and_is_again() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    engine.run(&Container::new("published").label("portolan.publish", "8001:80"));
    engine.serving("published", "bridge");
    let answers = |whose: &str| {
        eventually(PATIENCE, &format!("an answer of {whose}"), || match http::get(OTHER, "web", "/") {
            Ok(answer) if answer.text() == format!("{whose}\n") => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    };
    answers("published");
    engine.sandbox().write(FILE, &settings(60, true, ""));
    reload(&mut portolan);
    answers("web");
    assert!(portolan.await_fault("published").message.contains("entry point other"));
    engine.sandbox().write(FILE, &settings(60, false, ""));
    reload(&mut portolan);
    answers("published");
    // The router that asks for that entry point has a fault again.
    eventually(PATIENCE, "the end of the label's fault", || match portolan.faults() {
        faults if faults.iter().all(|fault| fault.origin != "container published") => Ok(()),
        faults => Err(format!("{faults:?}")),
    });
}

#[test]
fn what_can_not_be_done_is_said_and_changes_nothing() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    let mut kept = http::Connection::open(ENTRY_POINT).expect("a connection");
    // Named, and left as it is.
    engine.sandbox().write(FILE, &settings(60, true, "workers: 7\n"));
    reload(&mut portolan);
    assert!(portolan.logs().contains("\"options\":\"workers\""), "{}", portolan.logs());
    assert_eq!(http::get(OTHER, "web", "/").expect("an answer").status, 200);
    assert_eq!(portolan.snapshot()["entryPoints"].as_array().map(Vec::len), Some(2));
    // At fault: all of it stays.
    engine.sandbox().write(FILE, "entryPoints: {web: {adress: \":8000\"}}\n");
    portolan.signal(Signal::HUP);
    eventually(PATIENCE, "the fault to be said", || {
        portolan.logs().contains("nothing changes").then_some(()).ok_or("not yet")
    });
    assert!(portolan.logs().contains("adress"), "{}", portolan.logs());
    assert_eq!(http::get(OTHER, "web", "/").expect("an answer").status, 200);
    // A port that another program has: the others follow.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8002").expect("a free port");
    let text = settings(60, false, "  third: {address: \"127.0.0.1:8002\"}\n");
    engine.sandbox().write(FILE, &text);
    reload(&mut portolan);
    assert!(portolan.logs().contains("entry point third can't listen on 127.0.0.1:8002"));
    eventually(PATIENCE, "it to be closed", || match http::get(OTHER, "web", "/") {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer.status),
    });
    assert_eq!(kept.get("web", "/").expect("an answer").status, 200);
}

/// What Portolan has heard, and how it says it, follows as well, and whoever uses an entry point notices nothing.
#[test]
fn providers_names_and_logs_follow_without_a_restart() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    let write = |rest: &str| engine.sandbox().write(FILE, &settings(60, false, rest));
    let page =
        |host: &str| format!("http:\n  routers: {{page: {{rule: Host(`{host}`), service: web@docker}}}}\n");
    engine.sandbox().write("/etc/first/page.yml", &page("first.test"));
    engine.sandbox().write("/etc/second/page.yml", &page("second.test"));
    let read = |path: &str| std::fs::read_to_string(engine.sandbox().path(path)).unwrap_or_default();
    let load = Load::start(&format!("http://{ENTRY_POINT}/"), "web", 4);

    // A directory of files, then another, then none.
    write("providers: {docker: {}, file: {directory: /etc/first}}\n");
    reload(&mut portolan);
    await_http("first.test", 200);
    write("providers: {docker: {}, file: {directory: /etc/second}}\n");
    reload(&mut portolan);
    await_http("second.test", 200);
    await_http("first.test", 404);
    // How labels are judged: constraints, and the rule of routers without one.
    engine.run(&Container::new("plain").label("team", "a"));
    engine.serving("plain", "bridge");
    await_http("plain", 200);
    write(
        "providers: {docker: {defaultRule: 'Host(`{{ .Name }}.corp`)', constraints: '!Label(`team`,`b`)'}}\n",
    );
    reload(&mut portolan);
    await_http("plain.corp", 200);
    await_http("plain", 404);
    await_http("second.test", 404);
    write("providers: {docker: {constraints: '!Label(`team`,`a`)'}}\n");
    reload(&mut portolan);
    await_http("plain.corp", 404);
    // The engine by another way.
    engine.sandbox().shell("ln -s /run/docker.sock /run/engine.sock");
    write("providers: {docker: {endpoint: 'unix:///run/engine.sock'}}\n");
    reload(&mut portolan);
    engine.run(&Container::new("later"));
    engine.serving("later", "bridge");
    await_http("later", 200);

    // Names: another zone, another address, none at all.
    let name = |at: &str, name: &str| {
        let answer = crate::harness::dns::query(at, name, hickory_proto::rr::RecordType::A);
        answer.map(|answer| crate::harness::dns::answers(&answer)).map_err(|error| error.to_string())
    };
    let address = engine.address("web", "bridge").to_string();
    let await_name = |at: &str, wanted: &str| {
        eventually(PATIENCE, &format!("{wanted} at {at}"), || match name(at, wanted) {
            Ok(found) if found == [address.as_str()] => Ok(()),
            found => Err(format!("{found:?}")),
        });
    };
    await_name("127.0.0.1:1053", "web.portolan.internal.");
    write("dns: {zone: other.internal}\n");
    reload(&mut portolan);
    await_name("127.0.0.1:1053", "web.other.internal.");
    write("dns: {zone: other.internal, address: '127.0.0.1:1054'}\n");
    reload(&mut portolan);
    await_name("127.0.0.1:1054", "web.other.internal.");
    eventually(PATIENCE, "the old address to be closed", || {
        match name("127.0.0.1:1053", "web.other.internal.") {
            Err(_) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });

    // Logs: the access log is opened, changes its form, and ends; Portolan's own goes to a file, and says more.
    write("accessLog: {filePath: /run/access.log, format: json}\nlog: {level: DEBUG}\n");
    reload(&mut portolan);
    await_http("web", 200);
    eventually(PATIENCE, "a line of the access log", || match read("/run/access.log") {
        lines if lines.contains("\"ServiceName\":\"web@docker\"") => Ok(()),
        lines => Err(lines),
    });
    eventually(PATIENCE, "it to say more", || match portolan.logs() {
        logs if logs.contains("\"level\":\"DEBUG\"") => Ok(()),
        logs => Err(logs),
    });
    write("log: {filePath: /run/portolan.log, format: json}\n");
    portolan.signal(Signal::HUP);
    eventually(PATIENCE, "it to be said in the file", || match read("/run/portolan.log") {
        lines if lines.contains("the settings were read again") => Ok(()),
        lines => Err(lines),
    });
    assert!(!portolan.logs().contains("can't change while the process runs"), "{}", portolan.logs());
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{}", report.text);
    assert!(report.requests > 100, "{}", report.text);
}
