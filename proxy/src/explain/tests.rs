//! Who takes a request, why the others do not, and what is answered where nobody does.

use std::sync::Arc;

use portolan_config::dynamic::middleware::{AddPrefix, Chain, Middleware, RedirectScheme};
use portolan_config::rule::Rule;
use portolan_config::settings::EntryPoint;
use portolan_config::tls::RouterTls;
use portolan_discovery::{Router, Upstream};

use super::*;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// `web` on :8000 and `other` on :8001, with these routers to a service without endpoints.
fn explained(routers: Vec<Router>, faults: &[Fault], ask: &Ask) -> Result<Explanation, String> {
    let entry_points = [("web", 8000), ("other", 8001)]
        .map(|(name, port)| EntryPoint::plain(name, format!("127.0.0.1:{port}").parse().unwrap()));
    explained_at(&entry_points, routers, faults, ask)
}

fn explained_at(
    entry_points: &[EntryPoint],
    routers: Vec<Router>,
    faults: &[Fault],
    ask: &Ask,
) -> Result<Explanation, String> {
    let mut snapshot = Snapshot::default();
    snapshot.upstreams.push(Arc::new(Upstream::new("app@test".to_owned(), Vec::new())));
    let prefix = Middleware::AddPrefix(AddPrefix { prefix: "/x".to_owned() });
    let to_https = RedirectScheme { scheme: "https".to_owned(), ..RedirectScheme::default() };
    let chain = Chain { middlewares: vec!["m@test".to_owned(), "away@test".to_owned()] };
    let middlewares = [
        ("m@test", prefix),
        ("away@test", Middleware::RedirectScheme(to_https)),
        ("chain@test", Middleware::Chain(chain)),
    ];
    let middlewares = middlewares.map(|(name, written)| (name.to_owned(), Arc::new(written)));
    snapshot.middlewares = Arc::new(middlewares.into());
    snapshot.routers = routers.into_iter().map(Arc::new).collect();
    let ledger = Ledger::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    let (table, _) = crate::table::compile(&snapshot, entry_points, &ledger);
    let known = Known { table: &table, snapshot: &snapshot, entry_points, faults };
    explain(known, ask)
}

fn router(name: &str, rule: &str, priority: i64) -> Router {
    Router {
        priority,
        origin: "a test".to_owned(),
        ..Router::new(name, Rule::parse(rule).unwrap(), "app@test")
    }
}

fn ask(url: &str) -> Ask {
    Ask::new("GET", url, &["X-A: 1".to_owned()]).expect(url)
}

#[test]
fn the_winner_is_named_and_each_loser_with_what_is_against_it() {
    let routers = vec![
        Router { middlewares: vec!["m@test".to_owned()], ..router("wins", "Host(`a.test`)", 50) },
        router("lower", "PathPrefix(`/x`) && Header(`X-A`, `1`)", 10),
        router("equal", "Path(`/x`)", 50),
        router("host", "Host(`b.test`) && (Path(`/y`) || Method(`POST`))", 99),
        Router { entry_points: vec!["other".to_owned()], ..router("there", "Host(`a.test`)", 99) },
        Router { tls: Some(RouterTls::default()), ..router("tls", "Host(`a.test`)", 99) },
        Router { middlewares: vec!["gone@test".to_owned()], ..router("out", "Host(`a.test`)", 99) },
    ];
    let faults = [
        Fault::new("a test", "http.routers.out.middlewares", "no such middleware"),
        Fault::new("container c", "traefik.http.routers.typo.rule", "no rule"),
        Fault::new("container c", "traefik.http.services.typo.x", "no router"),
    ];
    let explained = explained(routers, &faults, &ask("http://A.test:8000/b/../x?y=z")).expect("an answer");
    assert_eq!(explained.entry_point.as_deref(), Some("web"));
    assert_eq!((explained.request.host.as_str(), explained.request.path.as_str()), ("a.test", "/x"));
    let does = "the path becomes /x/".to_owned();
    let through = Through { name: "m@test".to_owned(), kind: "addPrefix", of: "router", does };
    // `equal` comes before `wins` by its name: the table decides, not the order here.
    let won = explained.router.expect("a router");
    assert_eq!(won.name, "equal");
    assert_eq!(explained.middlewares, []);
    assert_eq!((explained.is_served, explained.refusal.as_deref()), (false, Some("503 no_endpoint")));
    let losers: Vec<(&str, String)> =
        explained.losers.iter().map(|loser| (loser.name.as_str(), loser.why.join("; "))).collect();
    let expected = [
        ("lower", "its rule holds, and its priority is below 50"),
        ("out", "it is left out: no such middleware"),
        ("there", "it is on other only"),
        ("tls", "it takes only what comes by TLS"),
        ("typo", "it is left out: container c: no rule"),
        ("wins", "its rule holds; it has the same priority as equal, whose name comes first"),
        ("host", "Host(`b.test`) does not hold; Path(`/y`) || Method(`POST`) does not hold"),
    ];
    assert_eq!(losers, expected.map(|(name, why)| (name, why.to_owned())));

    let alone = Router { middlewares: vec!["m@test".to_owned()], ..router("alone", "Host(`a.test`)", 1) };
    let explained = self::explained(vec![alone], &[], &ask("a.test:8000")).expect("an answer");
    assert_eq!(explained.middlewares, [through]);
}

