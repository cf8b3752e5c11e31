//! What requests and answers go through on the way, in both versions of HTTP.

use http::Request;

use crate::support::http2::Http2;
use crate::support::{Origin, Reply, World, ok};

/// An origin that answers with the request line it got.
async fn echo() -> Origin {
    Origin::answering(|seen| ok(seen.head.lines().next().unwrap_or_default())).await
}

/// The status and body of a GET, by HTTP/1 and by HTTP/2, which must be alike.
async fn get(world: &World, host: &str, path: &str) -> (u16, String) {
    let mut client = world.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    let first = client.answer().await;
    let second = Http2::connect(world.http).await.get(&format!("http://{host}{path}")).await;
    assert_eq!((first.status, &first.body), (second.status, &second.body), "{host}{path}");
    (first.status, first.body)
}

fn got(body: &str) -> (u16, String) {
    (200, format!("GET {body} HTTP/1.1"))
}

#[tokio::test]
async fn middlewares_of_the_router_come_before_those_of_the_service() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("first", "addPrefix: {prefix: /first}");
    world.define("second", "addPrefix: {prefix: /second}");
    world.define("strip", "stripPrefix: {prefixes: [/api]}");
    assert!(world.route_through("b.test", &["strip", "first"]).is_empty());
    assert_eq!(get(&world, "b.test", "/api/x?y=z").await, got("/first/x?y=z"));
    assert_eq!(get(&world, "a.test", "/api/x").await, got("/api/x"));
    world.serve_through(&["second"]);
    assert_eq!(get(&world, "b.test", "/api/x").await, got("/second/first/x"));
    assert_eq!(get(&world, "a.test", "/x").await, got("/second/x"));
}

#[tokio::test]
async fn a_router_without_its_middleware_does_not_answer() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("broken", "replacePath: {path: '/%zz'}");
    for missing in ["nowhere", "broken"] {
        let faults = world.route_through("b.test", &[missing]);
        assert!(
            faults.iter().any(
                |fault| fault.key == "http.routers.b.test.middlewares" && fault.message.contains(missing)
            ),
            "{faults:?}"
        );
    }
    assert_eq!(get(&world, "b.test", "/").await.0, 404);
    assert_eq!(get(&world, "a.test", "/").await.0, 200);
}

#[tokio::test]
async fn what_a_middleware_answers_leaves_the_connection_open() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("strip", "stripPrefix: {prefixes: [/api]}");
    assert!(world.route_through("b.test", &["strip"]).is_empty());
    let mut client = world.client().await;
    for body in ["", "Content-Length: 3\r\n\r\nabc"] {
        let end = if body.is_empty() { "\r\n" } else { body };
        client.send(format!("POST /api../x HTTP/1.1\r\nHost: b.test\r\n{end}")).await;
        let refused = client.answer().await;
        assert_eq!((refused.status, refused.body.as_str()), (400, "Bad Request\n"));
    }
    client.send("GET /api/y HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "GET /y HTTP/1.1");
    let mut http2 = Http2::connect(world.http).await;
    let post = Request::post("http://b.test/api../x").body(&b"abc"[..]).expect("a request");
    assert_eq!(http2.ask(post).await.expect("an answer").status, 400);
    world.metric_becomes("portolan_refusals_total", &["bad_request"], 3.0).await;
}

