//! A client that speaks HTTP/2, and one that says the frames it is told to.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// A connection of a well-behaved client.
#[derive(Clone)]
pub(crate) struct Http2 {
    requests: SendRequest<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2 {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(soon("a connection", TcpStream::connect(to)).await.expect("it is accepted")).await
    }

    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) =
            soon("a handshake", h2::client::handshake(stream)).await.expect("HTTP/2");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { requests }
    }

    /// Waits until the server has said that CONNECT may name a protocol.
    pub(crate) async fn may_connect(&mut self) {
        soon("the server's settings", async {
            while !self.requests.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Begins a request; with a way to send its body where there is one.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut ready = soon("room for a stream", self.requests.clone().ready()).await.expect("still open");
        ready.send_request(request, ends).expect("a fine request")
    }

    /// The answer to a request with this body.
    pub(crate) async fn ask(&mut self, request: Request<&[u8]>) -> Result<Answered, h2::Error> {
        let (parts, body) = request.into_parts();
        let (answer, mut upload) = self.begin(Request::from_parts(parts, ()), body.is_empty()).await;
        if !body.is_empty() {
            upload.send_data(Bytes::copy_from_slice(body), true).expect("the stream is open");
        }
        soon("an answer", answered(answer)).await
    }

    pub(crate) async fn get(&mut self, uri: &str) -> Answered {
        self.ask(Request::get(uri).body(&b""[..]).expect("a request")).await.expect("an answer")
    }

    /// Whether the connection takes further requests.
    pub(crate) async fn is_open(&self) -> bool {
        self.requests.clone().ready().await.is_ok()
    }
}

/// Reads an answer to its end.
pub(crate) async fn answered(answer: h2::client::ResponseFuture) -> Result<Answered, h2::Error> {
    rest(answer.await?).await
}

/// Reads what is left of an answer.
pub(crate) async fn rest(answer: Response<h2::RecvStream>) -> Result<Answered, h2::Error> {
    let (parts, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Answered {
        status: parts.status.as_u16(),
        fields: parts.headers,
        body: String::from_utf8(body).expect("text"),
        trailers,
    })
}

/// A client that says exactly the frames it is told to.
pub(crate) struct Frames {
    stream: TcpStream,
    bytes: Vec<u8>,
}

/// A frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of fields, none of them compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(text.len(), &mut bytes);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// A length in HPACK's way (RFC 7541 §5.1), behind one bit that says "not Huffman".
fn integer(value: usize, bytes: &mut Vec<u8>) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    let mut left = value - 127;
    while left >= 128 {
        bytes.push((left % 128 + 128) as u8);
        left /= 128;
    }
    bytes.push(left as u8);
}

/// The block of a plain request.
pub(crate) fn get_block(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", path)])
}

impl Frames {
    /// A connection on which the settings have been exchanged.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(to)).await.expect("it is accepted");
        let mut frames = Self { stream, bytes: Vec::new() };
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(&frame(SETTINGS, 0, 0, &[])).await;
        frames.send(&frame(SETTINGS, 1, 0, &[])).await;
        frames
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon("room to send", self.stream.write_all(bytes)).await.expect("the other side reads");
    }

    /// Sends for as long as the other side reads; `false` once it does not.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon("room to send", self.stream.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((header, rest)) = self.bytes.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
                if rest.len() >= length {
                    let frame = Frame {
                        kind: header[3],
                        flags: header[4],
                        stream: u32::from_be_bytes([header[5], header[6], header[7], header[8]]),
                        payload: rest[..length].to_vec(),
                    };
                    self.bytes.drain(..9 + length);
                    return Some(frame);
                }
            }
            match soon("a frame", self.stream.read_buf(&mut self.bytes)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next frame of this kind.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the end before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the connection; gives the error code of the last GOAWAY, if there was one.
    pub(crate) async fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = frame.payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
        code
    }
}
