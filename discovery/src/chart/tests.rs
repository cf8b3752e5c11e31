//! What a set of instances becomes on the chart.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use portolan_config::Labels;
use portolan_config::rule::RequestView;

use super::*;
use crate::instance::{Instance, InstanceId, NetworkAddress, Port, ServiceKey, State};
use crate::provider::ProviderName;

/// An instance called `name`, running at 10.0.0.`host`, exposing port 80; the higher `host`, the younger.
fn instance(name: &str, host: u8, labels: &[(&str, &str)]) -> Instance {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let service = match (labels.get("com.docker.compose.project"), labels.get("com.docker.compose.service")) {
        (Some(project), Some(service)) => {
            ServiceKey::Compose { project: project.clone(), service: service.clone() }
        }
        _ => labels.get("portolan.service").map_or_else(
            || ServiceKey::Container(name.to_owned()),
            |service| ServiceKey::Label(service.clone()),
        ),
    };
    Instance {
        id: InstanceId::new(&format!("{name}-0123456789ab")),
        name: name.to_owned(),
        service,
        labels,
        networks: vec![network("front", host)],
        ports: vec![Port { number: 80, protocol: Protocol::Tcp }],
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state: State::Ready,
        reason: "running".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(host.into()),
    }
}

fn network(name: &str, host: u8) -> NetworkAddress {
    NetworkAddress {
        network: name.to_owned(),
        endpoint_id: format!("attachment-{name}-{host}"),
        ipv4: Some(Ipv4Addr::new(10, 0, 0, host)),
        ipv6: None,
        aliases: Vec::new(),
        reached: true,
    }
}

fn chart_under(policy: &Policy, instances: Vec<Instance>) -> Chart {
    let provider = ProviderName::new("docker");
    let sketch = |instance: Instance| {
        let labels = Arc::new(Labels::decode(&instance.labels));
        Sketch::new(&provider, Arc::new(instance), labels, policy)
    };
    let sketches: Vec<Sketch> = instances.into_iter().map(sketch).collect();
    let there = draw(sketches.iter(), std::iter::empty(), policy, &Chart::default());
    let back = draw(sketches.iter().rev(), std::iter::empty(), policy, &Chart::default());
    assert_eq!(format!("{there:?}"), format!("{back:?}"), "the order of observation must not matter");
    there
}

fn chart(instances: Vec<Instance>) -> Chart {
    chart_under(&Policy { exposed_by_default: true, ..Policy::default() }, instances)
}

