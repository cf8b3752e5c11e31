//! RFC 6455: the handshake and the frames of a WebSocket pass as they are, whatever is in them.

use crate::support::{End, Origin, Wire, World};

/// A frame (§5.2): masked as a client's must be, or not as a server's must not.
fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    let masked = u8::from(mask.is_some()) << 7;
    match payload.len() {
        length @ ..126 => frame.push(masked | length as u8),
        length @ ..65536 => {
            frame.push(masked + 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked + 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend(mask.iter().flatten());
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    frame
}

/// Sends this from one end while it is received at the other.
async fn carry(from: &mut Wire, to: &mut Wire, bytes: &[u8]) {
    let ((), received) = tokio::join!(from.send(bytes), to.exactly(bytes.len()));
    assert!(received == bytes, "{} bytes arrive as they were sent", bytes.len());
}

#[tokio::test]
async fn handshake_frames_and_closing_pass_as_they_are() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let fields = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\nOrigin: http://a.test\r\n";
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n{fields}\r\n"
        ))
        .await;
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    for field in fields.lines().chain(["Upgrade: WebSocket", "Connection: Upgrade", "X-Forwarded-Proto: ws"])
    {
        assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field} in {head}");
    }
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    )
    .await;
    let head = client.head().await;
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let every_byte: Vec<u8> = (0..=255).collect();
    for length in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let payload: Vec<u8> = every_byte.iter().copied().cycle().take(length).collect();
        carry(&mut client, &mut wire, &frame(2, &payload, Some([1, 2, 3, 4]))).await;
        carry(&mut wire, &mut client, &frame(2, &payload, None)).await;
    }
    carry(&mut client, &mut wire, &frame(9, b"ping", Some([0; 4]))).await;
    carry(&mut wire, &mut client, &frame(10, b"ping", None)).await;
    carry(&mut client, &mut wire, &frame(8, &1000_u16.to_be_bytes(), Some([9; 4]))).await;
    carry(&mut wire, &mut client, &frame(8, &1000_u16.to_be_bytes(), None)).await;
    // The server closes first (§7.1.1).
    wire.finish().await;
    assert_eq!(client.ends().await, End::Clean);
    client.finish().await;
    assert_eq!(wire.ends().await, End::Clean);
}

#[tokio::test]
async fn a_handshake_that_is_refused_is_an_answer_as_any() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let asks = "GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 12\r\n\r\n";
    client.send(asks).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("Sec-WebSocket-Version")), (426, Some("13")));
    client.send(asks).await;
    wire.head().await;
}
