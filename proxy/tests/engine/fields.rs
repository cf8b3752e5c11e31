//! Which fields pass, and which are Portolan's own.

use crate::support::{Origin, Reply, World, ok};

#[tokio::test]
async fn what_is_for_one_hop_stays_on_it_and_the_rest_arrives_as_written() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nhOsT: a.test\r\nX-lower-UPPER: Kept\r\nconnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
            Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n\
            Cookie: a=1\r\nCookie: b=2\r\nX-Utf8: \u{e9}\r\n\r\n",
        )
        .await;
    client.answer().await;
    let head = origin.seen().await.head;
    let expected = "GET / HTTP/1.1\r\nHost: a.test\r\nX-lower-UPPER: Kept\r\nCookie: a=1\r\nCookie: b=2\r\n\
        X-Utf8: \u{e9}\r\nX-Forwarded-For: 127.0.0.1\r\n";
    assert!(head.starts_with(expected), "{head}");
}

#[tokio::test]
async fn a_client_can_neither_claim_nor_remove_who_it_is() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For, X-Real-Ip, Host, X-Forwarded-Proto\r\n\
            X-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\nX-FORWARDED-HOST: evil\r\nX-Real-Ip: 6.6.6.6\r\n\
            Forwarded: for=6.6.6.6\r\nX-Forwarded-Anything: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
        )
        .await;
    client.answer().await;
    let head = origin.seen().await.head;
    assert!(!head.contains("6.6.6.6") && !head.contains("evil") && !head.contains("https"), "{head}");
    for field in [
        "Host: a.test",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: a.test",
        "X-Forwarded-Port: 80",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Server: here",
        "X-Real-Ip: 127.0.0.1",
    ] {
        assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {head}");
    }
}

#[tokio::test]
async fn who_is_trusted_is_added_to_and_can_not_be_cut_out() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |entry_point| {
        entry_point.forwarded.trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    });
    let mut client = world.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For, X-Forwarded-Host, Forwarded\r\n\
            X-Forwarded-For: 203.0.113.9\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: shop.example\r\n\
            Forwarded: for=203.0.113.9\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
        )
        .await;
    client.answer().await;
    let head = origin.seen().await.head;
    for field in [
        "X-Forwarded-For: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Server: here",
        "X-Real-Ip: 127.0.0.1",
        "Forwarded: for=203.0.113.9, for=127.0.0.1;host=\"a.test\";proto=http",
    ] {
        assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {head}");
    }
    assert!(!head.contains("6.6.6.6") && !head.contains("Via"), "{head}");
}

#[tokio::test]
async fn an_answers_fields_keep_their_order_and_spelling() {
    let answer = "HTTP/1.1 299 Own Phrase\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\ndAtE: 1\r\nsEt-CoOkIe: c=3\r\n\
        Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::answering(move |_| Reply::raw(answer)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client
        .expect(
            "HTTP/1.1 299 Own Phrase\r\nset-cookie: b=2\r\nSet-Cookie: a=1\r\ndAtE: 1\r\nsEt-CoOkIe: c=3\r\n\
            Content-Length: 0\r\n\r\n",
        )
        .await;
}
