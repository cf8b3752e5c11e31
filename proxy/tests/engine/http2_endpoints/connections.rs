//! Which connections to endpoints there are: how many requests share one, and what becomes of those on one that ends.

use std::sync::Arc;
use std::time::Duration;

use portolan_config::tls::ServersTransport;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{GET, Reason, head};
use crate::support::http2::Http2;
use crate::support::http2_origin::Http2Origin;
use crate::support::papers::Authority;
use crate::support::{Origin, Wire, World, ok, place, soon};

async fn ask_all(world: &World, count: usize, request: &str) -> Vec<Wire> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = world.client().await;
        client.send(request).await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn requests_share_one_connection_of_each_worker() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut clients = ask_all(&world, 30, GET).await;
    let mut asked = Vec::new();
    for _ in 0..30 {
        asked.push(origin.asked().await);
    }
    let connections = asked.iter().map(|asked| asked.connection).max().unwrap() + 1;
    assert!(connections <= 2, "{connections} connections of two workers");
    for asked in asked {
        asked.say("fine");
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_endpoint_takes() {
    let mut origin = Http2Origin::tuned(None, |builder| {
        builder.max_concurrent_streams(3);
    })
    .await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut clients = ask_all(&world, 20, GET).await;
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(origin.asked().await);
    }
    let mut counts = [0; 20];
    for asked in &asked {
        counts[asked.connection] += 1;
    }
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
    for asked in asked {
        asked.say("fine");
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
    // What there is now is enough for what comes next.
    let used = counts.iter().filter(|count| **count > 0).count();
    for client in &mut clients {
        client.send(GET).await;
    }
    for _ in 0..20 {
        let asked = origin.asked().await;
        assert!(asked.connection < used, "{} of {used}", asked.connection);
        asked.say("again");
    }
}

/// One that would take any number of requests on a connection is given a hundred, and then there is another.
#[tokio::test]
async fn a_connection_carries_a_hundred_requests_at_the_most() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    // All of one worker: a connection of one client.
    let mut client = Http2::connect(world.http).await;
    let mut others = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let mut client = Http2::connect(world.http).await;
        for _ in 0..80 {
            let request = http::Request::get("http://a.test/").body(()).unwrap();
            answers.push(client.begin(request, true).await.0);
        }
        others.push(client);
    }
    let mut asked = Vec::new();
    let mut counts = [0; 8];
    for _ in 0..240 {
        let one = origin.asked().await;
        counts[one.connection] += 1;
        asked.push(one);
    }
    assert!(counts.iter().all(|count| *count <= 100), "{counts:?}");
    assert!(counts.iter().filter(|count| **count > 0).count() <= 4, "{counts:?}: no more than are needed");
    for asked in asked {
        asked.say("fine");
    }
    for answer in answers {
        assert_eq!(soon("an answer", crate::support::http2::answered(answer)).await.unwrap().body, "fine");
    }
    let answer = tokio::join!(client.get("http://a.test/"), async { origin.asked().await.say("again") }).0;
    assert_eq!(answer.body, "again");
}

#[tokio::test]
async fn an_endpoint_that_leaves_finishes_what_it_has_and_loses_nothing() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut early = world.client().await;
    early.send(GET).await;
    let first = origin.asked().await;
    origin.leave();
    // Requests go on while it leaves; they are not safe to be sent twice.
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
    let mut clients = ask_all(&world, 20, post).await;
    for _ in 0..20 {
        origin.asked().await.say("fine");
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
    first.say("late");
    assert_eq!(early.answer().await.body, "late");
    world.metric_becomes("portolan_endpoint_failures_total", &["c0"], 0.0).await;
}

/// Whoever says that it did not look at a request may be passed over whatever the request is (RFC 9113 §8.7).
#[tokio::test]
async fn a_refused_request_goes_elsewhere_though_it_must_not_be_done_twice() {
    let mut refusing = Http2Origin::start().await;
    let willing = Http2Origin::start().await;
    let world = World::speaking_h2c(&[refusing.at, willing.at]);
    let _willing = willing.answers_by_itself();
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
    let mut clients = ask_all(&world, 10, post).await;
    let refuse = async {
        loop {
            refusing.asked().await.respond.send_reset(Reason::REFUSED_STREAM);
        }
    };
    let answers = async {
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
    };
    tokio::select! {
        () = refuse => {}
        () = answers => {}
    }
    assert!(world.metric("portolan_service_retries_total", &[]) > 0.5);
}

#[tokio::test]
async fn what_was_looked_at_and_must_not_be_done_twice_is_not_sent_again() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
    origin.asked().await.respond.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(client.answer().await.status, 502);
    assert!(origin.is_unasked());
    world.metric_becomes("portolan_refusals_total", &["reason=\"endpoint_reset\""], 1.0).await;
}

