//! A client stays with its endpoint by a cookie: over HTTP/1, HTTP/2 and through upgrades, and only while that serves.

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::dynamic::service::{Cookie, LoadBalancer, SameSite, Sticky};
use portolan_discovery::Target;

use crate::support::http2::Http2;
use crate::support::{Answer, Origin, World, ok, place};

async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for index in 0..count {
        origins.push(Origin::answering(move |_| ok(&index.to_string())).await);
    }
    origins
}

fn sticky(cookie: Cookie) -> LoadBalancer {
    LoadBalancer { sticky: Some(Sticky { cookie: Some(cookie) }), ..LoadBalancer::default() }
}

fn places(addresses: &[SocketAddr]) -> Vec<Target> {
    addresses.iter().enumerate().map(|(index, at)| place(&format!("c{index}"), *at)).collect()
}

async fn ask(world: &World, cookie: &str) -> Answer {
    let mut client = world.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: x=y; {cookie}\r\n\r\n")).await;
    client.answer().await
}

/// The name and value that an answer sets.
fn set(answer: &Answer) -> String {
    let cookie = answer.field("Set-Cookie").unwrap_or_else(|| panic!("no cookie in {}", answer.head));
    cookie.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_client_stays_with_its_replica_until_that_is_gone() {
    let origins = origins(3).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let mut world = World::of(&addresses);
    let cookie = Cookie { same_site: Some(SameSite::Lax), http_only: true, ..Cookie::default() };
    world.spread(places(&addresses), sticky(cookie.clone()));
    let first = ask(&world, "").await;
    assert!(first.head.contains("; Path=/; HttpOnly; SameSite=Lax\r\n"), "{}", first.head);
    let cookie_of_first = set(&first);
    // Traefik's name for `app@test`.
    assert!(cookie_of_first.starts_with("_00c07="), "{cookie_of_first}");
    for _ in 0..10 {
        let again = ask(&world, &cookie_of_first).await;
        assert_eq!((again.body.as_str(), again.field("Set-Cookie")), (first.body.as_str(), None));
    }
    // It is kept over a table in which the others are not as before.
    let mut fewer = places(&addresses);
    let gone = (first.body.parse::<usize>().unwrap() + 1) % 3;
    fewer.remove(gone);
    world.spread(fewer.clone(), sticky(cookie.clone()));
    assert_eq!(ask(&world, &cookie_of_first).await.body, first.body);
    fewer.retain(|target| target.port != addresses[first.body.parse::<usize>().unwrap()].port());
    world.spread(fewer, sticky(cookie));
    let other = ask(&world, &cookie_of_first).await;
    assert_ne!(other.body, first.body);
    assert_ne!(set(&other), cookie_of_first, "it is told whom it stays with now");
    assert_eq!(ask(&world, &set(&other)).await.field("Set-Cookie"), None);
}

#[tokio::test]
async fn a_replica_that_fails_passes_its_clients_on_with_another_cookie() {
    let mut origins = origins(2).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let mut world = World::of(&addresses);
    world.spread(places(&addresses), sticky(Cookie::default()));
    let first = ask(&world, "").await;
    origins[first.body.parse::<usize>().unwrap()].stop();
    let other = ask(&world, &set(&first)).await;
    assert_eq!(other.status, 200);
    assert_ne!(set(&other), set(&first));
}

#[tokio::test]
async fn http2_and_http1_share_their_cookies() {
    let origins = origins(3).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let mut world = World::of(&addresses);
    world.spread(places(&addresses), sticky(Cookie { name: "stay".into(), ..Cookie::default() }));
    let mut client = Http2::connect(world.http).await;
    let first = client.get("http://a.test/").await;
    let cookie = first.fields["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("stay="), "{cookie}");
    for _ in 0..5 {
        assert_eq!(ask(&world, &cookie).await.body, first.body);
        // Two fields are one list of cookies (RFC 9113 §8.2.3).
        let request = http::Request::get("http://a.test/").header("cookie", "a=b").header("cookie", &cookie);
        let again = client.ask(request.body(&b""[..]).unwrap()).await.unwrap();
        assert_eq!((again.body, again.fields.get("set-cookie")), (first.body.clone(), None));
    }
}

#[tokio::test]
async fn an_upgrade_goes_to_the_replica_of_its_cookie_and_is_given_one() {
    let switches = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let asks = |cookie: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: {cookie}\r\n\r\n"
        )
    };
    let mut origins = [Origin::manual().await, Origin::manual().await];
    let addresses = [origins[0].at, origins[1].at];
    let mut world = World::of(&addresses);
    world.spread(places(&addresses), sticky(Cookie::default()));
    let (mut client, mut cookie) = (world.client().await, String::new());
    client.send(asks("")).await;
    let (one, other) = origins.split_at_mut(1);
    let (mut wire, at_first) = tokio::select! {
        wire = one[0].accept() => (wire, true),
        wire = other[0].accept() => (wire, false),
    };
    for _ in 0..3 {
        wire.head().await;
        wire.send(format!("{switches}hello")).await;
        let head = client.head().await;
        client.expect("hello").await;
        if cookie.is_empty() {
            let line = head.lines().find(|line| line.starts_with("Set-Cookie: ")).expect("a cookie");
            cookie = line["Set-Cookie: ".len()..].split(';').next().unwrap_or_default().to_owned();
        } else {
            assert!(!head.contains("Set-Cookie"), "{head}");
        }
        client = world.client().await;
        client.send(asks(&cookie)).await;
        wire = if at_first { one[0].accept().await } else { other[0].accept().await };
    }
}

#[tokio::test]
async fn a_cookie_of_traefiks_leads_to_its_url_and_a_written_url_is_what_is_hashed() {
    let origins = origins(2).await;
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let mut world = World::of(&addresses);
    let hashed = |text: &str| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let digits = u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("eight bytes"));
        format!("{digits:016x}")
    };
    let cookie = Cookie { name: "stay".into(), ..Cookie::default() };
    world.spread(places(&addresses), sticky(cookie.clone()));
    for (index, at) in addresses.iter().enumerate() {
        let answer = ask(&world, &format!("stay={}", hashed(&format!("http://{at}")))).await;
        assert_eq!(answer.body, index.to_string());
        assert_ne!(
            set(&answer),
            format!("stay={}", hashed(&format!("http://{at}"))),
            "an address does not last"
        );
    }
    let mut written = places(&addresses);
    for target in &mut written {
        target.url = Arc::from(format!("http://{}:{}", target.endpoint.address().unwrap(), target.port));
    }
    world.spread(written, sticky(cookie));
    for (index, at) in addresses.iter().enumerate() {
        let answer = ask(&world, &format!("stay={}", hashed(&format!("http://{at}")))).await;
        assert_eq!((answer.body.as_str(), answer.field("Set-Cookie")), (index.to_string().as_str(), None));
    }
}
