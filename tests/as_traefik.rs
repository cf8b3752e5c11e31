//! Traefik's users change nothing: the same file and the same requests are answered the same, but for what is otherwise on
//! purpose, which `tests/traefik/differences.py` names with its reasons.

use std::process::Command;

use crate::harness::{Container, Engine, PATIENCE, Portolan, Sandbox, eventually, python};

/// Containers as Traefik's users label them: a name, and labels that follow `traefik.`.
const CONTAINERS: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("under_score.dot", &[]),
    ("disabled", &["enable=false", "http.routers.off.rule=Host(`off.test`)"]),
    (
        "shop",
        &[
            "http.routers.shop.rule=Host(`shop.test`) && PathPrefix(`/cart`)",
            "http.routers.shop.entrypoints=web",
            "http.routers.shop.priority=42",
            "http.routers.shop.middlewares=strip,auth@docker",
            "HTTP.Routers.admin.Rule=Host(`admin.test`) || ClientIP(`10.0.0.0/8`)",
            "http.routers.admin.service=shop",
            "http.services.shop.loadbalancer.server.port=8080",
            "http.services.shop.loadbalancer.passhostheader=false",
            "http.services.shop.loadbalancer.sticky.cookie.name=crumb",
            "http.services.shop.loadbalancer.sticky.cookie.secure=true",
            "http.services.shop.loadbalancer.strategy=p2c",
            "http.middlewares.strip.stripprefix.prefixes=/a, /b",
            "http.middlewares.auth.basicauth.users=joe:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/",
            "http.middlewares.auth.basicauth.realm=shop",
            "http.middlewares.unused.headers.customrequestheaders.X-One=1",
            "http.middlewares.unused.headers.stsSeconds=10",
            "http.middlewares.limit.ratelimit.average=10",
            "http.middlewares.limit.ratelimit.sourcecriterion.requestheadername=X-Key",
            "http.middlewares.all.chain.middlewares=strip,auth",
            "http.middlewares.secure.redirectscheme.scheme=https",
            "http.middlewares.secure.redirectscheme.permanent=true",
            "http.middlewares.small.compress=true",
            "http.middlewares.again.retry.attempts=3",
            "http.middlewares.pages.errors.status=500-599",
            "http.middlewares.pages.errors.service=shop",
            "http.middlewares.pages.errors.query=/{status}",
            "http.middlewares.break.circuitbreaker.expression=NetworkErrorRatio() > 0.5",
            "http.middlewares.only.ipallowlist.sourcerange=10.0.0.0/8, 127.0.0.1",
            "http.middlewares.ask.forwardauth.address=http://auth.test/",
            "http.middlewares.ask.forwardauth.authresponseheaders=X-User",
        ],
    ),
    (
        "replicas-1",
        &[
            "http.routers.replicas.rule=Host(`replicas.test`)",
            "http.routers.replicas.tls=true",
            "http.services.replicas.loadbalancer.server.port=80",
            "http.services.replicas.loadbalancer.server.scheme=https",
        ],
    ),
    (
        "replicas-2",
        &[
            "http.routers.replicas.rule=Host(`replicas.test`)",
            "http.routers.replicas.tls=true",
            "http.services.replicas.loadbalancer.server.port=80",
            "http.services.replicas.loadbalancer.server.scheme=https",
        ],
    ),
    (
        "db",
        &[
            "tcp.routers.db.rule=HostSNI(`db.test`)",
            "tcp.routers.db.tls.passthrough=true",
            "tcp.routers.db.middlewares=near",
            "tcp.services.db.loadbalancer.server.port=5432",
            "tcp.middlewares.near.ipallowlist.sourcerange=10.0.0.0/8",
            "udp.routers.dns.entrypoints=dns",
            "udp.services.dns.loadbalancer.server.port=53",
        ],
    ),
    ("broken", &["http.routers.broken.rule=Hots(`broken.test`)"]),
    ("unknown", &["http.routers.unknown.rule=Host(`unknown.test`)", "http.routers.unknown.nosuch=1"]),
    ("clash-a", &["http.routers.same.rule=Host(`a.test`)", "http.routers.same.service=clash-a"]),
    ("clash-b", &["http.routers.same.rule=Host(`b.test`)", "http.routers.same.service=clash-b"]),
];

