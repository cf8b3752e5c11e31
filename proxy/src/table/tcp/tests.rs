//! Who gets a connection, as Traefik decides it.

use portolan_config::dynamic::http::RuleSyntax;
use portolan_config::dynamic::tcp::TcpRouterTls;
use portolan_config::rule::Rule;
use portolan_config::tls::RouterTls;
use portolan_discovery::{Router, TcpRouter};

use super::*;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::table::Table;

/// An entry point with these routers: `http`, `https`, `tcp` or `tls` (passed through), and the rule.
fn table(routers: &[(&str, &str)]) -> (Table, Vec<Fault>) {
    let mut snapshot = Snapshot::default();
    let mut layer_four = discovery::LayerFour::default();
    let upstream = Arc::new(discovery::Upstream::new("app@test".to_owned(), Vec::new()));
    snapshot.upstreams.push(upstream.clone());
    let places = discovery::TcpUpstream::Targets {
        upstream: Arc::new(discovery::Upstream::new("app@test/tcp".to_owned(), Vec::new())),
        balancing: Arc::default(),
        transport: Arc::default(),
    };
    layer_four.tcp_upstreams.insert("app@test".to_owned(), Arc::new(places));
    for (kind, rule) in routers {
        let secure = matches!(*kind, "https" | "tls");
        if kind.starts_with("http") {
            let router = Router {
                priority: rule.len() as i64,
                tls: secure.then(RouterTls::default),
                ..Router::new(*rule, Rule::parse(rule).unwrap(), "app@test")
            };
            snapshot.routers.push(Arc::new(router));
            continue;
        }
        let parsed = TcpRule::parse_as(rule, RuleSyntax::V3).unwrap();
        layer_four.tcp_routers.push(Arc::new(TcpRouter {
            name: (*rule).to_owned(),
            priority: if parsed.is_catch_all() { -1 } else { rule.len() as i64 },
            rule: parsed,
            entry_points: Vec::new(),
            middlewares: Vec::new(),
            tls: secure.then(|| TcpRouterTls { passthrough: true, ..TcpRouterTls::default() }),
            upstream: "app@test".to_owned(),
            origin: "a test".to_owned(),
        }));
    }
    snapshot.layer_four = Arc::new(layer_four);
    let entry_points = [EntryPoint::plain("main", "127.0.0.1:0".parse().unwrap())];
    let ledger = Ledger::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    crate::table::compile(&snapshot, &entry_points, &ledger)
}

/// Who takes a connection in the clear, and one by TLS for a name: the TCP router's rule, or `http`. A `!` before it is
/// one that is taken unread.
fn takers(routers: &[(&str, &str)], server_name: &str, alpn: &[&str]) -> (String, String) {
    let client = "192.0.2.7".parse().unwrap();
    let (table, faults) = table(routers);
    assert!(faults.is_empty(), "{faults:?}");
    let entry = &table.entry_points["main"];
    if let Some(route) = entry.takes_unread(client) {
        let name = format!("!{}", route.router.name);
        return (name.clone(), name);
    }
    let said = |taker| match taker {
        Taker::Http => "http".to_owned(),
        Taker::Tcp(route) => route.router.name.clone(),
    };
    let alpn: Vec<&[u8]> = alpn.iter().map(|name| name.as_bytes()).collect();
    let connection = ConnectionView { server_name, alpn: &alpn, client };
    (said(entry.taker_in_the_clear(client)), said(entry.taker_of_tls(&connection)))
}

