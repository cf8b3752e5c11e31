//! What is said behind content that has a length: HTTP/1.1 has no place for it, HTTP/2 has (RFC 9113 §8.1).

use bytes::Bytes;
use http::Request;

use super::{fields, head};
use crate::support::http2::{Http2, answered, rest};
use crate::support::http2_origin::Http2Origin;
use crate::support::{World, soon};

const LENGTH: (&str, &str) = ("content-length", "4");

#[tokio::test]
async fn they_reach_a_client_of_http2_behind_an_answer_with_a_length() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    for (length, content, at_once) in [("4", "fine", false), ("4", "fine", true), ("0", "", false)] {
        let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
        let mut asked = origin.asked().await;
        let mut stream =
            asked.respond.send_response(head(200, &[("content-length", length)]), false).unwrap();
        if !content.is_empty() {
            stream.send_data(Bytes::from_static(content.as_bytes()), false).unwrap();
        }
        let trailers = fields(&[("grpc-status", "0"), ("content-length", "9")]);
        if at_once {
            stream.send_trailers(trailers.clone()).unwrap();
        }
        // The content is not held back until they are known.
        let mut answer = soon("a head", answer).await.unwrap();
        if !content.is_empty() {
            let piece = soon("the content", answer.body_mut().data()).await.unwrap().unwrap();
            assert_eq!(piece, content);
        }
        if !at_once {
            stream.send_trailers(trailers).unwrap();
        }
        let answer = soon("the rest", rest(answer)).await.unwrap();
        assert_eq!(answer.trailers, Some(fields(&[("grpc-status", "0")])), "length {length}, {at_once}");
    }
    // One that has none ends all the same, also where that is said apart.
    let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[LENGTH]), false).unwrap();
    stream.send_data(Bytes::from_static(b"fine"), false).unwrap();
    stream.send_data(Bytes::new(), true).unwrap();
    let answer = soon("an answer", answered(answer)).await.unwrap();
    assert_eq!((answer.body.as_str(), answer.trailers), ("fine", None));
    assert!(world.metric("portolan_refusals_total", &[]) < 0.5);
}

#[tokio::test]
async fn a_client_of_http1_does_without_them() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(super::GET).await;
        let mut asked = origin.asked().await;
        let mut stream = asked.respond.send_response(head(200, &[LENGTH]), false).unwrap();
        stream.send_data(Bytes::from_static(b"fine"), false).unwrap();
        stream.send_trailers(fields(&[("grpc-status", "0")])).unwrap();
        assert_eq!(client.answer().await.body, "fine");
    }
}

/// Where the content changes on the way, it has no length either.
#[tokio::test]
async fn they_stay_behind_an_answer_that_is_altered() {
    let mut origin = Http2Origin::start().await;
    let mut world = World::speaking_h2c(&[origin.at]);
    world.define("small", "compress: {minResponseBodyBytes: 1}");
    assert_eq!(world.put_before("a.test", &["small"]), []);
    let mut client = Http2::connect(world.http).await;
    let request = Request::get("http://a.test/").header("accept-encoding", "gzip");
    let (answer, _) = client.begin(request.body(()).unwrap(), true).await;
    let mut asked = origin.asked().await;
    let said = [LENGTH, ("content-type", "text/plain")];
    let mut stream = asked.respond.send_response(head(200, &said), false).unwrap();
    stream.send_data(Bytes::from_static(b"fine"), false).unwrap();
    stream.send_trailers(fields(&[("x-sum", "7")])).unwrap();
    let mut answer = soon("a head", answer).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    while soon("content", answer.body_mut().data()).await.is_some() {}
    let trailers = soon("trailers", answer.body_mut().trailers()).await.unwrap();
    assert_eq!(trailers, Some(fields(&[("x-sum", "7")])));
}

#[tokio::test]
async fn those_of_a_request_with_a_length_reach_the_endpoint() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    for trailers in [Some(fields(&[("x-sum", "7")])), None] {
        let request = Request::post("http://a.test/").header(LENGTH.0, LENGTH.1).body(()).unwrap();
        let (answer, mut upload) = client.begin(request, false).await;
        upload.send_data(Bytes::from_static(b"bo"), false).unwrap();
        let mut asked = origin.asked().await;
        assert_eq!(asked.field("content-length"), Some("4"));
        let piece = soon("a piece", asked.request.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(piece, "bo");
        match trailers.clone() {
            Some(trailers) => {
                upload.send_data(Bytes::from_static(b"dy"), false).unwrap();
                upload.send_trailers(trailers).unwrap();
            }
            None => upload.send_data(Bytes::from_static(b"dy"), true).unwrap(),
        }
        assert_eq!(asked.body().await, ("dy".to_owned(), trailers));
        asked.say("fine");
        assert_eq!(soon("an answer", answered(answer)).await.unwrap().body, "fine");
    }
}
