//! Streams that are broken off: what the other side is told (RFC 9113 §7), and what becomes of the request.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use portolan_config::tls::ServersTransport;

use super::connections::server;
use super::{GET, fields, head};
use crate::support::http2::{GOAWAY, Http2, SETTINGS, answered, frame, rest};
use crate::support::http2_origin::Http2Origin;
use crate::support::papers::Authority;
use crate::support::{End, Origin, Wire, World, ok, place, soon};

/// A body is found among frames, in which a head is packed.
const PUT: &str = "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nbegun";

/// Most of what a server says is about its connection with the proxy, and means nothing to a client.
#[tokio::test]
async fn within_an_answer_a_client_is_told_what_concerns_it() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    for (said, told) in [
        (Reason::CANCEL, Reason::CANCEL),
        (Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (Reason::CONNECT_ERROR, Reason::CONNECT_ERROR),
        (Reason::INTERNAL_ERROR, Reason::INTERNAL_ERROR),
        (Reason::PROTOCOL_ERROR, Reason::INTERNAL_ERROR),
        // It was looked at: the head of an answer is there.
        (Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR),
        (Reason::HTTP_1_1_REQUIRED, Reason::INTERNAL_ERROR),
    ] {
        for length in [None, Some(("content-length", "4"))] {
            let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
            let mut asked = origin.asked().await;
            let length: Vec<_> = length.into_iter().collect();
            let mut stream = asked.respond.send_response(head(200, &length), false).unwrap();
            stream.send_data(Bytes::from_static(b"hal"), false).unwrap();
            let answer = soon("a head", answer).await.unwrap();
            stream.send_reset(said);
            let error = soon("the rest", rest(answer)).await.unwrap_err();
            assert_eq!(error.reason(), Some(told), "{said:?} {length:?}");
        }
    }
}

/// Nothing of an answer was there: what failed is told as any failure of an endpoint, and to a call of gRPC in its way.
#[tokio::test]
async fn before_an_answer_a_client_is_told_by_one() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    for (said, status) in
        [(Reason::CANCEL, "1"), (Reason::ENHANCE_YOUR_CALM, "8"), (Reason::INTERNAL_ERROR, "14")]
    {
        let post = || Request::post("http://a.test/x.Y/Z").header("content-length", "2");
        let (answer, mut upload) = client.begin(post().body(()).unwrap(), false).await;
        upload.send_data(Bytes::from_static(b"hi"), true).unwrap();
        origin.asked().await.respond.send_reset(said);
        assert_eq!(soon("an answer", answered(answer)).await.unwrap().status, 502, "{said:?}");
        let call = post().header("content-type", "application/grpc").body(()).unwrap();
        let (answer, mut upload) = client.begin(call, false).await;
        upload.send_data(Bytes::from_static(b"hi"), true).unwrap();
        origin.asked().await.respond.send_reset(said);
        let answer = soon("an answer", answered(answer)).await.unwrap();
        assert_eq!(
            (answer.status, &answer.fields["grpc-status"]),
            (200, &status.parse().unwrap()),
            "{said:?}"
        );
    }
}

/// A server that has answered needs no more of the request, and says so by NO_ERROR (RFC 9113 §8.1): so is the client.
#[tokio::test]
async fn a_client_is_told_that_no_more_of_its_request_is_needed() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    let (answer, mut upload) = client.begin(Request::post("http://a.test/").body(()).unwrap(), false).await;
    upload.send_data(Bytes::from_static(b"begun"), false).unwrap();
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(413, &[]), false).unwrap();
    stream.send_data(Bytes::from_static(b"no"), false).unwrap();
    stream.send_trailers(fields(&[("x-why", "size")])).unwrap();
    drop((asked, stream));
    let answer = soon("an answer", answered(answer)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (413, "no"));
    let told = soon("a reset", poll_fn(|context| upload.poll_reset(context))).await.unwrap();
    assert_eq!(told, Reason::NO_ERROR);
    assert!(world.metric("portolan_refusals_total", &[]) < 0.5);
}

/// However a client takes its request back, the server is told that nobody waits for it any longer.
#[tokio::test]
async fn a_server_is_told_that_a_client_is_gone() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    for said in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        // Each on its own: what is taken back has to be earned.
        let mut client = Http2::connect(world.http).await;
        for is_begun in [true, false] {
            let (answer, mut upload) =
                client.begin(Request::post("http://a.test/").body(()).unwrap(), false).await;
            upload.send_data(Bytes::from_static(b"begun"), false).unwrap();
            let mut asked = origin.asked().await;
            if is_begun {
                let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
                soon("a head", answer).await.unwrap();
                upload.send_reset(said);
                let told = soon("a reset", poll_fn(|context| stream.poll_reset(context))).await.unwrap();
                assert_eq!(told, Reason::CANCEL, "{said:?}");
            } else {
                upload.send_reset(said);
                let told = poll_fn(|context| asked.respond.poll_reset(context));
                assert_eq!(soon("a reset", told).await.unwrap(), Reason::CANCEL, "{said:?}");
            }
        }
    }
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5, "it is no fault of the endpoint");
}

