//! One end of a connection, which says exactly the bytes it is told to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Link, soon};

/// A connection, with what was received on it and not looked at yet.
pub(crate) struct Wire {
    stream: Link,
    bytes: Vec<u8>,
}

/// An answer as a client understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Reset,
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(soon("a connection", TcpStream::connect(to)).await.expect("the connection is accepted"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        Self::by(stream.into())
    }

    pub(crate) fn by(stream: Link) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    /// Goes on by TLS, as a client that asks for this name.
    pub(crate) async fn into_tls(self, name: &str, config: Arc<ClientConfig>) -> io::Result<Link> {
        Link::upgrade(self.into_tcp(), name, config).await
    }

    /// Goes on by TLS, as a server.
    pub(crate) async fn into_server_tls(self, config: Arc<ServerConfig>) -> io::Result<Link> {
        Link::accept(self.into_tcp(), config).await
    }

    fn into_tcp(self) -> TcpStream {
        assert!(self.bytes.is_empty(), "bytes are left that nobody looked at");
        match self.stream {
            Link::Tcp(tcp) => tcp,
            Link::Tls(_) => panic!("it speaks TLS already"),
        }
    }

    /// What its bytes go over, for another to speak.
    pub(crate) fn into_link(self) -> Link {
        assert!(self.bytes.is_empty(), "bytes are left that nobody looked at");
        self.stream
    }

    pub(crate) fn link(&self) -> &Link {
        &self.stream
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("room to send", self.stream.write_all(bytes.as_ref())).await.expect("the other side reads");
    }

    /// Sends for as long as the other side reads.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("room to send", self.stream.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        // The other side may have ended the connection already.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection so that the other side sees an error.
    pub(crate) fn reset(self) {
        self.stream.tcp().set_zero_linger().expect("a TCP socket");
    }

    /// Everything up to and including `pattern`.
    pub(crate) async fn through(&mut self, pattern: &str) -> String {
        let end = loop {
            let found = self.bytes.windows(pattern.len()).position(|window| window == pattern.as_bytes());
            match found {
                Some(at) => break at + pattern.len(),
                None => self.read(pattern).await,
            }
        };
        String::from_utf8_lossy(&self.bytes.drain(..end).collect::<Vec<u8>>()).into_owned()
    }

    /// The head of a message.
    pub(crate) async fn head(&mut self) -> String {
        self.through("\r\n\r\n").await
    }

    /// This many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count {
            self.read("more bytes").await;
        }
        self.bytes.drain(..count).collect()
    }

    /// This many bytes, or what comes before the end.
    pub(crate) async fn up_to(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count
            && matches!(soon("bytes or the end", self.stream.read_buf(&mut self.bytes)).await, Ok(1..))
        {
        }
        self.bytes.drain(..count.min(self.bytes.len())).collect()
    }

    /// This text.
    pub(crate) async fn expect(&mut self, text: &str) {
        let received = self.exactly(text.len()).await;
        assert_eq!(String::from_utf8_lossy(&received), text);
    }

    /// An answer to anything but HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let status = status(&head);
        let body = match framing(&head) {
            _ if status < 200 || status == 204 || status == 304 => Vec::new(),
            None => self.rest().await.0,
            Some(_) => self.body(&head).await,
        };
        Answer { status, head, body: String::from_utf8(body).expect("text") }
    }

    /// An answer to HEAD.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        let head = self.head().await;
        Answer { status: status(&head), head, body: String::new() }
    }

    /// The content behind a head that says where it ends.
    pub(crate) async fn body(&mut self, head: &str) -> Vec<u8> {
        match framing(head) {
            None => Vec::new(),
            Some(Framing::Length(length)) => self.exactly(length).await,
            Some(Framing::Chunked) => {
                let mut content = Vec::new();
                loop {
                    let line = self.through("\r\n").await;
                    let digits = line.trim_end().split(';').next().unwrap_or_default();
                    let size = usize::from_str_radix(digits, 16).expect("a chunk size");
                    if size == 0 {
                        while self.through("\r\n").await != "\r\n" {}
                        return content;
                    }
                    content.extend(self.exactly(size).await);
                    self.expect("\r\n").await;
                }
            }
        }
    }

    /// Whatever comes until the connection ends, and how it ends.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        soon("the end of the connection", async {
            loop {
                match self.stream.read_buf(&mut self.bytes).await {
                    Ok(0) => return (std::mem::take(&mut self.bytes), End::Clean),
                    Ok(_) => {}
                    Err(_) => return (std::mem::take(&mut self.bytes), End::Reset),
                }
            }
        })
        .await
    }

    /// Waits for the end of the connection, before which nothing more may come.
    pub(crate) async fn ends(&mut self) -> End {
        let (bytes, end) = self.rest().await;
        assert_eq!(String::from_utf8_lossy(&bytes), "", "more came before the end");
        end
    }

    /// Whether the other side has ended the connection, or more has come, without waiting for it.
    pub(crate) async fn next_head(&mut self) -> Option<String> {
        while !self.bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            match self.stream.read_buf(&mut self.bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
        Some(self.head().await)
    }

    /// Whether the connection ends without a word, rather than with an answer.
    pub(crate) async fn ends_unanswered(&mut self) -> bool {
        soon("an answer or the end", self.next_head()).await.is_none()
    }

    async fn read(&mut self, for_what: &str) {
        let count = soon(for_what, self.stream.read_buf(&mut self.bytes)).await;
        assert!(
            matches!(count, Ok(1..)),
            "{count:?} while waiting for {for_what:?}; had {:?}",
            String::from_utf8_lossy(&self.bytes)
        );
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

fn framing(head: &str) -> Option<Framing> {
    if field(head, "Transfer-Encoding").is_some() {
        return Some(Framing::Chunked);
    }
    field(head, "Content-Length").map(|length| Framing::Length(length.parse().expect("a number")))
}

fn status(head: &str) -> u16 {
    assert!(head.starts_with("HTTP/1."), "{head:?}");
    head[9..12].parse().expect("a status code")
}

/// The value of the first field with this name.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
