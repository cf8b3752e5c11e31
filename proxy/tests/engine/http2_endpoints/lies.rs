//! Servers that break the rules of HTTP/2 (RFC 9113 §8.1.1, §8.2, §8.3, §10.3), end within an answer, or say nothing: what
//! is malformed is not passed on, and what was begun does not look whole.

use http::Request;

use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS, block,
    frame,
};
use crate::support::{Origin, Wire, World, soon};

const WHOLE: u8 = END_HEADERS | END_STREAM;
const STATUS: (&str, &str) = (":status", "200");
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nbegun";

/// What a client is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// An answer of the proxy's own.
    Refusal,
    /// The beginning of an answer, and no end.
    Half,
    /// An answer.
    Whole,
}

/// The server's end of a connection, on which a request has come.
async fn asked(origin: &mut Origin) -> Wire {
    let mut wire = origin.accept().await;
    wire.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    wire.send(frame(SETTINGS, 0, 0, &[])).await;
    // The body of a request that must not be asked twice.
    wire.through("begun").await;
    wire
}

fn answer(fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, 1, &block(fields))
}

fn cases() -> Vec<(&'static str, Vec<u8>, Sees)> {
    let begun = || answer(&[STATUS], END_HEADERS);
    let of_five = || answer(&[STATUS, ("content-length", "5")], END_HEADERS);
    let data = |flags, text: &[u8]| frame(DATA, flags, 1, text);
    vec![
        ("nothing wrong", [begun(), data(END_STREAM, b"fine")].concat(), Sees::Whole),
        (
            "frames of unknown kinds",
            [frame(0xee, 0xff, 1, b"?"), begun(), data(END_STREAM, b"fine")].concat(),
            Sees::Whole,
        ),
        (
            "a PING between",
            [begun(), frame(PING, 0, 0, &[7; 8]), data(END_STREAM, b"fine")].concat(),
            Sees::Whole,
        ),
        ("no status", answer(&[("content-length", "0")], WHOLE), Sees::Refusal),
        ("two statuses", answer(&[STATUS, STATUS], WHOLE), Sees::Refusal),
        ("a status that is none", answer(&[(":status", "2x0")], WHOLE), Sees::Refusal),
        ("a status behind a field", answer(&[("a", "b"), STATUS], WHOLE), Sees::Refusal),
        // The library passes over what only a request has, and what no trailers have.
        ("a request's pseudo-field", answer(&[STATUS, (":path", "/")], WHOLE), Sees::Whole),
        ("a name in upper case", answer(&[STATUS, ("A", "b")], WHOLE), Sees::Refusal),
        ("a field of the connection", answer(&[STATUS, ("connection", "close")], WHOLE), Sees::Refusal),
        ("a transfer coding", answer(&[STATUS, ("transfer-encoding", "chunked")], WHOLE), Sees::Refusal),
        ("a line end in a value", answer(&[STATUS, ("a", "b\r\nc: d")], WHOLE), Sees::Refusal),
        ("a NUL in a value", answer(&[STATUS, ("a", "b\0")], WHOLE), Sees::Refusal),
        (
            "a length that is none",
            [answer(&[STATUS, ("content-length", "x")], END_HEADERS), data(END_STREAM, b"fine")].concat(),
            Sees::Refusal,
        ),
        (
            "two lengths",
            [
                answer(&[STATUS, ("content-length", "4"), ("content-length", "5")], END_HEADERS),
                data(END_STREAM, b"fine"),
            ]
            .concat(),
            Sees::Refusal,
        ),
        ("DATA before its head", data(END_STREAM, b"fine"), Sees::Refusal),
        ("an interim answer that ends", answer(&[(":status", "103")], WHOLE), Sees::Refusal),
        ("fields that can't be unpacked", frame(HEADERS, WHOLE, 1, &[0xff; 8]), Sees::Refusal),
        ("a pushed answer", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), Sees::Refusal),
        ("a stream that nobody opened", frame(HEADERS, WHOLE, 3, &block(&[STATUS])), Sees::Refusal),
        ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 16_385]), Sees::Refusal),
        (
            "fields without end",
            [
                frame(HEADERS, 0, 1, &block(&[STATUS])),
                frame(CONTINUATION, 0, 1, &block(&[("a", "b")])).repeat(20_000),
            ]
            .concat(),
            Sees::Refusal,
        ),
        (
            "another frame within fields",
            [frame(HEADERS, 0, 1, &block(&[STATUS])), frame(PING, 0, 0, &[0; 8])].concat(),
            Sees::Refusal,
        ),
        ("less than its length", [of_five(), data(END_STREAM, b"less")].concat(), Sees::Half),
        ("more than its length", [of_five(), data(END_STREAM, b"more of it")].concat(), Sees::Half),
        (
            "trailers that are pseudo-fields",
            [begun(), data(0, b"half"), answer(&[STATUS], WHOLE)].concat(),
            Sees::Whole,
        ),
        (
            "trailers that don't end it",
            [begun(), data(0, b"half"), answer(&[("a", "b")], END_HEADERS)].concat(),
            Sees::Half,
        ),
        (
            "a reset within",
            [begun(), data(0, b"half"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])].concat(),
            Sees::Half,
        ),
        (
            "a GOAWAY with an error within",
            [begun(), data(0, b"half"), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])].concat(),
            Sees::Half,
        ),
    ]
}