#[tokio::test]
async fn requests_on_a_connection_that_dies_go_over_another() {
    let mut dying = Http2Origin::start().await;
    let willing = Http2Origin::start().await;
    let world = World::speaking_h2c(&[dying.at, willing.at]);
    let _willing = willing.answers_by_itself();
    let mut clients = ask_all(&world, 10, GET).await;
    dying.asked().await;
    drop(dying);
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_with_nothing_to_do_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let transport = ServersTransport {
        pool_idle_timeout: Some(Duration::from_millis(100)),
        ..ServersTransport::default()
    };
    let world = World::speaking_h2c_by(&[at], transport);
    let mut client = world.client().await;
    client.send(GET).await;
    let (tcp, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut requests = h2::server::handshake(tcp).await.unwrap();
    let (_, mut respond) = soon("a request", requests.accept()).await.unwrap().unwrap();
    respond.send_response(head(204, &[]), true).unwrap();
    assert!(soon("the end", requests.accept()).await.is_none());
    assert_eq!(client.answer().await.status, 204);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_to_a_ping_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let transport = ServersTransport {
        ping_after: Some(Duration::from_millis(100)),
        pong_within: Some(Duration::from_millis(100)),
        ..ServersTransport::default()
    };
    let world = World::speaking_h2c_by(&[at], transport);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
    let (mut tcp, _) = soon("a connection", listener.accept()).await.unwrap();
    let settings = crate::support::http2::frame(crate::support::http2::SETTINGS, 0, 0, &[]);
    tokio::io::AsyncWriteExt::write_all(&mut tcp, &settings).await.unwrap();
    assert_eq!(client.answer().await.status, 502);
    let mut received = Vec::new();
    let _ = soon("the end", tcp.read_to_end(&mut received)).await;
    let ping = [0, 0, 8, crate::support::http2::PING, 0];
    assert!(received.windows(5).any(|bytes| bytes == ping), "no ping in {} bytes", received.len());
    // One that does answer is left alone.
    let mut alive = Http2Origin::start().await;
    let transport = ServersTransport {
        ping_after: Some(Duration::from_millis(50)),
        pong_within: Some(Duration::from_millis(500)),
        ..ServersTransport::default()
    };
    let world = World::speaking_h2c_by(&[alive.at], transport);
    let mut client = world.client().await;
    client.send(GET).await;
    let asked = alive.asked().await;
    // As long as it takes for many a ping.
    tokio::time::sleep(Duration::from_millis(700)).await;
    asked.say("slow");
    assert_eq!(client.answer().await.body, "slow");
}

pub(super) fn server(authority: &Authority, protocols: &[&str]) -> Arc<ServerConfig> {
    let papers = authority.sign(&["127.0.0.1"]);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(papers.chain(), papers.private_key())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

#[tokio::test]
async fn by_tls_the_endpoint_chooses() {
    let known = Authority::new("known");
    let trusting = || ServersTransport { root_cas: vec![known.pem()], ..ServersTransport::default() };
    let mut origin = Http2Origin::tuned(Some(server(&known, &["h2", "http/1.1"])), |_| {}).await;
    let mut world = World::of(&[]);
    assert_eq!(world.serve_tls(vec![place("c0", origin.at)], trusting(), |_| {}), []);
    let mut clients = ask_all(&world, 10, GET).await;
    for _ in 0..10 {
        let asked = origin.asked().await;
        assert!(asked.connection < 2 && asked.request.uri().scheme_str() == Some("https"));
        asked.say("newer");
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "newer");
    }
    let mut client = Http2::connect(world.http).await;
    let answer = tokio::join!(client.get("http://a.test/"), async { origin.asked().await.say("newest") }).0;
    assert_eq!(answer.body, "newest");
    // One that has not heard of it, or must not be asked.
    for (protocols, disable_http2) in [(&["http/1.1"][..], false), (&[], false), (&["h2", "http/1.1"], true)]
    {
        let config = Arc::unwrap_or_clone(server(&known, protocols));
        let mut older = Origin::secured(config, |_| ok("older")).await;
        let transport = ServersTransport { disable_http2, ..trusting() };
        assert_eq!(world.serve_tls(vec![place("c0", older.at)], transport, |_| {}), []);
        for _ in 0..3 {
            for client in &mut clients {
                client.send(GET).await;
                assert_eq!(client.answer().await.body, "older", "{protocols:?}");
            }
        }
        let most = older.seen_by_now().iter().map(|seen| seen.connection).max().unwrap();
        assert!(most < 10, "{most} connections: they are not kept");
    }
}
