//! Labels in Traefik's words, in Portolan's, or none: each container is reachable by HTTP as they say.

use std::collections::BTreeMap;

use crate::harness::{Container, ENTRY_POINT, Engine, Portolan, await_http, http};

/// Starts containers and Portolan, and waits until everything is ready.
fn start(containers: &[Container], flags: &[&str]) -> (Engine, Portolan) {
    let engine = Engine::start();
    for container in containers {
        engine.run(container);
    }
    for container in containers {
        engine.serving(container.name(), "bridge");
    }
    let portolan = Portolan::start(&engine, flags);
    for container in containers {
        portolan.await_state(container.name(), "ready");
    }
    (engine, portolan)
}

/// Who answers for a host and a path; the status where nobody does.
fn who(host: &str, path: &str) -> String {
    let answer = http::get(ENTRY_POINT, host, path).expect("an answer");
    if answer.status == 200 { answer.text().trim_end().to_owned() } else { answer.status.to_string() }
}

#[test]
fn without_labels_a_container_is_found_by_its_name() {
    let (_engine, _portolan) = start(&[Container::new("web"), Container::new("my_app.v2")], &[]);
    for (host, expected) in [
        ("web", "web"),
        ("WEB", "web"),
        ("web.localhost", "web"),
        ("web.localhost:8000", "web"),
        // Traefik's `normalize`: whatever is neither letter nor digit becomes a dash.
        ("my-app-v2", "my_app.v2"),
        ("my-app-v2.localhost", "my_app.v2"),
        ("web.other", "404"),
        ("nobody", "404"),
    ] {
        assert_eq!(who(host, "/"), expected, "{host}");
    }
}

#[test]
fn traefiks_labels_work_unchanged_and_portolans_in_their_place() {
    let (_engine, portolan) = start(
        &[
            Container::new("shop")
                .label("traefik.enable", "true")
                .label("traefik.http.routers.shop.rule", "Host(`shop.test`) && PathPrefix(`/buy`)")
                .label("traefik.http.routers.shop.entrypoints", "web"),
            Container::new("blog")
                .label("portolan.http.routers.blog.rule", "Host(`blog.test`) || Host(`news.test`)"),
            Container::new("not").label("portolan.http.routers.not.rule", "Host(`not.test`) && !Path(`/secret`)"),
            // On port 81 it says so; the label names that port.
            Container::new("api")
                .script(
                    "sed 's/^}/server { listen 81; return 200 \"port 81\"; } }/' /etc/nginx/nginx.conf >/conf && \
                     exec nginx -c /conf",
                )
                .label("traefik.http.routers.api.rule", "Host(`api.test`)")
                .label("traefik.http.services.api.loadbalancer.server.port", "81"),
            Container::new("hidden").label("traefik.enable", "false"),
        ],
        &[],
    );
    for (host, path, expected) in [
        ("shop.test", "/buy", "shop"),
        ("shop.test", "/buy/now", "shop"),
        ("shop.test", "/", "404"),
        ("shop", "/", "404"),
        ("blog.test", "/", "blog"),
        ("news.test", "/any", "blog"),
        ("not.test", "/", "not"),
        ("not.test", "/secret", "404"),
        ("api.test", "/", "port 81"),
        ("hidden", "/", "404"),
    ] {
        assert_eq!(who(host, path), expected, "{host}{path}");
    }
    portolan.await_no_fault();
}

#[test]
fn nothing_is_exposed_unless_it_says_so_where_the_operator_wants_that() {
    let (_engine, _portolan) = start(
        &[Container::new("silent"), Container::new("asks").label("traefik.enable", "true")],
        &["--exposed-by-default=false"],
    );
    assert_eq!(who("asks", "/"), "asks");
    assert_eq!(who("silent", "/"), "404");
}

/// As `docker compose up --scale web=2` labels them.
#[test]
fn composes_replicas_are_one_service() {
    let replica = |number: &str| {
        Container::new(&format!("shop-web-{number}"))
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", "web")
            .label("com.docker.compose.container-number", number)
            .label("com.docker.compose.oneoff", "False")
    };
    let (_engine, portolan) = start(&[replica("1"), replica("2")], &[]);
    assert_eq!(portolan.await_state("shop-web-1", "ready").service, "web-shop@docker");
    for host in ["web-shop", "web-shop.localhost"] {
        let mut answers = BTreeMap::new();
        for _ in 0..10 {
            *answers.entry(who(host, "/")).or_insert(0) += 1;
        }
        let even = BTreeMap::from(["shop-web-1", "shop-web-2"].map(|name| (name.to_owned(), 5)));
        assert_eq!(answers, even, "{host}: request by request");
    }
}