#[tokio::test]
async fn clients_are_sent_elsewhere() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("https", "redirectScheme: {scheme: https, permanent: true}");
    assert!(world.route_through("b.test", &["https"]).is_empty());
    let mut client = world.client().await;
    client.send("GET /x?y HTTP/1.1\r\nHost: b.test:8000\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (301, "Moved Permanently"));
    assert_eq!(answer.field("location"), Some("https://b.test/x?y"));
    let answer = Http2::connect(world.http).await.get("http://b.test/x?y").await;
    assert_eq!((answer.status, answer.body.as_str()), (301, "Moved Permanently"));
    assert_eq!(answer.fields["location"], "https://b.test/x?y");
    let mut client = world.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: b.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 308);
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn fields_of_requests_and_answers_are_edited_also_of_refusals() {
    let answer = "HTTP/1.1 200 OK\r\nServer: nginx\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok";
    let mut origin = Origin::answering(move |_| Reply::raw(answer)).await;
    let mut world = World::in_front_of(&origin);
    world.define(
        "fields",
        "headers: {customRequestHeaders: {X-Role: admin}, customResponseHeaders: {Server: '', X-New: new}, frameDeny: true}",
    );
    world.define("nobody", "ipAllowList: {sourceRange: [192.0.2.0/24]}");
    assert!(world.route_through("b.test", &["fields"]).is_empty());
    assert!(world.route_through("c.test", &["fields", "nobody"]).is_empty());
    let mut client = world.client().await;
    let mut http2 = Http2::connect(world.http).await;
    for (host, status) in [("b.test", 200), ("c.test", 403)] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nx_role: guest\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!((answer.field("x-new"), answer.field("server")), (Some("new"), None));
        assert_eq!(answer.field("x-frame-options"), Some("DENY"));
        let answer = http2.get(&format!("http://{host}/")).await;
        assert_eq!((answer.status, answer.fields.get("server")), (status, None));
        assert_eq!(answer.fields["x-new"], "new");
    }
    for _ in 0..2 {
        let seen = origin.seen().await;
        assert!(seen.head.contains("X-Role: admin\r\n") && !seen.head.contains("guest"), "{}", seen.head);
    }
    world.serve(Vec::new());
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("x-new")), (503, Some("new")));
    let answer = http2.get("http://b.test/").await;
    assert_eq!((answer.status, answer.fields["x-new"].as_bytes()), (503, &b"new"[..]));
    world.metric_becomes("portolan_refusals_total", &["not_allowed"], 2.0).await;
}

#[tokio::test]
async fn what_was_counted_outlives_a_reload() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("rate", "rateLimit: {average: 1, period: 1h, burst: 2}");
    assert!(world.route_through("b.test", &["rate"]).is_empty());
    assert_eq!(get(&world, "b.test", "/").await.0, 200);
    assert_eq!(get(&world, "b.test", "/").await, (429, "Too Many Requests".to_owned()));
    world.define("rate", "rateLimit: {average: 2, period: 2h, burst: 2}");
    assert!(world.route_through("c.test", &["rate"]).is_empty());
    assert_eq!(get(&world, "c.test", "/").await.0, 429);
    world.metric_becomes("portolan_refusals_total", &["rate_limited"], 4.0).await;
}

#[tokio::test]
async fn so_many_are_in_flight_and_no_more_until_one_is_done() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    world.define("few", "inFlightReq: {amount: 2}");
    assert!(world.route_through("b.test", &["few"]).is_empty());
    let ask = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    let (mut one, mut other, mut late) = (world.client().await, world.client().await, world.client().await);
    one.send(ask).await;
    let mut first = origin.accept().await;
    first.head().await;
    other.send(ask).await;
    let mut second = origin.accept().await;
    second.head().await;
    late.send(ask).await;
    let refused = late.answer().await;
    assert_eq!((refused.status, refused.body.as_str()), (429, "max connections reached: 2"));
    assert_eq!(Http2::connect(world.http).await.get("http://b.test/").await.status, 429);
    // A reload forgets nobody, and the end of an answer is the end of its place.
    world.define("few", "inFlightReq: {amount: 1}");
    assert!(world.route_through("c.test", &[]).is_empty());
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    assert_eq!(one.answer().await.status, 200);
    late.send(ask).await;
    assert_eq!(late.answer().await.body, "max connections reached: 1");
    other.reset();
    world.metric_becomes("portolan_refusals_total", &["client_gone"], 1.0).await;
    late.send(ask).await;
    let mut third = origin.accept().await;
    third.head().await;
    third.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(late.answer().await.status, 200);
}

