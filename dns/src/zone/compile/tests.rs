//! Which names a snapshot gives, to whom, and what is said of those it can't give.

use hickory_proto::rr::RecordType::{A, AAAA, PTR, SRV, TXT};
use portolan_config::Protocol;
use portolan_discovery::{ServiceKey, Snapshot, State};

use super::*;
use crate::test_support::{container, data, faulty_zone, settings, snapshot, verdict, zone};

#[test]
fn a_compose_service_is_found_by_all_its_names() {
    let zone = zone([
        container("shop-web-1", "10.0.0.1").compose("shop", "web").id("abcdef0123456789").alias("www"),
        container("shop-web-2", "10.0.0.2").compose("shop", "web").ipv6("fd00::2").alias("www").alias("web"),
    ]);
    for name in ["web", "web.shop", "tasks.web", "tasks.web.shop", "www"] {
        assert_eq!(zone.get(name, A), ["10.0.0.1", "10.0.0.2"], "{name}");
        assert_eq!(zone.get(name, AAAA), ["fd00::2"], "{name}");
    }
    for name in ["shop-web-1", "abcdef012345"] {
        assert_eq!(zone.get(name, A), ["10.0.0.1"], "{name}");
    }
    assert_eq!(verdict(&zone.ask("abcdef0123456789", A)), "NXDomain SOA");
}

#[test]
fn only_available_replicas_are_given_and_the_name_stays_when_none_is() {
    let not_ready = [State::Starting, State::Unhealthy, State::Draining, State::Paused, State::Stopped];
    for state in not_ready {
        let zone = zone([
            container("a", "10.0.0.1").compose("p", "one").port(80, Some("http")),
            container("b", "10.0.0.2").compose("p", "one").port(80, Some("http")).is(state),
            container("c", "10.0.0.3").port(80, Some("http")).alias("sea").is(state),
        ]);
        assert_eq!(zone.get("one", A), ["10.0.0.1"], "{state}");
        assert_eq!(zone.get("_http._tcp.one", SRV), ["0 1 80 a.portolan.internal."], "{state}");
        for name in ["b", "c", "tasks.c", "id10003", "_http._tcp.c", "_80._tcp.c"] {
            let id = if name == "id10003" { "id1000300000" } else { name };
            assert_eq!(verdict(&zone.ask(id, A)), "NoError SOA", "{name} {state}");
            assert_eq!(verdict(&zone.ask(id, SRV)), "NoError SOA", "{name} {state}");
        }
        // An engine no longer tells the aliases of what is stopped.
        let alias = if state == State::Stopped { "NXDomain SOA" } else { "NoError SOA" };
        assert_eq!(verdict(&zone.ask("sea", A)), alias, "{state}");
        // Who has an address is no question of health.
        let reverse = if state == State::Stopped { "Refused" } else { "NoError with answers" };
        assert_eq!(verdict(&zone.ask("3.0.0.10.in-addr.arpa.", PTR)), reverse, "{state}");
    }
}

#[test]
fn a_container_has_every_address_and_the_chosen_one_first() {
    let zone = zone([
        container("c", "10.0.0.9").of(ServiceKey::Label("svc".into())).also_on(
            "back",
            "10.0.0.1",
            &["behind"],
        ),
        container("d", "10.0.0.8").of(ServiceKey::Label("svc".into())).also_on("back", "10.0.0.8", &[]),
    ]);
    for _ in 0..3 {
        assert_eq!(data(&zone.ask("c", A).answers), ["10.0.0.9", "10.0.0.1"]);
    }
    assert_eq!(zone.get("d", A), ["10.0.0.8"]);
    assert_eq!(zone.get("svc", A), ["10.0.0.8", "10.0.0.9"]);
    assert_eq!(zone.get("behind", A), ["10.0.0.1"], "an alias gives the address on its network");
    for ip in ["1.0.0.10", "9.0.0.10"] {
        assert_eq!(zone.get(&format!("{ip}.in-addr.arpa."), PTR), ["c.portolan.internal."]);
    }
}

#[test]
fn ipv6_addresses_lead_back_too() {
    let zone = zone([container("six", "fd00::1")]);
    let name = format!("1.{}0.0.d.f.ip6.arpa.", "0.".repeat(27));
    assert_eq!(zone.get(&name, PTR), ["six.portolan.internal."]);
    assert_eq!(zone.get("six", AAAA), ["fd00::1"]);
}