/// Whether a client of HTTP/1 sees an answer, and whether that is whole.
async fn seen_by_http1(client: &mut Wire) -> Sees {
    client.finish().await;
    let (received, _) = client.rest().await;
    let text = String::from_utf8_lossy(&received).into_owned();
    // What is interim is passed on before anything is known of the answer.
    let text = text.split_once("HTTP/1.1 103 Early Hints\r\n\r\n").map_or(text.as_str(), |(_, rest)| rest);
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    match &text[9..12] {
        "502" => Sees::Refusal,
        "200" if text.ends_with("\r\n0\r\n\r\n") || text.contains("\r\ncontent-length: 0\r\n") => Sees::Whole,
        "200" => Sees::Half,
        _ => panic!("{text}"),
    }
}

async fn seen_by_http2(answer: h2::client::ResponseFuture) -> Sees {
    // What broke it off may be heard of before its head is.
    let Ok(answer) = soon("a head", answer).await else { return Sees::Half };
    if answer.status() == 502 {
        return Sees::Refusal;
    }
    match soon("the rest", crate::support::http2::rest(answer)).await {
        Ok(_) => Sees::Whole,
        Err(_) => Sees::Half,
    }
}

/// Ends the server's side, and waits for the proxy's: else the next request might meet this connection.
async fn is_over(mut wire: Wire) {
    wire.finish().await;
    wire.rest().await;
}

#[tokio::test]
async fn what_is_malformed_is_not_passed_on() {
    let mut origin = Origin::manual().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut wrong = Vec::new();
    for (what, bytes, expected) in cases() {
        // An error of one stream leaves the connection to the others: each case has its own.
        for by_http2 in [false, true] {
            let seen = if by_http2 {
                let mut client = Http2::connect(world.http).await;
                let request = Request::post("http://a.test/").body(()).unwrap();
                let (answer, mut upload) = client.begin(request, false).await;
                upload.send_data("begun".into(), true).unwrap();
                let mut wire = asked(&mut origin).await;
                let _ = wire.try_send(&bytes).await;
                let seen = seen_by_http2(answer).await;
                is_over(wire).await;
                seen
            } else {
                let mut client = world.client().await;
                client.send(POST).await;
                let mut wire = asked(&mut origin).await;
                let _ = wire.try_send(&bytes).await;
                let seen = seen_by_http1(&mut client).await;
                is_over(wire).await;
                seen
            };
            if seen != expected {
                wrong.push((what, by_http2, seen));
            }
        }
    }
    assert_eq!(wrong, []);
}

/// The connection ends at once, at different places.
#[tokio::test]
async fn a_server_that_dies_within_its_answer_is_not_taken_for_one_that_ended_it() {
    let mut origin = Origin::manual().await;
    let world = World::speaking_h2c(&[origin.at]);
    let head = answer(&[STATUS], END_HEADERS);
    for (bytes, expected) in [
        (Vec::new(), Sees::Refusal),
        (head[..12].to_vec(), Sees::Refusal),
        (head.clone(), Sees::Half),
        ([head.clone(), frame(DATA, 0, 1, b"half")].concat(), Sees::Half),
        ([head, frame(DATA, END_STREAM, 1, b"cut short")[..14].to_vec()].concat(), Sees::Half),
    ] {
        for is_reset in [false, true] {
            let mut client = world.client().await;
            client.send(POST).await;
            let mut wire = asked(&mut origin).await;
            wire.send(&bytes).await;
            if expected == Sees::Half {
                client.head().await;
            }
            if is_reset {
                wire.reset();
            } else {
                drop(wire);
            }
            let (rest, _) = client.rest().await;
            let rest = String::from_utf8_lossy(&rest).into_owned();
            match expected {
                Sees::Refusal => assert!(rest.starts_with("HTTP/1.1 502 "), "{bytes:?} {is_reset}: {rest}"),
                _ => assert!(!rest.ends_with("0\r\n\r\n"), "{bytes:?} {is_reset}: {rest}"),
            }
        }
    }
}