/// Runs what Compose and health checks make of containers: replicas of a project's service, one on two networks, one that is
/// not well and one that is not ready yet.
fn run_others(engine: &Engine) {
    let of_compose = |name: &str, project: &str, service: &str| {
        Container::new(name)
            .label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
    };
    engine.run(&of_compose("shop-api-1", "shop", "api"));
    engine.run(&of_compose("shop-api-2", "shop", "api"));
    engine.run(
        &of_compose("shop-web-1", "shop", "web")
            .label("traefik.http.routers.front.rule", "Host(`front.test`)")
            .label("traefik.http.routers.front.middlewares", "front-cut")
            .label("traefik.http.middlewares.front-cut.stripprefix.prefixes", "/x"),
    );
    engine.network("front");
    engine.network("back");
    let two = Container::new("two").network("front").label("traefik.docker.network", "back");
    engine.run(&two.label("traefik.http.routers.two.rule", "Host(`two.test`)"));
    engine.docker(&["network", "connect", "back", "two"]);
    let sick = Container::new("sick").label("traefik.http.routers.sick.rule", "Host(`sick.test`)");
    engine.run(&sick.health("false"));
    let early = Container::new("early").label("traefik.http.routers.early.rule", "Host(`early.test`)");
    engine.run(
        &early.option("--health-cmd=true").option("--health-interval=1h").option("--health-start-period=1h"),
    );
    // The last: whoever knows it knows all of them.
    engine.run(&Container::new("ready").label("traefik.http.routers.ready.rule", "Host(`ready.test`)"));
}

/// One engine, and both beside it.
#[test]
fn traefik_shows_the_same_containers_but_for_what_is_meant() {
    let traefik = python().with_file_name("traefik");
    assert!(traefik.is_file(), "this test needs {}: run ./test, which gets it", traefik.display());
    let engine = Engine::start();
    let mut stopped = false;
    for (name, labels) in
        [("stopped", &["http.routers.stopped.rule=Host(`stopped.test`)"][..])].iter().chain(CONTAINERS)
    {
        let container = labels.iter().fold(Container::new(name), |container, label| {
            let (label, value) = label.split_once('=').expect("a label has a value");
            container.label(&format!("traefik.{label}"), value)
        });
        engine.run(&container);
        if !stopped {
            engine.docker(&["kill", name]);
            stopped = true;
        }
    }
    run_others(&engine);
    eventually(PATIENCE, "one to be found unwell", || {
        match engine.inspect("sick")["State"]["Health"]["Status"].as_str() {
            Some("unhealthy") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let flags = [
        "--api.insecure=true",
        "--ping=true",
        "--providers.docker=true",
        "--providers.docker.endpoint=unix:///run/docker.sock",
    ];
    let _portolan = Portolan::start(
        &engine,
        &[
            &flags[..],
            &[
                "--entryPoints.web.address=:8000",
                "--entryPoints.dns.address=:8053/udp",
                "--entryPoints.traefik.address=:8081",
            ],
        ]
        .concat(),
    );
    let mut command = engine.sandbox().command(traefik);
    command.args(flags).args([
        "--entryPoints.web.address=:8001",
        "--entryPoints.dns.address=:8054/udp",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]);
    let _traefik = engine.sandbox().spawn("traefik", command);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traefik/shapes");
    let mut command = Command::new(python());
    let output = command
        .args([script, "http://127.0.0.1:8081", "http://127.0.0.1:8080", "docker"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The same file, with every kind of service and middleware and most of their options.
#[test]
fn traefik_shows_the_same_file_but_for_what_is_meant() {
    let traefik = python().with_file_name("traefik");
    assert!(traefik.is_file(), "this test needs {}: run ./test, which gets it", traefik.display());
    let sandbox = Sandbox::enter();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traefik/everything.yml");
    let file = format!("--providers.file.filename={file}");
    let flags = ["--api.insecure=true", "--ping=true", &file];
    let _portolan = Portolan::start(
        None,
        &[
            &flags[..],
            &[
                "--source=demo",
                "--entryPoints.web.address=:8000",
                "--entryPoints.raw.address=:8002",
                "--entryPoints.dns.address=:8053/udp",
                "--entryPoints.traefik.address=:8081",
            ],
        ]
        .concat(),
    );
    let mut command = sandbox.command(traefik);
    command.args(flags).args([
        "--entryPoints.web.address=:8001",
        "--entryPoints.raw.address=:8003",
        "--entryPoints.dns.address=:8054/udp",
        "--entryPoints.traefik.address=:8090",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]);
    let _traefik = sandbox.spawn("traefik", command);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traefik/shapes");
    let output = sandbox
        .command(python())
        .args([script, "http://127.0.0.1:8081", "http://127.0.0.1:8090", "file"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn traefik_answers_the_same_but_for_what_is_meant() {
    let traefik = python().with_file_name("traefik");
    assert!(traefik.is_file(), "this test needs {}: run ./test, which gets it", traefik.display());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traefik/run");
    let output = Command::new(python())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg("--portolan")
        .arg(Portolan::binary())
        .arg("--traefik")
        .arg(traefik)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let count =
        said.lines().last().and_then(|line| line.split(' ').next()).and_then(|count| count.parse().ok());
    assert!(count.is_some_and(|count: usize| count >= 600), "{said}");
}