#[test]
fn every_port_is_offered_by_name_and_by_number() {
    let zone = zone([container("c", "10.0.0.1")
        .port(80, Some("http"))
        .port(80, None)
        .port(9090, Some("Metrics"))
        .port_over(Protocol::Udp, 53, None)]);
    for (name, port) in [
        ("_http._tcp", 80),
        ("_80._tcp", 80),
        ("_metrics._tcp", 9090),
        ("_9090._tcp", 9090),
        ("_53._udp", 53),
    ] {
        let expected = format!("0 1 {port} c.portolan.internal.");
        assert_eq!(zone.get(&format!("{name}.c"), SRV), [expected], "{name}");
    }
    assert_eq!(verdict(&zone.ask("_53._tcp.c", SRV)), "NXDomain SOA");
    assert_eq!(verdict(&zone.ask("_udp.c", SRV)), "NoError SOA");
}

#[test]
fn two_projects_with_one_service_name_are_kept_apart_and_told() {
    let (zone, faults) = faulty_zone([
        container("a", "10.0.0.1").compose("blog", "web").created(20).port(80, None),
        container("b", "10.0.0.2").compose("shop", "web").created(30),
        container("c", "10.0.0.3").compose("shop", "web").created(10),
    ]);
    for name in ["web", "tasks.web", "web.shop"] {
        assert_eq!(zone.get(name, A), ["10.0.0.2", "10.0.0.3"], "{name}");
    }
    assert_eq!(zone.get("web.blog", A), ["10.0.0.1"]);
    assert_eq!(zone.get("_80._tcp.web.blog", SRV), ["0 1 80 a.portolan.internal."]);
    assert_eq!(verdict(&zone.ask("_80._tcp.web", SRV)), "NXDomain SOA");
    let [fault] = &faults[..] else { panic!("{faults:?}") };
    for part in ["service web-blog@docker", "`web-shop@docker`", "`web`", "`web.blog.portolan.internal`"] {
        assert!(fault.to_string().contains(part), "{part} in {fault}");
    }
}

#[test]
fn equally_old_services_are_told_apart_by_their_instances_names() {
    for (first, second, winner) in [("a", "b", "10.0.0.1"), ("b", "a", "10.0.0.2")] {
        let (zone, faults) = faulty_zone([
            container(first, "10.0.0.1").compose("x", "web"),
            container(second, "10.0.0.2").compose("y", "web"),
        ]);
        assert_eq!((zone.get("web", A), faults.len()), (vec![winner.to_owned()], 1));
    }
}

#[test]
fn a_service_keeps_its_name_from_containers_and_aliases() {
    let zone = zone([
        container("x-1", "10.0.0.1").compose("x", "web").port(80, None).created(9),
        container("web", "10.0.0.2").compose("y", "other").port(81, None),
        container("z", "10.0.0.3").alias("web").alias("x-1").alias("shared"),
        container("y", "10.0.0.4").alias("SHARED"),
    ]);
    assert_eq!(zone.get("web", A), ["10.0.0.1"]);
    assert_eq!(zone.get("x-1", A), ["10.0.0.1"]);
    assert_eq!(zone.get("shared", A), ["10.0.0.3", "10.0.0.4"]);
    // The container that lost its name is pointed to by its id: its name would lead to another.
    assert_eq!(zone.get("_81._tcp.other", SRV), ["0 1 81 id1000200000.portolan.internal."]);
    assert_eq!(zone.get("id1000200000", A), ["10.0.0.2"]);
    assert_eq!(zone.get("2.0.0.10.in-addr.arpa.", PTR), ["id1000200000.portolan.internal."]);
}

#[test]
fn a_container_alone_shares_the_name_with_its_service() {
    let zone = zone([container("db", "10.0.0.1").port(5432, None).also_on("back", "10.1.0.1", &[])]);
    let reply = zone.ask("_5432._tcp.db", SRV);
    assert_eq!(data(&reply.answers), ["0 1 5432 db.portolan.internal."]);
    assert_eq!(data(&reply.additionals), zone.get("db", A), "SRV brings what asking the target gives");
}

#[test]
fn a_name_that_exists_because_of_one_below_can_still_be_claimed() {
    let zone = zone([
        container("a", "10.0.0.1").compose("shop", "web"),
        container("shop", "10.0.0.2"),
        container("t", "10.0.0.3").alias("tasks"),
    ]);
    assert_eq!(zone.get("shop", A), ["10.0.0.2"]);
    assert_eq!(zone.get("web.shop", A), ["10.0.0.1"]);
    assert_eq!(zone.get("tasks", A), ["10.0.0.3"]);
}