fn shown(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unlabelled_container_is_a_service_with_traefiks_default_router() {
    let chart = chart(vec![instance("who_am.i", 1, &[])]);
    assert_eq!(chart.faults, []);
    assert_eq!(chart.services[0].name, "who-am-i@docker");
    let router = &chart.routers[0];
    assert_eq!((router.name.as_str(), router.upstream.as_str()), ("who-am-i@docker", "who-am-i@docker"));
    assert_eq!(router.priority, "Host(`who-am-i`)".len() as i64);
    assert!(router.rule.matches(&RequestView::get("who-am-i", "/")));
    assert!(router.rule.matches(&RequestView::get("who-am-i.localhost", "/")));
    assert_eq!(chart.upstreams[0].targets[0].port, 80);
}

#[test]
fn replicas_share_one_service_by_compose_and_by_label() {
    let compose = [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")];
    let drawn = chart(vec![
        instance("shop-web-1", 1, &compose),
        instance("shop-web-2", 2, &compose),
        instance("a", 3, &[("portolan.service", "api")]),
        instance("b", 4, &[("portolan.service", "api")]),
    ]);
    let services: Vec<(&str, usize)> =
        drawn.services.iter().map(|service| (service.name.as_str(), service.endpoints.len())).collect();
    assert_eq!(services, [("api@docker", 2), ("web-shop@docker", 2)]);
    assert_eq!(drawn.upstreams.iter().map(|upstream| upstream.targets.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(drawn.routers.len(), 2);
}

#[test]
fn a_container_that_is_not_exposed_is_known_but_not_routed() {
    let policy = Policy::default();
    let chart = chart_under(
        &policy,
        vec![instance("hidden", 1, &[]), instance("shown", 2, &[("traefik.enable", "true")])],
    );
    assert_eq!(chart.services.len(), 2);
    assert_eq!(chart.routers.iter().map(|router| router.name.as_str()).collect::<Vec<_>>(), ["shown@docker"]);
}

#[test]
fn servers_are_reached_by_the_settings_unless_a_service_says_otherwise() {
    let usual = Arc::new(ServersTransport { insecure_skip_verify: true, ..ServersTransport::default() });
    let policy = Policy { exposed_by_default: true, transport: usual.clone(), ..Policy::default() };
    let own = [
        ("traefik.http.services.b.loadbalancer.serverstransport", "own"),
        ("portolan.http.serverstransports.own.servername", "b.test"),
    ];
    let chart = chart_under(&policy, vec![instance("a", 1, &[]), instance("b", 2, &own)]);
    assert_eq!(chart.faults, []);
    let of = |name: &str| &chart.upstreams.iter().find(|upstream| upstream.name == name).unwrap().transport;
    assert_eq!(*of("a@docker"), usual);
    assert_eq!(of("b@docker").server_name.as_deref(), Some("b.test"));
    assert!(!of("b@docker").insecure_skip_verify);
}

#[test]
fn a_published_port_leads_to_every_replica_of_the_service() {
    let labels = [("portolan.service", "nginx"), ("portolan.publish", "8080:80")];
    let chart = chart(vec![
        instance("a", 1, &labels),
        instance("b", 2, &labels),
        instance("c", 3, &[("portolan.service", "nginx")]),
    ]);
    assert_eq!(chart.faults, []);
    assert_eq!(chart.publications.len(), 1);
    let upstream = chart.upstreams.iter().find(|upstream| upstream.name == "nginx:80/tcp@docker").unwrap();
    assert_eq!(upstream.targets.len(), 3);
}

#[test]
fn a_port_that_somebody_has_is_a_fault_that_names_both() {
    let policy = Policy {
        exposed_by_default: true,
        reserved: vec![Reserved {
            name: "entry point web".to_owned(),
            address: ":8000".parse().unwrap(),
            protocol: Protocol::Tcp,
        }],
        ..Policy::default()
    };
    let chart = chart_under(
        &policy,
        vec![
            instance("first", 1, &[("portolan.publish", "8080:80")]),
            instance("second", 2, &[("portolan.publish", "8080:80, 8000:80, 8080:80/udp")]),
        ],
    );
    assert_eq!(
        shown(&chart.faults),
        [
            "container second: portolan.publish: host port 8000/tcp is already taken by entry point web (:8000)",
            "container second: portolan.publish: host port 8080/tcp is already taken by service first@docker \
             (container first, 8080:80/tcp)",
        ]
    );
    assert_eq!(chart.publications.len(), 2);
}

#[test]
fn a_stopped_container_gives_its_port_up_to_a_running_one() {
    let mut old = instance("old", 1, &[("portolan.publish", "8080:80")]);
    old.state = State::Stopped;
    old.networks.clear();
    let chart = chart(vec![old, instance("new", 2, &[("portolan.publish", "8080:80")])]);
    assert_eq!(chart.faults, []);
    assert_eq!(chart.publications[0].service, "new@docker");
}

#[test]
fn a_stopped_container_keeps_its_router_so_that_it_answers_503_and_not_404() {
    let mut stopped = instance("web", 1, &[]);
    stopped.state = State::Stopped;
    stopped.networks.clear();
    let chart = chart(vec![stopped]);
    assert_eq!(chart.routers.len(), 1);
    assert_eq!(chart.upstreams[0].targets.len(), 1);
    assert!(!chart.upstreams[0].targets[0].endpoint.is_available());
}

#[test]
fn one_bad_label_costs_its_router_and_nothing_else() {
    let chart = chart(vec![instance(
        "web",
        1,
        &[
            ("traefik.http.routers.good.rule", "Host(`good.test`)"),
            ("traefik.http.routers.bad.rule", "Host(`bad.test`"),
            ("traefik.http.routers.lost.rule", "Host(`lost.test`)"),
            ("traefik.http.routers.lost.service", "nowhere"),
        ],
    )]);
    assert_eq!(chart.routers.iter().map(|router| router.name.as_str()).collect::<Vec<_>>(), ["good@docker"]);
    let faults = shown(&chart.faults);
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(
        faults[0].contains("http.routers.lost.service: there is no service `nowhere@docker`"),
        "{faults:#?}"
    );
    assert!(faults[1].contains("traefik.http.routers.bad.rule"), "{faults:#?}");
}

#[test]
fn two_containers_that_disagree_about_a_router_are_both_named() {
    let chart = chart(vec![
        instance("elder", 1, &[("traefik.http.routers.r.rule", "Host(`a.test`)")]),
        instance("younger", 2, &[("traefik.http.routers.r.rule", "Host(`b.test`)")]),
    ]);
    assert!(chart.routers[0].rule.matches(&RequestView::get("a.test", "/")));
    assert_eq!(
        shown(&chart.faults),
        [
            "container younger: http.routers.r: container elder says otherwise under the same name, and keeps it"
        ]
    );
}

#[test]
fn the_same_fault_of_many_replicas_is_told_once() {
    let labels = [("portolan.service", "web"), ("traefik.http.routers.r.rule", "nonsense")];
    let chart =
        chart((1..=10).map(|number| instance(&format!("web-{number:02}"), number, &labels)).collect());
    assert_eq!(chart.faults.len(), 1);
    assert_eq!(chart.faults[0].origin, "container web-01 and 9 more");
}

#[test]
fn the_network_that_a_label_names_is_used_and_a_missing_one_is_said() {
    let mut both = instance("both", 1, &[("traefik.docker.network", "back")]);
    both.networks.push(network("back", 77));
    let lost = instance("lost", 2, &[("traefik.docker.network", "ront")]);
    let chart = chart(vec![both, lost]);
    assert_eq!(chart.services[0].endpoints[0].ipv4, Some(Ipv4Addr::new(10, 0, 0, 77)));
    assert_eq!(chart.services[1].endpoints[0].ipv4, Some(Ipv4Addr::new(10, 0, 0, 2)));
    assert!(shown(&chart.faults)[0].contains("not attached to a network `ront`, only to front"));
}

#[test]
fn ports_are_offered_by_name_where_they_have_one() {
    let labels = [("portolan.port.metrics", "9100"), ("portolan.publish", "53:5353/udp")];
    let chart = chart(vec![instance("web", 1, &labels)]);
    let offered: Vec<(u16, Option<&str>)> =
        chart.services[0].endpoints[0].ports.iter().map(|port| (port.number, port.name.as_deref())).collect();
    assert_eq!(offered, [(80, Some("http")), (5353, None), (9100, Some("metrics"))]);
}

#[test]
fn what_did_not_change_is_the_same_part_of_the_next_chart() {
    let provider = ProviderName::new("docker");
    let policy = Policy { exposed_by_default: true, ..Policy::default() };
    let sketch = |instance: Instance| Sketch::new(&provider, Arc::new(instance), Arc::default(), &policy);
    let mut sketches = vec![sketch(instance("a1", 1, &[])), sketch(instance("b1", 2, &[]))];
    let first = draw(sketches.iter(), std::iter::empty(), &policy, &Chart::default());
    let mut changed = instance("b1", 2, &[]);
    changed.state = State::Draining;
    sketches[1] = sketch(changed);
    sketches.push(sketch(instance("a0", 3, &[])));
    let second = draw(sketches.iter(), std::iter::empty(), &policy, &first);
    let names: Vec<&str> = second.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    assert_eq!(names, ["a0@docker", "a1@docker", "b1@docker"]);
    assert!(Arc::ptr_eq(&first.upstreams[0], &second.upstreams[1]));
    assert!(Arc::ptr_eq(&first.services[0], &second.services[1]));
    assert!(!Arc::ptr_eq(&first.upstreams[1], &second.upstreams[2]));
    assert_eq!(second.upstreams[2].targets[0].endpoint.state, State::Draining);
}

fn asked(chart: &Chart) -> Vec<(&str, String)> {
    chart.routers.iter().map(|router| (router.name.as_str(), router.rule.to_string())).collect()
}

#[test]
fn the_operators_default_rule_is_carried_out_for_each_container() {
    let template = |text: &str| Policy {
        exposed_by_default: true,
        default_rule: Some(Arc::new(portolan_config::Template::parse(text).unwrap())),
        ..Policy::default()
    };
    let compose =
        [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web"), ("stage", "beta")];
    let policy = template("Host(`{{ normalize .Name }}.{{ index .Labels \"stage\" }}.test`)");
    let chart = chart_under(&policy, vec![instance("shop-web-1", 1, &compose)]);
    assert_eq!(asked(&chart), [("web-shop@docker", "Host(`web-shop.beta.test`)".to_owned())]);
    assert_eq!(chart.routers[0].priority, "Host(`web-shop.beta.test`)".len() as i64);
    let chart = chart_under(&template("Host(`{{ .Labels.stage }}`)"), vec![instance("a", 1, &[])]);
    assert_eq!(asked(&chart), []);
    let shown = shown(&chart.faults);
    assert!(
        shown[0].contains("defaultRule: `Host(`{{ .Labels.stage }}`)`: it gives `Host(``)`"),
        "{shown:#?}"
    );
}

#[test]
fn constraints_leave_out_whom_they_do_not_hold_for() {
    let policy = Policy {
        exposed_by_default: true,
        constraints: Some(Arc::new(portolan_config::Constraints::parse("Label(`tier`, `front`)").unwrap())),
        ..Policy::default()
    };
    let chart = chart_under(
        &policy,
        vec![instance("a", 1, &[("tier", "front")]), instance("b", 2, &[("tier", "back")])],
    );
    assert_eq!(chart.routers.iter().map(|router| router.name.as_str()).collect::<Vec<_>>(), ["a@docker"]);
}

#[test]
fn a_port_bound_to_an_address_of_the_host_is_reached_there_if_that_is_asked_for() {
    let mut bound = instance("web", 1, &[]);
    let port = Port { number: 80, protocol: Protocol::Tcp };
    let at = |ip: [u8; 4], host_port| crate::Binding { port: port.clone(), ip: Some(ip.into()), host_port };
    bound.bindings = vec![at([0, 0, 0, 0], 8080), at([192, 168, 0, 7], 8081)];
    for (asked, expected) in [(true, "192.168.0.7:8081"), (false, "10.0.0.1:80")] {
        let policy = Policy { exposed_by_default: true, use_bind_port_ip: asked, ..Policy::default() };
        let chart = chart_under(&policy, vec![bound.clone()]);
        let target = &chart.upstreams[0].targets[0];
        let address = target.endpoint.address().unwrap();
        assert_eq!(format!("{address}:{}", target.port), expected);
    }
}

#[test]
fn a_url_in_a_label_stands_for_scheme_address_and_port() {
    let url = ("traefik.http.services.s.loadbalancer.server.url", "https://192.168.0.9:8443");
    let drawn = chart(vec![instance("web", 1, &[url])]);
    let target = &drawn.upstreams[0].targets[0];
    assert_eq!((target.scheme, target.port), (portolan_config::tls::Scheme::Https, 8443));
    assert_eq!(target.endpoint.address().unwrap().to_string(), "192.168.0.9");
    let both =
        chart(vec![instance("web", 1, &[url, ("traefik.http.services.s.loadbalancer.server.port", "80")])]);
    let faults = shown(&both.faults);
    assert!(faults.iter().any(|fault| fault.contains("`url` says scheme and port already")), "{faults:?}");
}

#[test]
fn an_environment_in_nginx_proxys_words_makes_a_router_where_that_is_switched_on() {
    let mut web = instance("web", 1, &[]);
    web.virtual_host = BTreeMap::from([
        ("VIRTUAL_HOST".to_owned(), "shop.test".to_owned()),
        ("VIRTUAL_PORT".to_owned(), "8080".to_owned()),
        ("VIRTUAL_DEST".to_owned(), "/".to_owned()),
    ]);
    let on = Policy { exposed_by_default: true, virtual_hosts: true, ..Policy::default() };
    let drawn = chart_under(&on, vec![web.clone()]);
    assert_eq!(asked(&drawn), [("web@docker", "Host(`shop.test`)".to_owned())]);
    assert_eq!(drawn.upstreams[0].targets[0].port, 8080);
    assert!(shown(&drawn.faults)[0].contains("VIRTUAL_DEST"), "{:?}", drawn.faults);
    let off = chart(vec![web]);
    assert_eq!(off.upstreams[0].targets[0].port, 80);
}
