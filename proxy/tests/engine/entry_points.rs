//! What an entry point does to all of its requests, whatever router takes them.

use portolan_config::settings::{Cleaning, Redirection, Underscores};

use crate::support::http2::Http2;
use crate::support::{Origin, World, ok};

/// The status and body of a GET.
async fn get(world: &World, path: &str, fields: &str) -> (u16, String) {
    ask(world, "a.test", path, fields).await
}

/// The same, of another host.
async fn ask(world: &World, host: &str, path: &str, fields: &str) -> (u16, String) {
    let mut client = world.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
    let answer = client.answer().await;
    (answer.status, answer.body)
}

async fn echo() -> Origin {
    Origin::answering(|seen| ok(seen.head.lines().next().unwrap_or_default())).await
}

#[tokio::test]
async fn an_entry_point_sends_everybody_elsewhere() {
    let origin = echo().await;
    let world = World::tuned(&[origin.at], |entry_point| {
        let (to, scheme) = ("websecure".to_owned(), "https".to_owned());
        entry_point.redirection =
            Some(Redirection { port: 8443, to, scheme, permanent: true, priority: i64::MAX - 1 });
        entry_point.forwarded.insecure = true;
    });
    let mut client = world.client().await;
    client.send("GET /x?y HTTP/1.1\r\nHost: any.test:80\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("location")), (301, Some("https://any.test:8443/x?y")));
    let answer = Http2::connect(world.http).await.get("http://any.test/").await;
    assert_eq!((answer.status, answer.fields["location"].as_bytes()), (301, &b"https://any.test:8443/"[..]));
    // Where it is already, there is nothing more to do.
    let fields = "Host: a.test:8443\r\nX-Forwarded-Proto: https\r\n";
    client.send(format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
    assert_eq!(client.answer().await.status, 418);
}

#[tokio::test]
async fn a_router_may_come_before_the_redirection() {
    let origin = echo().await;
    let world = World::tuned(&[origin.at], |entry_point| {
        let (to, scheme) = (":443".to_owned(), "https".to_owned());
        entry_point.redirection = Some(Redirection { port: 443, to, scheme, permanent: false, priority: 1 });
    });
    assert_eq!(get(&world, "/", "").await.0, 200);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("location")), (302, Some("https://b.test/")));
}

#[tokio::test]
async fn middlewares_of_an_entry_point_come_first_and_their_lack_closes_it() {
    let origin = echo().await;
    let mut world = World::tuned(&[origin.at], |entry_point| {
        entry_point.middlewares = vec!["all@test".to_owned()];
    });
    assert_eq!(get(&world, "/", "").await.0, 404);
    world.define("all", "chain: {middlewares: [one@test, two@test]}");
    world.define("one", "addPrefix: {prefix: /one}");
    world.define("two", "addPrefix: {prefix: /two}");
    world.define("own", "addPrefix: {prefix: /own}");
    assert!(world.route_through("b.test", &["own"]).is_empty());
    assert_eq!(get(&world, "/x", "").await, (200, "GET /two/one/x HTTP/1.1".to_owned()));
    let answer = Http2::connect(world.http).await.get("http://b.test/x").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET /own/two/one/x HTTP/1.1"));
}

#[tokio::test]
async fn paths_and_fields_are_cleaned_as_the_entry_point_says() {
    let origin = echo().await;
    let world = World::tuned(&[origin.at], |entry_point| {
        let mut cleaning =
            Cleaning { sanitize_path: false, underscores: Underscores::Reject, ..Cleaning::default() };
        cleaning.encoded.slash = false;
        entry_point.cleaning = cleaning;
    });
    assert_eq!(get(&world, "/a/../b//c/%7e", "").await, (200, "GET /a/../b//c/~ HTTP/1.1".to_owned()));
    assert_eq!(get(&world, "/a%2Fb", "").await.0, 400);
    assert_eq!(get(&world, "/", "x_y: 1\r\n").await.0, 400);
    world.metric_becomes("portolan_refusals_total", &["encoded_character"], 1.0).await;
}

#[tokio::test]
async fn what_is_cleaned_is_what_routing_goes_by() {
    let mut origin = echo().await;
    let mut world = World::tuned(&[origin.at], |entry_point| {
        let mut cleaning = Cleaning {
            encode_query_semicolons: true,
            underscores: Underscores::Delete,
            ..Cleaning::default()
        };
        cleaning.encoded.slash = false;
        entry_point.cleaning = cleaning;
    });
    // No route takes it, and yet it is refused, not unknown.
    assert_eq!(ask(&world, "nobody.test", "/a%2Fb", "").await.0, 400);
    assert_eq!(ask(&world, "nobody.test", "/a%5Cb", "").await.0, 404);
    world.route("field", "Host(`c.test`) && !Header(`x_who`, `root`)", "app@test");
    assert!(world.put_before("field", &[]).is_empty());
    assert_eq!(
        ask(&world, "c.test", "/?a;b", "x_who: root\r\n").await,
        (200, "GET /?a%3Bb HTTP/1.1".to_owned())
    );
    let seen = origin.seen().await.head;
    assert!(!seen.contains("root"), "{seen}");
    let request = http::Request::get("http://c.test/?a;b").header("x_who", "root").body(&b""[..]);
    let answer = Http2::connect(world.http).await.ask(request.expect("a request")).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "GET /?a%3Bb HTTP/1.1"));
    assert_eq!(Http2::connect(world.http).await.get("http://nobody.test/a%2Fb").await.status, 400);
}

#[tokio::test]
async fn routers_without_an_entry_point_are_on_the_default_ones() {
    let origin = echo().await;
    for (as_default, others, status) in [(true, true, 200), (false, true, 404), (false, false, 200)] {
        let world = World::beside(&[origin.at], |entry_point| entry_point.as_default = as_default, others);
        assert_eq!(get(&world, "/", "").await.0, status, "{as_default} {others}");
    }
}

#[tokio::test]
async fn the_clients_address_is_not_added_where_that_is_not_wanted() {
    let mut origin = echo().await;
    let world = World::tuned(&[origin.at], |entry_point| {
        entry_point.forwarded.not_append = true;
        entry_point.forwarded.insecure = true;
    });
    for (fields, told) in [("", None), ("X-Forwarded-For: 1.2.3.4\r\n", Some("X-Forwarded-For: 1.2.3.4\r\n"))]
    {
        assert_eq!(get(&world, "/", fields).await.0, 200);
        let seen = origin.seen().await.head;
        assert_eq!(seen.contains("X-Forwarded-For"), told.is_some(), "{seen}");
        assert!(seen.contains(told.unwrap_or_default()), "{seen}");
    }
}

#[tokio::test]
async fn requests_that_are_not_to_be_counted_are_not() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.observe("quiet.test", false);
    for host in ["quiet.test", "a.test", "quiet.test"] {
        let mut client = world.client().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    world.metric_becomes("portolan_entrypoint_requests_total", &[], 1.0).await;
    world.metric_becomes("portolan_service_requests_total", &["app@test"], 1.0).await;
}