#[test]
fn what_can_not_be_a_name_is_left_out_and_told_and_costs_nothing_else() {
    let long = "x".repeat(64);
    let (zone, faults) = faulty_zone([
        container("a b", "10.0.0.1"),
        container("c", "10.0.0.2").of(ServiceKey::Label("sp ace".into())).alias("al..ias").alias("fine"),
        container("d", "10.0.0.3").compose("pro ject", "web").port(80, Some("no.dots")),
        container(&long, "10.0.0.4").of(ServiceKey::Label("svc".into())).port(1, None),
    ]);
    for (name, ip) in [
        ("id1000100000", "10.0.0.1"),
        ("c", "10.0.0.2"),
        ("fine", "10.0.0.2"),
        ("web", "10.0.0.3"),
        ("svc", "10.0.0.4"),
    ] {
        assert_eq!(zone.get(name, A), [ip], "{name}");
    }
    assert_eq!(zone.get("_80._tcp.web", SRV).len(), 1);
    assert_eq!(zone.get("_1._tcp.svc", SRV), ["0 1 1 id1000400000.portolan.internal."]);
    let mut told: Vec<(&str, &str)> = faults.iter().map(|f| (&*f.origin, &*f.key)).collect();
    told.sort_unstable();
    let long = format!("container {long}");
    assert_eq!(
        told,
        [
            ("container c", "alias"),
            (&*long, "name"),
            ("service a-b@docker", "name"),
            ("service sp-ace@docker", "portolan.service"),
            ("service web-pro-ject@docker", "compose service"),
            ("service web-pro-ject@docker", "port"),
        ]
    );
}

#[test]
fn names_are_held_to_what_fits_with_the_zone() {
    let longest = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(43)); // 192 + 44 + 19 for the zone = 255
    let (zone, faults) = faulty_zone([container(&longest, "10.0.0.1").port(80, None)]);
    assert_eq!(zone.get("id1000100000", A), ["10.0.0.1"]);
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "tasks and port do not fit: {told:?}");
    let (_, faults) = faulty_zone([container(&format!("{longest}y"), "10.0.0.1")]);
    assert!(faults[0].to_string().contains("longer than the 255 bytes"), "{faults:?}");
}

#[test]
fn nothing_is_compiled_before_the_snapshot_is_complete() {
    let mut incomplete = snapshot([container("a b", "10.0.0.1")]);
    incomplete.sources[0].last_sync = None;
    for snapshot in [incomplete, Snapshot::default()] {
        let (zone, faults) = compile(&snapshot, &settings());
        assert_eq!((zone.is_synced(), faults.len()), (false, 0));
        assert_eq!(verdict(&zone.ask("a", A)), "ServFail");
    }
}

#[test]
fn the_serial_wraps_with_the_generation() {
    let mut late = snapshot([]);
    late.generation = (1 << 32) + 5;
    assert_eq!(compile(&late, &settings()).0.serial(), 5);
}

#[test]
fn a_cluster_finds_its_members_before_they_are_ready() {
    let zone = zone([
        container("db-1", "10.0.0.1").compose("p", "db").port(80, None),
        container("db-2", "10.0.0.2").compose("p", "db").is(State::Starting),
        container("db-3", "10.0.0.3").compose("p", "db").is(State::Stopped),
    ]);
    assert_eq!(zone.get("db", A), ["10.0.0.1"]);
    for name in ["all.db", "all.db.p"] {
        assert_eq!(zone.get(name, A), ["10.0.0.1", "10.0.0.2"], "{name}");
    }
}

