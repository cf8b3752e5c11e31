//! What files become on the chart, alone and beside labels.

use portolan_config::Labels;
use portolan_config::dynamic::{Format, read_file};
use portolan_config::rule::RequestView;

use super::*;
use crate::chart::{Chart, Policy, Sketch, draw};

fn document(text: &str) -> Document {
    let dynamic = read_file("routes.yml", Format::Yaml, text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let addresses = BTreeMap::from([
        ("two.test".to_owned(), Ok(vec!["10.1.0.1".parse().unwrap(), "10.1.0.2".parse().unwrap()])),
        ("none.test".to_owned(), Err("`none.test` has no address".to_owned())),
    ]);
    Document::new(&ProviderName::new("file"), &Configured { dynamic, addresses, faults: Vec::new() })
}

fn container(name: &str, labels: &[(&str, &str)]) -> Sketch {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let read = Arc::new(Labels::decode(&labels));
    let instance = Instance {
        id: InstanceId::new(name),
        name: name.to_owned(),
        service: ServiceKey::Container(name.to_owned()),
        labels,
        networks: vec![NetworkAddress {
            network: "front".to_owned(),
            endpoint_id: "e".to_owned(),
            ipv4: Some([10, 0, 0, 1].into()),
            ipv6: None,
            aliases: Vec::new(),
            reached: true,
        }],
        ports: vec![Port { number: 80, protocol: Protocol::Tcp }],
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state: State::Ready,
        reason: "running".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH,
    };
    let policy = Policy { exposed_by_default: true, ..Policy::default() };
    Sketch::new(&ProviderName::new("docker"), Arc::new(instance), read, &policy)
}

fn chart(documents: &[Document], sketches: &[Sketch]) -> Chart {
    draw(sketches.iter(), documents.iter(), &Policy::default(), &Chart::default())
}

fn shown(chart: &Chart) -> Vec<String> {
    chart.faults.iter().map(ToString::to_string).collect()
}

const WEB: &str = "
http:
  routers:
    web:
      rule: Host(`web.test`) && Method(`GET`)
      service: web
  services:
    web:
      loadBalancer:
        servers:
          - url: http://10.0.0.9:8080
          - url: http://two.test
          - url: http://none.test:81
";

#[test]
fn a_file_names_servers_by_url() {
    let chart = chart(&[document(WEB)], &[]);
    assert_eq!(shown(&chart), [""; 0]);
    assert_eq!(chart.routers[0].name, "web@file");
    assert_eq!(chart.routers[0].priority, "Host(`web.test`) && Method(`GET`)".len() as i64);
    assert!(chart.routers[0].rule.matches(&RequestView::get("web.test", "/")));
    let targets = &chart.upstreams[0].targets;
    let places: Vec<String> = targets
        .iter()
        .map(|target| format!("{:?} {} {}", target.endpoint.address(), target.port, target.endpoint.state))
        .collect();
    assert_eq!(
        places,
        [
            "Some(10.0.0.9) 8080 ready",
            "None 81 starting",
            "Some(10.1.0.1) 80 ready",
            "Some(10.1.0.2) 80 ready"
        ]
    );
    assert_eq!(targets[1].endpoint.reason, "`none.test` has no address");
    assert_eq!(&*targets[2].host, "two.test");
}

#[test]
fn files_and_labels_name_each_others_things_with_their_provider() {
    let file = "
http:
  routers:
    there: {rule: Path(`/there`), service: app@docker}
    lost: {rule: Path(`/lost`), service: app}
";
    let labels = [
        ("traefik.http.routers.back.rule", "Path(`/back`)"),
        ("traefik.http.routers.back.service", "web@file"),
        ("traefik.http.services.app.loadbalancer.server.port", "80"),
    ];
    let chart = chart(&[document(WEB), document(file)], &[container("app", &labels)]);
    let routers: Vec<(&str, &str)> =
        chart.routers.iter().map(|router| (router.name.as_str(), router.upstream.as_str())).collect();
    assert_eq!(
        routers,
        [("back@docker", "web@file"), ("there@file", "app@docker"), ("web@file", "web@file")]
    );
    assert_eq!(
        shown(&chart),
        [
            "file routes.yml:5: http.routers.lost.service: there is no service `app@file`: did you mean `app@docker`?; \
          router `lost` is left out"
        ]
    );
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_costs_only_itself() {
    let file = WEB.to_owned()
        + "    bad:
      loadBalancer:
        servers:
          - url: 10.0.0.1:80
    typo:
      loadBalancer:
        server:
          - url: http://10.0.0.1
  router: {}
";
    let chart = chart(&[document(&file)], &[]);
    assert_eq!(chart.routers.len(), 1);
    let shown = shown(&chart);
    for expected in [
        "file routes.yml:14: http.services.bad.loadBalancer.servers[0].url: `10.0.0.1:80` is not a server's URL",
        "file routes.yml:20: http.services.typo.loadBalancer.server: there is no option `server`: did you mean \
         `servers`?",
        "file routes.yml:22: http.router: there is no option `router`: did you mean `routers`?",
    ] {
        assert!(shown.iter().any(|fault| fault.starts_with(expected)), "{expected}: {shown:#?}");
    }
}

#[test]
fn a_router_without_a_middleware_that_it_asks_for_is_not_served() {
    let file = WEB.to_owned()
        + "  middlewares:
    both: {chain: {middlewares: [missing]}}
    ring: {chain: {middlewares: [ring]}}
";
    for (middleware, expected) in [
        ("auth", "there is no middleware `auth@file`"),
        ("both", "there is no middleware `missing@file`"),
        ("ring", "chain `ring@file` leads back to itself"),
        ("auth@docker", "middleware `auth@docker` can't be used, for a fault of its own"),
    ] {
        let file =
            file.replace("service: web\n", &format!("service: web\n      middlewares: [{middleware}]\n"));
        let auth = container("app", &[("traefik.http.middlewares.auth.basicauth.realm", "x")]);
        let chart = chart(&[document(&file)], &[auth]);
        assert!(chart.routers.iter().all(|router| router.name != "web@file"), "{middleware}");
        let shown = shown(&chart);
        assert!(
            shown
                .iter()
                .any(|fault| fault.contains("http.routers.web.middlewares") && fault.contains(expected)),
            "{shown:#?}"
        );
    }
}
