//! BIND as a secondary: it takes the zone, is told of changes, and then answers as Portolan does, record by record.

use std::collections::BTreeSet;

use crate::harness::dns::{self, RecordType};
use crate::harness::{Container, Engine, NAME_SERVER, PATIENCE, Portolan, Process, eventually, require};

const SECONDARY: &str = "127.0.0.1:5300";

/// BIND, with the zone from Portolan and no other.
fn bind(engine: &Engine) -> Process {
    let sandbox = engine.sandbox();
    let conf = "options { directory \"/run/named\"; pid-file none; listen-on port 5300 { 127.0.0.1; };\n\
         listen-on-v6 { none; }; recursion no; dnssec-validation no; session-keyfile none; };\n\
         controls { };\n\
         zone \"portolan.internal\" { type secondary; primaries { 127.0.0.1 port 1053; }; file \"zone\"; };\n\
         zone \"17.172.in-addr.arpa\" { type secondary; primaries { 127.0.0.1 port 1053; }; file \"reverse\"; };\n";
    let place = sandbox.write("/run/named/named.conf", conf);
    let mut command = sandbox.command(require("named"));
    command.args(["-g", "-n", "1", "-u", "root", "-c", &place]);
    sandbox.spawn("named", command)
}

/// What a server answers: the code, and the records with their times to live.
fn asked(server: &str, name: &str, kind: RecordType) -> Result<(String, BTreeSet<String>), String> {
    let reply = dns::query_tcp(server, name, kind).map_err(|error| error.to_string())?;
    let records = reply.answers.iter().map(|record| format!("{} {}", record.ttl, record)).collect();
    Ok((format!("{:?} {}", reply.metadata.response_code, reply.metadata.authoritative), records))
}

fn serial(server: &str, zone: &str) -> Result<u32, String> {
    let reply = dns::query(server, zone, RecordType::SOA).map_err(|error| error.to_string())?;
    let soa = reply.answers.iter().find_map(|record| match &record.data {
        dns::RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    soa.ok_or_else(|| format!("no SOA: {reply}"))
}

/// Waits until the secondary has the newest zone, and compares all there is with what Portolan says.
fn compare(portolan: &Portolan) -> usize {
    for zone in ["portolan.internal.", "17.172.in-addr.arpa."] {
        eventually(PATIENCE, "the secondary to have the newest zone", || {
            let (ours, theirs) = (serial(NAME_SERVER, zone)?, serial(SECONDARY, zone)?);
            if ours == theirs { Ok(()) } else { Err(format!("{theirs}, not {ours}")) }
        });
    }
    let mut reverse = 0;
    let hosts = (0..12).map(|host| format!("{host}.0"));
    // What has an address below it, and what has none; and what is no part of an address.
    let between = ["0", "9", "x"].map(str::to_owned);
    for below in hosts.chain(between) {
        let name = format!("{below}.17.172.in-addr.arpa.");
        for kind in [RecordType::PTR, RecordType::TXT, RecordType::SOA] {
            let (ours, theirs) = (asked(NAME_SERVER, &name, kind), asked(SECONDARY, &name, kind));
            assert_eq!(ours, theirs, "{name} {kind}");
            reverse += usize::from(ours.is_ok_and(|(_, records)| !records.is_empty()));
        }
    }
    assert!(reverse > 0, "somebody has an address");
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType::MX,
        RecordType::CNAME,
    ];
    let names = portolan.snapshot();
    let services = names["services"].as_array().expect("services").len();
    assert!(services > 0);
    let mut compared = 0;
    for name in [
        "web",
        "web.shop",
        "tasks.web",
        "all.web",
        "web-1",
        "web-2",
        "_http._tcp.web",
        "_80._tcp.web",
        "_tcp.web",
        "db",
        "late",
        "nosuch",
        "deeper.nosuch",
        "ns",
        "printer",
        "any.apps",
        "apps",
        "alias",
        "gone",
        "",
    ] {
        let name = if name.is_empty() {
            "portolan.internal.".to_owned()
        } else {
            format!("{name}.portolan.internal.")
        };
        for kind in kinds {
            let (mut ours, theirs) = (asked(NAME_SERVER, &name, kind), asked(SECONDARY, &name, kind));
            // A port without a place at present is a name without a record: no record can tell a secondary of it.
            if name.starts_with('_') && theirs.as_ref().is_ok_and(|(code, _)| code == "NXDomain true") {
                assert_eq!(ours, Ok(("NoError true".to_owned(), BTreeSet::new())), "{name}");
                ours.clone_from(&theirs);
            }
            assert_eq!(ours, theirs, "{name} {kind}");
            compared += usize::from(ours.is_ok_and(|(_, records)| !records.is_empty()));
        }
    }
    compared
}

#[test]
fn bind_as_a_secondary_answers_as_portolan_does_through_every_change() {
    let engine = Engine::start();
    let replica = |name: &str| {
        Container::new(name)
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", "web")
            .label("portolan.port.http", "80")
            .label("portolan.dns.weight", "7")
    };
    engine.run(&replica("web-1"));
    engine.run(&Container::new("db"));
    let records = engine.sandbox().write(
        "/run/records",
        "printer 60 IN A 192.0.2.9\n*.apps 30 IN A 192.0.2.10\nalias IN CNAME printer\ngone IN CNAME nosuch\n@ IN MX 10 printer\n",
    );
    let flags = [
        "--dns-transfer-to=127.0.0.1",
        "--dns-notify=127.0.0.1:5300",
        "--dns-reverse-zones=172.17.0.0/16",
        "--dns-forward=off",
        &format!("--dns-records={records}"),
    ];
    let portolan = Portolan::start(&engine, &flags);
    portolan.await_state("web-1", "ready");
    portolan.await_state("db", "ready");
    let _named = bind(&engine);
    assert!(compare(&portolan) > 12);
    // By what is different, and at once: an SOA of ours asks for a look every five minutes only.
    for change in ["run", "stop", "pause", "rm"] {
        match change {
            "run" => {
                engine.run(&replica("web-2"));
                engine.run(&Container::new("late"));
                portolan.await_state("web-2", "ready");
                portolan.await_state("late", "ready");
            }
            "stop" => {
                engine.docker(&["stop", "--time=0", "web-1"]);
                portolan.await_state("web-1", "stopped");
            }
            "pause" => {
                engine.docker(&["pause", "web-2"]);
                portolan.await_state("web-2", "paused");
            }
            _ => {
                engine.docker(&["rm", "--force", "late"]);
                eventually(PATIENCE, "late to be gone", || {
                    match asked(NAME_SERVER, "late.portolan.internal.", RecordType::A) {
                        Ok((code, _)) if code.starts_with("NXDomain") => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                });
            }
        }
        compare(&portolan);
    }
    let transfers = |kind: &str| portolan.metric(&format!("portolan_dns_transfers_total{{type=\"{kind}\"}}"));
    assert!((transfers("axfr") - 2.0).abs() < 0.5, "each once as a whole");
    assert!(transfers("ixfr") >= 8.0);
    assert!(portolan.metric("portolan_dns_notify_failures_total") < 0.5);
}