/// Whoever has read an answer to its end may ask again, on whatever connection.
#[tokio::test]
async fn a_place_is_free_before_the_end_of_the_answer_is_read() {
    let origin = Origin::answering(|seen| match seen.target() {
        "/chunks" => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        _ => ok("a body"),
    })
    .await;
    let mut world = World::in_front_of(&origin);
    world.define("one", "inFlightReq: {amount: 1}");
    world.define("small", "compress: {minResponseBodyBytes: 1}");
    world.define("nobody", "ipAllowList: {sourceRange: [192.0.2.0/24]}");
    assert!(world.route_through("b.test", &["one"]).is_empty());
    assert!(world.route_through("c.test", &["one", "small"]).is_empty());
    assert!(world.route_through("d.test", &["one", "nobody"]).is_empty());
    for round in 0..120 {
        for (host, path, status) in
            [("b.test", "/", 200), ("b.test", "/chunks", 200), ("c.test", "/", 200), ("d.test", "/", 403)]
        {
            let mut client = world.client().await;
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n"))
                .await;
            client.through("\r\n\r\n").await;
            drop(client);
            let mut client = world.client().await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!(client.answer().await.status, status, "{host}{path}, round {round}");
        }
    }
}

#[tokio::test]
async fn a_tunnel_is_in_flight_until_it_ends() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    world.define("one", "inFlightReq: {amount: 1}");
    assert!(world.route_through("b.test", &["one"]).is_empty());
    let mut tunnel = world.client().await;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    tunnel.send(format!("GET / HTTP/1.1\r\nHost: b.test\r\n{fields}\r\n")).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
        .await;
    tunnel.expect("HTTP/1.1 101").await;
    let ask = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    let mut client = world.client().await;
    client.send(ask).await;
    assert_eq!(client.answer().await.status, 429);
    drop(tunnel);
    world.metric_becomes("portolan_service_connections_open", &[], 0.0).await;
    client.send(ask).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 204);
}

/// The field that shows a name and a password.
const JOE: &str = "Authorization: Basic am9lOnRlc3Q=\r\n";