#[test]
fn the_longer_rule_goes_first_unless_a_priority_says_otherwise() {
    let rule = |name: &str, rule: &str| {
        Container::new(name).label(&format!("traefik.http.routers.{name}.rule"), rule)
    };
    let (_engine, _portolan) = start(
        &[
            rule("site", "Host(`a.test`)"),
            rule("part", "Host(`a.test`) && PathPrefix(`/part`)"),
            rule("low", "Host(`b.test`) && PathPrefix(`/part`)")
                .label("traefik.http.routers.low.priority", "1"),
            rule("high", "Host(`b.test`)").label("traefik.http.routers.high.priority", "100"),
        ],
        &[],
    );
    for (host, path, expected) in [
        ("a.test", "/", "site"),
        ("a.test", "/part/x", "part"),
        ("b.test", "/part/x", "high"),
        ("b.test", "/", "high"),
    ] {
        assert_eq!(who(host, path), expected, "{host}{path}");
    }
}

#[test]
fn a_bad_label_costs_its_router_and_is_reported_by_its_name() {
    let (engine, portolan) = start(
        &[
            Container::new("web")
                .label("traefik.http.routers.good.rule", "Host(`good.test`)")
                .label("traefik.http.routers.bad.rule", "Hots(`bad.test`)"),
            Container::new("elsewhere")
                .label("portolan.http.routers.elsewhere.rule", "Host(`elsewhere.test`)")
                .label("portolan.http.routers.elsewhere.entrypoints", "websecure"),
        ],
        &[],
    );
    assert_eq!(who("good.test", "/"), "web");
    assert_eq!(who("bad.test", "/"), "404");
    assert_eq!(who("elsewhere.test", "/"), "404");

    let fault = portolan.await_fault("web");
    assert_eq!(fault.label, "traefik.http.routers.bad.rule");
    assert!(fault.message.contains("Hots"), "{fault:?}");
    let fault = portolan.await_fault("elsewhere");
    assert_eq!(fault.label, "http.routers.elsewhere.entrypoints");
    assert!(fault.message.contains("websecure") && fault.message.contains("known are web"), "{fault:?}");
    for label in ["traefik.http.routers.bad.rule", "http.routers.elsewhere.entrypoints"] {
        assert!(portolan.logs().contains(label), "{}", portolan.logs());
    }
    engine.docker(&["rm", "--force", "web", "elsewhere"]);
    portolan.await_no_fault();
}

/// 404: nobody ever said they would answer. 503: somebody did, and can't now.
#[test]
fn a_service_without_a_ready_replica_answers_503_with_the_reason() {
    let replica = |name: &str| Container::new(name).label("portolan.service", "web");
    let (engine, portolan) =
        start(&[replica("web-1"), replica("web-2").health("test ! -f /ill"), replica("web-3")], &[]);
    engine.docker(&["stop", "web-1"]);
    engine.exec("web-2", &["touch", "/ill"]);
    portolan.await_state("web-1", "stopped");
    portolan.await_state("web-2", "unhealthy");
    assert_eq!(who("web", "/"), "web-3");
    engine.docker(&["pause", "web-3"]);
    portolan.await_state("web-3", "paused");
    let refusal = await_http("web", 503).text();
    assert_eq!(refusal, "no available server: 3 endpoints: 1 stopped, 1 unhealthy, 1 paused\n");
    assert_eq!(await_http("nobody", 404).text(), "404 page not found\n");
    engine.docker(&["start", "web-1"]);
    assert_eq!(await_http("web", 200).text(), "web-1\n");
}

#[test]
fn requests_rotate_over_the_replicas_on_one_connection() {
    let replica = |name: &str| Container::new(name).label("portolan.service", "web");
    let (_engine, _portolan) = start(&[replica("web-1"), replica("web-2")], &[]);
    let mut connection = http::Connection::open(ENTRY_POINT).expect("a connection");
    let answers: Vec<String> =
        (0..4).map(|_| connection.get("web", "/").expect("an answer").text().trim_end().to_owned()).collect();
    assert_eq!(answers[..2], answers[2..], "{answers:?}");
    assert_ne!(answers[0], answers[1], "{answers:?}");
}