/// RFC 9113 §7: some of what a server does, it does over HTTP/1.1 alone.
#[tokio::test]
async fn a_server_that_wants_http1_is_asked_again_in_http1() {
    let known = Authority::new("known");
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let transport = ServersTransport { root_cas: vec![known.pem()], ..ServersTransport::default() };
    assert_eq!(world.serve_tls(vec![place("c0", origin.at)], transport, |_| {}), []);
    let both = server(&known, &["h2", "http/1.1"]);
    let mut client = world.client().await;
    // Not to be done twice, and it was not done once.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
    let newer = origin.accept_tls(both.clone()).await.into_link();
    let refuse = async {
        let mut requests = h2::server::handshake(newer).await.unwrap();
        let (_, mut respond) = soon("a request", requests.accept()).await.unwrap().unwrap();
        respond.send_reset(Reason::HTTP_1_1_REQUIRED);
        // It is driven to its end: nothing else is asked over it.
        assert!(soon("the end", requests.accept()).await.is_none());
    };
    let answer = async {
        let mut older = origin.accept_tls(both.clone()).await;
        assert_eq!(older.link().session().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(older.head().await.starts_with("POST / HTTP/1.1\r\n"));
        older.expect("hi").await;
        older.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        older
    };
    let ((), mut older) = tokio::join!(refuse, answer);
    assert_eq!(client.answer().await.body, "ok");
    assert!(world.metric("portolan_endpoint_failures_total", &["c0"]) < 0.5, "it is no failure");
    // It is known from now on.
    client.send(GET).await;
    assert!(older.head().await.starts_with("GET / HTTP/1.1\r\n"));
    older.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain").await;
    assert_eq!(client.answer().await.body, "again");
}

#[tokio::test]
async fn a_server_that_wants_http1_may_say_so_of_the_whole_connection() {
    let mut origin = Origin::manual().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(PUT).await;
    let mut newer = origin.accept().await;
    newer.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    newer.send(frame(SETTINGS, 0, 0, &[])).await;
    newer.through("begun").await;
    newer.send(frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xd])).await;
    let mut older = origin.accept().await;
    assert!(older.head().await.starts_with("PUT / HTTP/1.1\r\n"));
    older.expect("begun").await;
    older.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body, "ok");
}

/// A process that ends tells the servers that it does (RFC 9113 §6.8), and ends TLS as TLS ends.
#[tokio::test]
async fn servers_are_told_that_a_process_ends() {
    let known = Authority::new("known");
    let config = server(&known, &["h2"]);
    for tls in [None, Some(config)] {
        let mut origin = Origin::manual().await;
        let mut world = World::speaking_h2c(&[origin.at]);
        if tls.is_some() {
            let transport = ServersTransport { root_cas: vec![known.pem()], ..ServersTransport::default() };
            assert_eq!(world.serve_tls(vec![place("c0", origin.at)], transport, |_| {}), []);
        }
        let mut client = world.client().await;
        client.send(PUT).await;
        let mut wire = match tls.clone() {
            None => origin.accept().await,
            Some(tls) => origin.accept_tls(tls).await,
        };
        wire.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.send(frame(SETTINGS, 0, 0, &[])).await;
        wire.through("begun").await;
        wire.send(frame(1, 0x5, 1, b"\x88")).await;
        assert_eq!(client.answer().await.status, 200);
        soon("draining ends", world.drain()).await;
        let (received, end) = wire.rest().await;
        let goodbye = frame(GOAWAY, 0, 0, &[0; 8]);
        assert!(received.windows(goodbye.len()).any(|bytes| bytes == goodbye), "{received:?}");
        assert_eq!(end, End::Clean);
    }
}

/// What is to be read of a client hides nothing: neither the end of its side, nor a request that it sent ahead.
#[tokio::test]
async fn a_client_that_breaks_off_behind_what_it_sent_cancels_its_request() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`a.test`)", None);
    world.show(authority.sign(&["a.test"]).shown());
    let mut origin = Origin::manual().await;
    world.serve(vec![place("c0", origin.at)]);
    for (count, (by_tls, more, ends)) in
        [(false, GET, false), (false, "", true), (true, "", false), (true, GET, false), (true, "", true)]
            .into_iter()
            .enumerate()
    {
        let mut client = if by_tls {
            let config: Arc<_> = authority.client();
            Wire::by(crate::support::Link::connect(world.http, "a.test", config).await.unwrap())
        } else {
            world.client().await
        };
        client.send(format!("{GET}{more}")).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        if ends {
            client.finish().await;
        }
        client.reset();
        assert_eq!(wire.rest().await.0, b"", "TLS {by_tls}, more {more:?}, ends {ends}");
        let labels = ["reason=\"client_gone\""];
        world.metric_becomes("portolan_refusals_total", &labels, count as f64 + 1.0).await;
    }
}
