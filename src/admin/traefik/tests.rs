//! How lists are asked for, what faults do to them, and what is not shown. Needs no chart.

use portolan_config::Fault;
use serde_json::{Value, json};

use super::page::Query;
use super::{faults, spelling};

fn three() -> Vec<Value> {
    vec![
        json!({ "name": "a@file", "provider": "file", "status": "enabled", "service": "x", "rule": "Host(`one.test`)" }),
        json!({ "name": "b@file", "provider": "file", "status": "disabled", "middlewares": ["m@file"] }),
        json!({ "name": "c@docker", "provider": "docker", "status": "enabled", "service": "x@file" }),
    ]
}

fn names(query: &str) -> Result<(String, usize), String> {
    let (page, next) = Query::read(query)?.page(three())?;
    let names: Vec<&str> = page.iter().filter_map(|item| item["name"].as_str()).collect();
    Ok((names.join(" "), next))
}

#[test]
fn a_query_chooses_and_pages() {
    for (query, expected, next) in [
        ("", "a@file b@file c@docker", 1),
        ("per_page=2", "a@file b@file", 2),
        ("per_page=2&page=2", "c@docker", 1),
        ("per_page=3", "a@file b@file c@docker", 1),
        ("direction=desc", "c@docker b@file a@file", 1),
        ("sortBy=provider&direction=asc", "c@docker a@file b@file", 1),
        ("sortBy=service", "b@file a@file c@docker", 1),
        ("search=DOCKER", "c@docker", 1),
        ("search=one.test", "a@file", 1),
        ("status=Disabled", "b@file", 1),
        ("serviceName=x%40file", "a@file c@docker", 1),
        ("middlewareName=m@file", "b@file", 1),
        ("search=nothing", "", 1),
    ] {
        assert_eq!(names(query), Ok((expected.to_owned(), next)), "{query}");
    }
    for (query, expected) in [
        ("page=0", "page: 0"),
        ("page=-1", "page: -1"),
        ("per_page=x", "per_page: 0"),
        ("page=2", "page: 2, per_page: 100"),
        ("page=9223372036854775807", "page: 9223372036854775807, per_page: 100"),
    ] {
        assert_eq!(names(query), Err(format!("invalid request: {expected}")), "{query}");
    }
}

#[test]
fn a_fault_warns_of_what_is_there_and_shows_what_is_not() {
    let mut items = three();
    let told = [
        Fault::new("/etc/a.yml:3", "http.routers.a.priority", "too high"),
        Fault::new("container web-1", "traefik.http.routers.gone.rule", "no rule"),
        Fault::new("/etc/a.yml:9", "http.services.a.loadBalancer", "of another kind"),
        Fault::new("flag", "é", "of nothing"),
    ];
    faults::tell(&mut items, &told, "http", "routers");
    assert_eq!((&items[0]["status"], &items[0]["error"]), (&json!("warning"), &json!(["too high"])));
    assert_eq!((&items[2]["status"], &items[2]["error"]), (&json!("enabled"), &Value::Null));
    let gone =
        json!({ "name": "gone@docker", "provider": "docker", "status": "disabled", "error": ["no rule"] });
    assert_eq!(items[3..], [gone]);
}

#[test]
fn what_is_not_set_and_what_is_secret_is_not_shown() {
    let written = json!({
        "a": null, "b": [], "c": "", "d": {}, "e": false, "f": 0, "g": "0s", "realm": "traefik",
        "passHostHeader": false, "services": [{ "name": "b@file", "weight": 0 }], "statusRewrites": {},
        "users": ["joe:$2y$05$secret"], "redis": { "password": "secret" },
        "customRequestHeaders": { "X-Gone": "" },
    });
    let shown = json!({
        "d": {}, "passHostHeader": false, "services": [{ "name": "b@file", "weight": 0 }],
        "users": ["joe:xxxx"], "redis": { "password": "xxxx" },
        "customRequestHeaders": { "X-Gone": "" },
    });
    let mut found = spelling::as_traefik(written);
    assert_eq!(found, shown);
    spelling::without_provider(&mut found, "file");
    assert_eq!(found["services"], json!([{ "name": "b", "weight": 0 }]));
    let mut of_another = shown;
    spelling::without_provider(&mut of_another, "docker");
    assert_eq!(of_another["services"], json!([{ "name": "b@file", "weight": 0 }]));
}