#[test]
fn http_and_tcp_routers_share_an_entry_point_as_in_traefik() {
    const ANY: &str = "HostSNI(`*`)";
    const DB: &str = "HostSNI(`db.test`)";
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, (&'c str, &'c str));
    let cases: &[Case] = &[
        (&[], "db.test", ("http", "http")),
        // Nobody takes TLS: whatever is said, it is the TCP router's, also where the endpoint speaks first.
        (&[("tcp", ANY)], "db.test", ("!HostSNI(`*`)", "!HostSNI(`*`)")),
        (&[("tcp", ANY), ("http", "Host(`a.test`)")], "", ("!HostSNI(`*`)", "!HostSNI(`*`)")),
        // One that is not this client's is not asked.
        (
            &[("tcp", "HostSNI(`*`) && ClientIP(`198.51.100.0/24`)"), ("http", "Path(`/`)")],
            "",
            ("http", "http"),
        ),
        // Somebody takes TLS: what is said decides, and in the clear TCP goes first.
        (&[("tcp", ANY), ("https", "Host(`a.test`)")], "a.test", (ANY, "http")),
        (&[("tcp", ANY), ("tls", DB)], "db.test", (ANY, DB)),
        (&[("tls", DB), ("http", "Host(`a.test`)")], "db.test", ("http", DB)),
        (&[("tls", DB)], "other.test", ("http", "http")),
        // A router that names the host goes before one for any, and HTTP before TCP.
        (&[("tls", DB), ("https", "Host(`db.test`)")], "db.test", ("http", "http")),
        (
            &[("tls", "HostSNI(`*.test`)"), ("https", "Host(`db.test`)")],
            "x.test",
            ("http", "HostSNI(`*.test`)"),
        ),
        (&[("tls", DB), ("https", "PathPrefix(`/`)")], "db.test", ("http", DB)),
        (&[("tls", ANY), ("https", "PathPrefix(`/`)")], "db.test", ("http", "http")),
        (&[("tls", ANY), ("https", "Host(`a.test`)")], "a.test", ("http", "http")),
        (&[("tls", ANY), ("https", "Host(`a.test`)")], "db.test", ("http", ANY)),
        (&[("tls", ANY)], "", ("http", ANY)),
        // The longer rule goes first, a lone HostSNI(`*`) last.
        (
            &[("tls", ANY), ("tls", DB), ("tls", "HostSNI(`db.test`) && ClientIP(`192.0.2.0/24`)")],
            "db.test",
            ("http", "HostSNI(`db.test`) && ClientIP(`192.0.2.0/24`)"),
        ),
        (
            &[("tls", "HostSNIRegexp(`^db[0-9]+\\.test$`)")],
            "db12.test",
            ("http", "HostSNIRegexp(`^db[0-9]+\\.test$`)"),
        ),
        (
            &[("tls", "HostSNI(`db.test`) && !ALPN(`h2`)")],
            "db.test",
            ("http", "HostSNI(`db.test`) && !ALPN(`h2`)"),
        ),
        (&[("tls", "HostSNI(`db.test`) && ALPN(`h2`)")], "db.test", ("http", "http")),
        (
            &[("tls", "HostSNI(`db.test`) && ALPN(`postgresql`)")],
            "db.test",
            ("http", "HostSNI(`db.test`) && ALPN(`postgresql`)"),
        ),
    ];
    for (routers, server_name, (clear, tls)) in cases {
        let expected = ((*clear).to_owned(), (*tls).to_owned());
        assert_eq!(takers(routers, server_name, &["postgresql"]), expected, "{routers:?} {server_name}");
    }
}

#[test]
fn what_can_not_be_done_costs_its_router_and_is_told() {
    let (mut snapshot, ledger) =
        (Snapshot::default(), Ledger::new(Metrics::register(&prometheus::Registry::new()).unwrap()));
    let mut layer_four = discovery::LayerFour::default();
    let weighted = |child: &str| {
        let child = portolan_config::dynamic::service::WeightedChild { name: child.to_owned(), weight: 1 };
        let weighted =
            portolan_config::dynamic::tcp::LayerFourWeighted { services: vec![child], health_check: None };
        Arc::new(discovery::TcpUpstream::Weighted(weighted))
    };
    for (name, child) in [("a@test", "b@test"), ("b@test", "a@test"), ("c@test", "nobody@test")] {
        layer_four.tcp_upstreams.insert(name.to_owned(), weighted(child));
    }
    let router = |name: &str, options: &str, entry_point: &str, upstream: &str| {
        let tls = TcpRouterTls { options: options.to_owned(), ..TcpRouterTls::default() };
        Arc::new(TcpRouter {
            name: format!("{name}@test"),
            rule: TcpRule::parse_as("HostSNI(`*`)", RuleSyntax::V3).unwrap(),
            priority: -1,
            entry_points: vec![entry_point.to_owned()],
            middlewares: Vec::new(),
            tls: Some(tls),
            upstream: upstream.to_owned(),
            origin: "a test".to_owned(),
        })
    };
    let places = discovery::TcpUpstream::Targets {
        upstream: Arc::new(discovery::Upstream::new("d@test/tcp".to_owned(), Vec::new())),
        balancing: Arc::default(),
        transport: Arc::default(),
    };
    layer_four.tcp_upstreams.insert("d@test".to_owned(), Arc::new(places));
    layer_four.tcp_routers =
        vec![router("options", "strong@test", "main", "d@test"), router("place", "", "nowhere", "d@test")];
    snapshot.layer_four = Arc::new(layer_four);
    let entry_points = [EntryPoint::plain("main", "127.0.0.1:0".parse().unwrap())];
    let (table, faults) = crate::table::compile(&snapshot, &entry_points, &ledger);
    assert!(table.entry_points["main"].connections.is_empty());
    let mut told: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
    told.sort_unstable();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(told[0].starts_with("tcp.routers.options.tls.options: there are no TLS options `strong@test`"));
    assert!(told[1].starts_with("tcp.routers.place.entrypoints: there is no entry point `nowhere`"));
    assert!(
        told[2]
            .starts_with("tcp.services.a.weighted.services: there is no service `b@test`, or it leads back")
    );
    assert!(told[4].starts_with("tcp.services.c.weighted.services: there is no service `nobody@test`"));
}
