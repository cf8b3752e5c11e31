//! Whatever valid requests come, in whatever pieces: each gets the answer to it.

use crate::support::{Origin, Reply, Seen, Wire, World};

/// A random sequence that is the same every time (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }

    /// Mostly small, at times larger than a buffer.
    fn length(&mut self) -> usize {
        match self.below(40) {
            0 => 15_000 + self.below(4_000),
            1 => self.below(60_000),
            2..10 => 0,
            _ => self.below(300),
        }
    }
}

fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdef\r\n"[(seed + at * 7) % 18]).collect()
}

/// The body in chunks of random sizes, with an extension or a trailer at times.
fn chunked(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut written = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
        let extension = if random.below(4) == 0 { ";a=\"b\"" } else { "" };
        written.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        written.extend(chunk);
        written.extend(b"\r\n");
        rest = after;
    }
    written.extend(if random.below(3) == 0 { &b"0\r\nX-Sum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    written
}

/// Answers with what it was sent, framed in either way.
fn echo(seen: &Seen) -> Reply {
    let mut random = Random(seen.body.len() as u64);
    let name = seen.target();
    if random.below(2) == 0 {
        let head = format!("HTTP/1.1 200 OK\r\nX-Target: {name}\r\nTransfer-Encoding: chunked\r\n\r\n");
        return Reply::raw([head.into_bytes(), chunked(&seen.body, &mut random)].concat());
    }
    let head = format!("HTTP/1.1 200 OK\r\nX-Target: {name}\r\nContent-Length: {}\r\n\r\n", seen.body.len());
    Reply::raw([head.as_bytes(), &seen.body].concat())
}

/// Some requests in one go, with the bodies that must come back.
fn batch(number: usize, random: &mut Random) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut written, mut bodies) = (Vec::new(), Vec::new());
    for index in 0..=random.below(5) {
        let body = content(number + index, random.length());
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE", "SPECIAL"][random.below(6)];
        let noise = "X-Noise: yes\r\n".repeat(random.below(4));
        let line = format!("{method} /{number}/{index} HTTP/1.1\r\n{noise}Host: a.test\r\n");
        written.extend(line.bytes());
        if random.below(2) == 0 {
            written.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            written.extend(chunked(&body, random));
        } else if body.is_empty() && random.below(2) == 0 {
            written.extend(b"\r\n");
        } else {
            written.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            written.extend(&body);
        }
        bodies.push(body);
    }
    (written, bodies)
}

async fn send_in_pieces(client: &mut Wire, mut bytes: &[u8], random: &mut Random) {
    while !bytes.is_empty() {
        let most = if random.below(3) == 0 { 20 } else { bytes.len() };
        let (piece, rest) = bytes.split_at((1 + random.below(most)).min(bytes.len()));
        client.send(piece).await;
        tokio::task::yield_now().await;
        bytes = rest;
    }
}

#[tokio::test]
async fn every_request_of_a_connection_gets_its_own_answer() {
    let origin = Origin::answering(echo).await;
    let world = World::in_front_of(&origin);
    let mut requests = 0;
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut client = world.client().await;
        for number in 0..130 {
            let (written, bodies) = batch(number, &mut random);
            send_in_pieces(&mut client, &written, &mut random).await;
            for (index, body) in bodies.iter().enumerate() {
                let answer = client.answer().await;
                let target = format!("/{number}/{index}");
                assert_eq!(answer.field("X-Target"), Some(target.as_str()), "seed {seed}");
                assert!(answer.body.as_bytes() == body, "seed {seed}, {target}, {} bytes", body.len());
                requests += 1;
            }
        }
    }
    assert!(requests > 2_000, "{requests}");
    assert!(world.metric("portolan_refusals_total", &[]) < 0.5);
}
