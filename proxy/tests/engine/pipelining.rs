//! Several requests at once, and requests in pieces.

use crate::support::{End, Origin, World, ok};

const REQUESTS: &str = "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n\
    \r\nPOST /2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc\
    POST /3 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
    GET /nowhere HTTP/1.1\r\nHost: b.test\r\n\r\n\
    HEAD /4 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

async fn origin() -> Origin {
    Origin::answering(|seen| {
        let line = seen.head.lines().next().unwrap_or_default();
        let body = if line.starts_with("HEAD") { "" } else { line };
        ok(&format!("{body}{}", String::from_utf8_lossy(&seen.body)))
    })
    .await
}

#[tokio::test]
async fn requests_are_answered_in_their_order_wherever_the_bytes_are_split() {
    let origin = origin().await;
    let world = World::in_front_of(&origin);
    let mut expected = None;
    for split in 0..=REQUESTS.len() {
        let mut client = world.client().await;
        client.send(&REQUESTS[..split]).await;
        // What can be answered is answered, so that the rest really comes apart.
        tokio::task::yield_now().await;
        client.send(&REQUESTS[split..]).await;
        let (answers, end) = client.rest().await;
        assert_eq!(end, End::Clean, "split at {split}");
        let answers = String::from_utf8(answers).expect("text");
        let expected = expected.get_or_insert_with(|| answers.clone());
        assert_eq!(&answers, expected, "split at {split}");
        let statuses: Vec<&str> = answers
            .match_indices("HTTP/1.1 ")
            .map(|(at, _)| &answers[at + 9..])
            .map(|rest| &rest[..3.min(rest.len())])
            .collect();
        let statuses: Vec<&str> =
            statuses.into_iter().filter(|status| status.parse::<u16>().is_ok()).collect();
        assert_eq!(statuses, ["200", "200", "200", "404", "200"], "split at {split}");
    }
}

#[tokio::test]
async fn more_requests_than_a_buffer_holds_are_all_answered() {
    let mut origin = origin().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let requests: Vec<String> =
        (0..2_000).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
    client.send(requests.concat()).await;
    for number in 0..2_000 {
        assert_eq!(client.answer().await.body, format!("GET /{number} HTTP/1.1"));
        assert_eq!(origin.seen().await.target(), format!("/{number}"));
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_its_answers() {
    let origin = origin().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.finish().await;
    assert_eq!(client.answer().await.body, "GET /1 HTTP/1.1");
    assert_eq!(client.answer().await.body, "GET /2 HTTP/1.1");
    assert_eq!(client.ends().await, End::Clean);
}
