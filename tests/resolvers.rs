//! Names as programs in containers look them up: through Docker's own resolver on a network, and without it.

use crate::harness::{Container, Engine, Portolan, require};

/// Port 53 of every address, as containers ask.
const FLAGS: [&str; 2] = ["--dns-address=:53", "--dns-forward=off"];

/// The addresses that glibc's resolver finds, sorted; none where it finds nothing.
fn getent(engine: &Engine, container: &str, name: &str) -> Vec<String> {
    let found = engine.try_docker(&["exec", container, "getent", "ahostsv4", name]).unwrap_or_default();
    let mut addresses: Vec<String> = found
        .lines()
        .filter(|line| line.contains("STREAM"))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    addresses.sort();
    addresses
}

fn gateway(engine: &Engine, network: &str) -> String {
    engine.docker(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", network])
}

fn client(name: &str, network: &str, server: &str) -> Container {
    let container = Container::new(name).network(network).option(&format!("--dns={server}"));
    container.option("--dns-search=portolan.internal")
}

fn replica(name: &str, network: &str) -> Container {
    Container::new(name).label("portolan.service", "web").network(network)
}

#[test]
fn a_container_finds_services_by_portolan_behind_dockers_resolver() {
    let engine = Engine::start();
    engine.network("shop");
    engine.network("other");
    engine.run(&replica("web-1", "shop"));
    engine.run(&replica("web-2", "shop"));
    engine.run(&replica("web-3", "other"));
    engine.run(&Container::new("far").network("other"));
    let server = gateway(&engine, "shop");
    engine.run(&client("client", "shop", &server));
    let portolan = Portolan::start(&engine, &FLAGS);
    for name in ["web-1", "web-2", "web-3", "far", "client"] {
        portolan.await_state(name, "ready");
    }
    let on_shop: Vec<String> =
        ["web-1", "web-2"].map(|name| engine.address(name, "shop").to_string()).to_vec();
    // By the search list, whole, and with a final dot.
    for name in ["web", "web.portolan.internal", "tasks.web.portolan.internal."] {
        assert_eq!(getent(&engine, "client", name), on_shop, "{name}");
    }
    let looked_up = engine.exec("client", &["nslookup", "web.portolan.internal"]);
    for address in &on_shop {
        assert!(looked_up.contains(address.as_str()), "busybox has a resolver of its own: {looked_up}");
    }
    // What is on none of its networks does not exist for it, and does for this host.
    assert_eq!(getent(&engine, "client", "far.portolan.internal"), [""; 0]);
    // Docker's own names come first, and are not ours to change: it answers them itself.
    assert_eq!(getent(&engine, "client", "web-1"), [on_shop[0].clone()]);
    engine.docker(&["pause", "web-2"]);
    portolan.await_state("web-2", "paused");
    assert_eq!(getent(&engine, "client", "web"), [on_shop[0].clone()], "ours heed what can be given work");
    assert_eq!(getent(&engine, "client", "web-2"), [on_shop[1].clone()], "Docker's do not");
}

#[test]
fn on_the_default_bridge_portolan_is_asked_directly() {
    let engine = Engine::start();
    engine.run(&Container::new("db"));
    let server = engine.docker(&["inspect", "--format", "{{.NetworkSettings.Gateway}}", "db"]);
    engine.run(&client("client", "bridge", &server));
    let portolan = Portolan::start(&engine, &FLAGS);
    portolan.await_state("client", "ready");
    let address = portolan.await_state("db", "ready").ipv4;
    // There, Docker has no names at all.
    for name in ["db", "db.portolan.internal"] {
        assert_eq!(getent(&engine, "client", name), [address.as_str()], "{name}");
    }
    let explained = portolan.admin("/api/resolve?name=db&from=client").expect("an answer").text();
    assert!(explained.contains(&address) && explained.contains("\"given\": true"), "{explained}");
}

/// `tests/clients/lookup.c` with the C library that small images have.
fn musl_lookup() -> std::path::PathBuf {
    let built = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("lookup-musl");
    if !built.exists() {
        // Under a name of its own first: another test may look.
        let new = built.with_extension(std::process::id().to_string());
        let mut compiler = std::process::Command::new(require("musl-gcc"));
        compiler.args(["-static", "-O1", "-Wall", "-Werror", "-o"]).arg(&new).arg("tests/clients/lookup.c");
        assert!(compiler.status().is_ok_and(|status| status.success()), "compile tests/clients/lookup.c");
        std::fs::rename(&new, &built).expect("put it in place");
    }
    built
}

#[test]
fn the_resolver_of_small_images_finds_the_same_names() {
    let engine = Engine::start();
    engine.network("shop");
    engine.run(&replica("web-1", "shop"));
    engine.run(&replica("web-2", "shop"));
    let lookup = musl_lookup();
    let portolan = {
        let server = gateway(&engine, "shop");
        engine.run(&client("behind", "shop", &server));
        engine.run(&Container::new("first"));
        let bridge = engine.docker(&["inspect", "--format", "{{.NetworkSettings.Gateway}}", "first"]);
        // A search list as Kubernetes writes it: names with fewer dots than this are tried below each domain first.
        engine.run(&client("direct", "bridge", &bridge).option("--dns-option=ndots:5"));
        Portolan::start(&engine, &["--dns-address=:53", "--dns-forward=off", "--dns-views=false"])
    };
    for name in ["web-1", "web-2", "behind", "direct"] {
        portolan.await_state(name, "ready");
    }
    let mut addresses = ["web-1", "web-2"].map(|name| engine.address(name, "shop").to_string()).to_vec();
    addresses.sort();
    for container in ["behind", "direct"] {
        engine.docker(&["cp", &lookup.to_string_lossy(), &format!("{container}:/lookup")]);
        for name in ["web", "web.portolan.internal", "tasks.web.portolan.internal."] {
            let found = engine.try_docker(&["exec", container, "/lookup", name]).unwrap_or_default();
            let mut found: Vec<&str> = found.lines().collect();
            found.sort_unstable();
            // Docker writes `ndots:0` on networks of one's own, and then this resolver takes any name for a whole one.
            let expected = if (container, name) == ("behind", "web") { &[][..] } else { &addresses[..] };
            assert_eq!(found, expected, "{container}: {name}");
        }
        // It takes any error but NXDOMAIN for a server that is ill, and would try again for seconds.
        let started = std::time::Instant::now();
        assert!(engine.try_docker(&["exec", container, "/lookup", "nosuch"]).is_err(), "{container}");
        assert!(started.elapsed().as_secs() < 4, "{container}: {:?}", started.elapsed());
    }
}

/// What `dig` shows of an answer, asked so.
fn dig(engine: &Engine, arguments: &[&str]) -> String {
    let mut command = engine.sandbox().command(require("dig"));
    command.args(["@127.0.0.1", "-p", "1053", "+tries=1", "+time=10"]).args(arguments);
    let output = command.output().expect("dig runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The cases by which the DNS flag days of 2019 and 2020 judge a server, as `dig` asks them.
#[test]
fn dig_is_answered_as_the_flag_days_ask_for() {
    let engine = Engine::start();
    engine.run(&replica("web-1", "bridge"));
    let portolan = Portolan::start(&engine, &["--dns-forward=off", "--dns-transfer-to=127.0.0.1"]);
    let address = portolan.await_state("web-1", "ready").ipv4;
    let name = "web.portolan.internal";
    let good = ["status: NOERROR", &*address];
    for (arguments, expected, never) in [
        (&["+noedns"][..], &good[..], &["OPT PSEUDOSECTION"][..]),
        (&["+edns=0", "+nocookie"], &["EDNS: version: 0", "udp: 1232", good[0], good[1]], &["COOKIE"]),
        (&["+edns=0", "+cookie"], &["COOKIE: ", "(good)", good[0], good[1]], &[]),
        // Another version is told ours, and nothing else.
        (&["+edns=1", "+noednsnegotiation"], &["status: BADVERS", "EDNS: version: 0"], &["ANSWER SECTION"]),
        (&["+edns=1"], &good, &[]),
        // Options and flags that nobody knows are passed over, and not given back.
        (&["+edns=0", "+ednsopt=100"], &good, &["OPT=100"]),
        (&["+edns=0", "+ednsflags=0x80"], &["EDNS: version: 0, flags:;", good[0], good[1]], &["MBZ"]),
        (
            &["+edns=1", "+noednsnegotiation", "+ednsopt=100"],
            &["status: BADVERS"],
            &["OPT=100", "ANSWER SECTION"],
        ),
        (&["+dnssec"], &["flags: do;", good[0], good[1]], &["RRSIG"]),
        (&["+bufsize=512", "+ignore"], &good, &[]),
        (&["+tcp"], &["(TCP)", good[0], good[1]], &[]),
        (&["+norecurse", "+nocookie"], &["flags: qr aa;", good[0], good[1]], &[]),
        (&["TYPE666"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1"], &[]),
    ] {
        let shown = dig(&engine, &[&[name], arguments].concat());
        for expected in expected {
            assert!(shown.contains(expected), "{arguments:?}: no `{expected}`: {shown}");
        }
        for never in never {
            assert!(!shown.contains(never), "{arguments:?}: `{never}`: {shown}");
        }
    }
    // 0x20: the name comes back in the letters it was asked in.
    assert!(dig(&engine, &["wEb.PortOLAN.internal", "+noall", "+answer"]).contains("wEb.PortOLAN.internal."));
    assert!(dig(&engine, &["portolan.internal", "AXFR"]).contains("XFR size: "));
    let denied = dig(&engine, &["-b", "127.0.0.2", "portolan.internal", "AXFR"]);
    assert!(denied.contains("Transfer failed."), "{denied}");
}