#[test]
fn the_port_says_which_entry_point_is_asked() {
    let there =
        || vec![Router { entry_points: vec!["other".to_owned()], ..router("there", "Host(`a.test`)", 9) }];
    let at = |url: &str| explained(there(), &[], &ask(url)).map(|found| (found.entry_point, found.refusal));
    let web = Some("web".to_owned());
    let other = Some("other".to_owned());
    assert_eq!(at("http://a.test:8000"), Ok((web.clone(), Some("404 no_route".to_owned()))));
    assert_eq!(at("http://a.test:8001"), Ok((other.clone(), Some("503 no_endpoint".to_owned()))));
    // Nobody listens on port 80: perhaps somebody else sends it on from there.
    let anywhere = explained(there(), &[], &ask("http://a.test")).expect("an answer");
    assert_eq!(anywhere.entry_point, other);
    assert!(anywhere.note.is_some_and(|note| note.contains("port 80")));
    let chosen = explained(there(), &[], &ask("http://a.test").on(web.clone())).expect("an answer");
    assert_eq!((chosen.entry_point, chosen.refusal.as_deref()), (web, Some("404 no_route")));
    for (ask, expected) in [
        (ask("http://a.test:81"), "nothing listens on port 81: entry points are web (127.0.0.1:8000), other"),
        (ask("a.test").on(Some("gone".to_owned())), "there is no entry point `gone`"),
    ] {
        let error = explained(there(), &[], &ask).expect_err(expected);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_would_be_refused_before_it_is_routed_is_said() {
    let twice =
        Ask::new("GET", "a.test:8000", &["Content-Length: 1".to_owned(), "Content-Length: 2".to_owned()]);
    let explained = explained(Vec::new(), &[], &twice.expect("a request")).expect("an answer");
    assert!(explained.refusal.is_some_and(|refusal| refusal.starts_with("400 bad_request: ")));
}

#[test]
fn an_entry_point_cleans_before_it_routes() {
    let mut web = EntryPoint::plain("web", "127.0.0.1:8000".parse().unwrap());
    web.cleaning.encoded.slash = false;
    web.cleaning.encode_query_semicolons = true;
    let routers = || vec![router("query", "Query(`a`, `1;b=2`)", 9), router("any", "PathPrefix(`/`)", 1)];
    let at = |url: &str| explained_at(&[web.clone()], routers(), &[], &ask(url)).expect("an answer");
    let refused = at("http://a.test:8000/a%2fb");
    assert_eq!((refused.router, refused.refusal.as_deref()), (None, Some("400 encoded_character")));
    let taken = at("http://a.test:8000/?a=1;b=2");
    assert_eq!(taken.request.query, "a=1%3Bb=2");
    assert_eq!(taken.router.map(|router| router.name).as_deref(), Some("query"));
}

#[test]
fn what_middlewares_would_do_is_told_up_to_the_one_that_answers() {
    let mut web = EntryPoint::plain("web", "127.0.0.1:8000".parse().unwrap());
    let through = |web: &EntryPoint, middlewares: &[&str]| {
        let middlewares = middlewares.iter().map(|&name| name.to_owned()).collect();
        let routers = vec![Router { middlewares, ..router("a", "Host(`a.test`)", 1) }];
        explained_at(std::slice::from_ref(web), routers, &[], &ask("a.test:8000/y?z")).expect("an answer")
    };
    let told = |explained: &Explanation| {
        let of = |through: &Through| format!("{} of {}: {}", through.name, through.of, through.does);
        explained.middlewares.iter().map(of).collect::<Vec<_>>()
    };
    let explained = through(&web, &["away@test", "m@test"]);
    assert_eq!(
        told(&explained),
        ["away@test of router: answers 302, to https://a.test/y?z", "m@test of router: is not reached"]
    );
    let location = Some("https://a.test/y?z".to_owned());
    assert_eq!(explained.answer, Some(Answered { status: 302, location }));
    // No endpoint is asked, so that none is missed.
    assert_eq!((explained.is_served, explained.refusal, explained.arrives), (true, None, None));

    web.middlewares = vec!["chain@test".to_owned()];
    let explained = through(&web, &[]);
    assert_eq!(
        told(&explained),
        [
            "m@test of entry point: the path becomes /x/y?z",
            "away@test of entry point: answers 302, to https://a.test/x/y?z"
        ]
    );
}