#[test]
fn labels_add_names_and_hide_containers() {
    let (zone, faults) = faulty_zone([
        container("a", "10.0.0.1")
            .compose("p", "web")
            .port(80, None)
            .label("portolan.dns.names", "store, WEB, shop.example."),
        container("b", "10.0.0.2").compose("p", "web").label("portolan.DNS.enable", "false"),
        container("c", "10.0.0.3").label("portolan.dns.enable", "false"),
        container("d", "10.0.0.4").created(5).label("portolan.dns.names", "store,shop.example.,no..name"),
    ]);
    for name in ["web", "store", "tasks.store", "shop.example.", "a"] {
        assert_eq!(zone.get(name, A), ["10.0.0.1"], "{name}");
    }
    assert_eq!(zone.get("_80._tcp.store", SRV), ["0 1 80 a.portolan.internal."]);
    for name in ["b", "c", "tasks.c"] {
        assert_eq!(verdict(&zone.ask(name, A)), "NXDomain SOA", "{name}");
    }
    for name in ["2.0.0.10.in-addr.arpa.", "3.0.0.10.in-addr.arpa.", "example."] {
        assert_eq!(verdict(&zone.ask(name, PTR)), "Refused", "{name}");
    }
    let told: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.key, fault.message)).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    for part in ["`store`", "`shop.example.`", "`no..name`"] {
        let found = told.iter().find(|fault| fault.contains(part)).expect(part);
        assert!(found.starts_with("portolan.dns.names "), "{found}");
    }
}

#[test]
fn text_records_say_what_is_known() {
    let zone = zone([
        container("db-1", "10.0.0.1").compose("p", "db").alias("store"),
        container("db-2", "10.0.0.2").compose("p", "db").is(State::Starting),
    ]);
    let text = |name: &str| {
        let hickory_proto::rr::RData::TXT(txt) = &zone.ask(name, TXT).answers[0].data else {
            panic!("{name}")
        };
        txt.txt_data.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text("db"), ["service=db-p@docker", "ready=1", "replicas=2"]);
    for name in ["db-1", "store"] {
        assert_eq!(text(name), ["container=db-1", "service=db-p@docker", "state=ready", "reason=running"]);
    }
    assert_eq!(verdict(&zone.ask("ns", TXT)), "NoError SOA");
}

#[test]
fn a_reverse_name_exists_where_an_address_below_it_has_one() {
    let mut settings = settings();
    settings.options.reverse_zones = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()];
    let mut compiler = Compiler::new(&settings);
    let both = [container("a", "10.1.2.3").ipv6("fd00::1"), container("b", "192.0.2.1")];
    let (zone, _) = compiler.compile(&snapshot(both));
    for (name, expected) in [
        ("3.2.1.10.in-addr.arpa.", "NoError with answers"),
        ("4.2.1.10.in-addr.arpa.", "NXDomain SOA"),
        // RFC 8020 §2: what has nothing below it does not exist, so no address below it need be asked for.
        ("2.1.10.in-addr.arpa.", "NoError SOA"),
        ("1.10.in-addr.arpa.", "NoError SOA"),
        ("9.1.10.in-addr.arpa.", "NXDomain SOA"),
        ("2.10.in-addr.arpa.", "NXDomain SOA"),
        ("10.in-addr.arpa.", "NoError SOA"),
        ("0.0.0.0.d.f.ip6.arpa.", "NoError SOA"),
        ("1.0.0.0.d.f.ip6.arpa.", "NXDomain SOA"),
        // Outside of both, what stands alone says nothing of the names above it.
        ("1.2.0.192.in-addr.arpa.", "NoError with answers"),
        ("2.0.192.in-addr.arpa.", "Refused"),
    ] {
        assert_eq!(verdict(&zone.ask(name, PTR)), expected, "{name}");
    }
    let (zone, _) = compiler.compile(&snapshot([container("b", "192.0.2.1")]));
    assert_eq!(verdict(&zone.ask("2.1.10.in-addr.arpa.", PTR)), "NXDomain SOA", "it is gone with the last");
}

/// `cargo test -p portolan-dns --release -- --ignored --nocapture a_query_takes`
#[test]
#[ignore = "measures, with --release"]
fn a_query_takes_a_fraction_of_a_microsecond() {
    let (zone, _) = compile(
        &snapshot((0..10_000).map(|n| {
            let ip = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
            let name = format!("svc-{n}");
            container(&format!("shop-{name}-1"), &ip).compose("shop", &name).port(80, Some("http"))
        })),
        &settings(),
    );
    let query = crate::test_support::query("svc-77", A).to_vec().unwrap();
    let asker = crate::test_support::asker(crate::Transport::Udp);
    let mut reply = Vec::new();
    let begun = std::time::Instant::now();
    for _ in 0..1_000_000 {
        reply.clear();
        crate::answer(&zone, &query, &asker, &mut reply);
    }
    println!("{} ns a query", begun.elapsed().as_nanos() / 1_000_000);
}