#[tokio::test]
async fn who_has_no_password_does_not_get_in() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let mut world = World::in_front_of(&origin);
    world.define(
        "basic",
        "basicAuth: {users: ['joe:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/'], headerField: X-User, removeHeader: true}",
    );
    assert!(world.route_through("b.test", &["basic"]).is_empty());
    let mut client = world.client().await;
    for wrong in ["", "Authorization: Basic am9lOnRlc3Qx\r\n", "Authorization: Basic amltOnRlc3Q=\r\n"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: b.test\r\n{wrong}\r\n")).await;
        let refused = client.answer().await;
        assert_eq!((refused.status, refused.body.as_str()), (401, "401 Unauthorized\n"));
        assert_eq!(refused.field("www-authenticate"), Some("Basic realm=\"traefik\""));
    }
    for _ in 0..2 {
        client.send(format!("GET / HTTP/1.1\r\nHost: b.test\r\nX_User: root\r\n{JOE}\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        let seen = origin.seen().await.head;
        assert!(seen.contains("X-User: joe\r\n"), "{seen}");
        assert!(!seen.contains("Authorization") && !seen.contains("root"), "{seen}");
    }
    let mut http2 = Http2::connect(world.http).await;
    let request = Request::get("http://b.test/").header("authorization", "Basic am9lOnRlc3Q=");
    assert_eq!(http2.ask(request.body(&b""[..]).expect("a request")).await.expect("an answer").status, 200);
    assert_eq!(http2.get("http://b.test/").await.status, 401);
    world.metric_becomes("portolan_refusals_total", &["unauthorized"], 4.0).await;
}

#[tokio::test]
async fn a_file_of_users_is_followed() {
    let origin = Origin::answering(|_| ok("in")).await;
    let mut world = World::in_front_of(&origin);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("users");
    let yaml = format!("basicAuth: {{usersFile: '{}'}}", file.display());
    world.define("basic", &yaml);
    assert!(world.route_through("b.test", &["basic"]).is_empty());
    let mut client = world.client().await;
    let faults = world.look();
    assert!(faults.iter().any(|fault| fault.key == "basicAuth.usersFile"), "{faults:?}");
    for (users, status) in
        [(None, 401), (Some("joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n"), 200), (Some("# none"), 401)]
    {
        if let Some(users) = users {
            std::fs::write(&file, users).expect("it is written");
            assert!(world.look().is_empty());
        }
        client.send(format!("GET / HTTP/1.1\r\nHost: b.test\r\n{JOE}\r\n")).await;
        assert_eq!(client.answer().await.status, status, "{users:?}");
    }
}

#[tokio::test]
async fn a_digest_proves_a_password() {
    let origin = Origin::answering(|_| ok("in")).await;
    let mut world = World::in_front_of(&origin);
    world.define("digest", "digestAuth: {users: ['test:traefik:a2688e031edb4be6a3797f3882655c05']}");
    assert!(world.route_through("b.test", &["digest"]).is_empty());
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    let challenge = client.answer().await;
    let said = challenge.field("www-authenticate").expect("a challenge");
    assert_eq!(challenge.status, 401);
    assert!(
        said.starts_with("Digest realm=\"traefik\", nonce=\"")
            && said.contains("algorithm=MD5, qop=\"auth\""),
        "{said}"
    );
    client
        .send(
            "GET / HTTP/1.1\r\nHost: b.test\r\nAuthorization: Digest username=\"test\", nonce=\"x\"\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 401);
}

#[tokio::test]
async fn somebody_else_says_who_gets_in() {
    let mut origin = Origin::answering(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=origin\r\nSet-Cookie: s=origin\r\nContent-Length: 2\r\n\r\nin",
        )
    })
    .await;
    let mut auth = Origin::answering(|seen| {
        Reply::raw(if seen.head.to_lowercase().contains("cookie: ok") {
            "HTTP/1.1 204 No Content\r\nX-User: joe\r\nSet-Cookie: s=auth; Path=/\r\nSet-Cookie: other=1\r\n\r\n"
        } else {
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: /login\r\nSet-Cookie: t=1\r\nContent-Length: 3\r\n\r\nno\n"
        })
    })
    .await;
    let mut world = World::in_front_of(&origin);
    let options = "authResponseHeaders: [X-User], addAuthCookiesToResponse: [s]";
    world.define("auth", &format!("forwardAuth: {{address: 'http://{}/check?x=y', {options}}}", auth.at));
    assert!(world.route_through("b.test", &["auth"]).is_empty());
    let mut client = world.client().await;
    client.send("POST /x?y HTTP/1.1\r\nHost: b.test\r\nContent-Length: 3\r\n\r\nabc").await;
    let refused = client.answer().await;
    assert_eq!((refused.status, refused.body.as_str()), (307, "no\n"));
    assert_eq!(refused.field("location"), Some(format!("http://{}/login", auth.at).as_str()));
    assert_eq!(refused.field("set-cookie"), Some("t=1"));
    let asked = auth.seen().await.head;
    for line in [
        "GET /check?x=y HTTP/1.1",
        "X-Forwarded-Method: POST",
        "X-Forwarded-Uri: /x?y",
        "X-Forwarded-Host: b.test",
        "X-Forwarded-Proto: http",
        "X-Forwarded-For: 127.0.0.1",
    ] {
        assert!(asked.lines().any(|found| found == line), "{line} in {asked}");
    }
    assert!(!asked.to_lowercase().contains("content-length"), "{asked}");
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\nCookie: ok\r\nX_User: root\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "in"));
    let cookies: Vec<&str> = answer.head.lines().filter(|line| line.starts_with("Set-Cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=origin", "Set-Cookie: s=auth; Path=/"]);
    let seen = origin.seen().await.head;
    assert!(seen.contains("X-User: joe\r\n") && !seen.contains("root"), "{seen}");
    // The same connection was asked over again.
    assert_eq!(auth.seen().await.connection, 0);
    let request = Request::get("http://b.test/").header("cookie", "ok").body(&b""[..]).expect("a request");
    assert_eq!(Http2::connect(world.http).await.ask(request).await.expect("an answer").status, 200);
    auth.stop();
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\nCookie: ok\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 500);
    world.metric_becomes("portolan_refusals_total", &["auth_failed"], 1.0).await;
    world.metric_becomes("portolan_refusals_total", &["auth_refused"], 1.0).await;
}
