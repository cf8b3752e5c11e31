//! A connection to a name server, used by all who ask it, for as long as there is something to ask (RFC 7766 §6.2); in the
//! clear or by TLS (RFC 7858).
//!
//! One task owns it: it writes questions as they come, with numbers of its own, and hands each answer to whoever asked.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::secure::Secure;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection is kept that nobody asks anything (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// How long a write may wait.
const WRITE: Duration = Duration::from_secs(2);
/// Questions that may wait for the connection.
const WAITING: usize = 128;

/// What a connection carries.
pub(super) trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

/// Where a stream goes. The connection is made when something is asked.
#[derive(Debug)]
pub(crate) struct Stream {
    address: SocketAddr,
    secure: Option<Secure>,
    asking: ArcSwapOption<mpsc::Sender<Ask>>,
}

#[derive(Debug)]
struct Ask {
    query: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Stream {
    pub(crate) fn new(address: SocketAddr, secure: Option<Secure>) -> Self {
        Self { address, secure, asking: ArcSwapOption::empty() }
    }

    /// Whether nobody on the way can read it.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// The answer, with the number that the query has; `None` where the connection can't be had or ends before. A
    /// connection that was there before may have been closed by the server meanwhile: then once more, by a new one.
    pub(crate) async fn ask(&self, query: &[u8]) -> Option<Vec<u8>> {
        for _ in 0..2 {
            let (sender, is_new) = self.sender();
            let (answer, answered) = oneshot::channel();
            let sent = sender.send(Ask { query: query.to_vec(), answer }).await;
            if let (Ok(()), Ok(mut bytes)) = (sent, answered.await) {
                bytes.get_mut(..2)?.copy_from_slice(query.get(..2)?);
                return Some(bytes);
            }
            if is_new {
                return None;
            }
        }
        None
    }

    fn sender(&self) -> (Arc<mpsc::Sender<Ask>>, bool) {
        if let Some(sender) = self.asking.load_full().filter(|sender| !sender.is_closed()) {
            return (sender, false);
        }
        let (sender, asked) = mpsc::channel(WAITING);
        let sender = Arc::new(sender);
        self.asking.store(Some(Arc::clone(&sender)));
        let (address, secure) = (self.address, self.secure.clone());
        tokio::spawn(async move {
            match timeout(CONNECT, connect(address, secure)).await {
                Ok(Ok(wire)) => Connection::new(wire, asked).run().await,
                Ok(Err(error)) => debug!(%address, %error, "no connection to a name server"),
                Err(_) => debug!(%address, "no connection to a name server in time"),
            }
        });
        (sender, true)
    }
}

async fn connect(address: SocketAddr, secure: Option<Secure>) -> io::Result<Box<dyn Wire>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match secure {
        None => Ok(Box::new(stream)),
        Some(secure) => Ok(Box::new(secure.connect(stream).await?)),
    }
}

struct Connection {
    reading: ReadHalf<Box<dyn Wire>>,
    writing: WriteHalf<Box<dyn Wire>>,
    asked: mpsc::Receiver<Ask>,
    waiting: HashMap<u16, oneshot::Sender<Vec<u8>>>,
    next: u16,
    inbox: Vec<u8>,
}

impl Connection {
    fn new(wire: Box<dyn Wire>, asked: mpsc::Receiver<Ask>) -> Self {
        let (reading, writing) = split(wire);
        // Numbers need not be hard to guess where nobody can write but the server.
        Self { reading, writing, asked, waiting: HashMap::new(), next: 0, inbox: Vec::new() }
    }

    async fn run(mut self) {
        loop {
            // Whoever no longer waits is forgotten.
            self.waiting.retain(|_, answer| !answer.is_closed());
            tokio::select! {
                ask = self.asked.recv() => {
                    let Some(ask) = ask else { return };
                    if self.write(ask).await.is_err() { return }
                }
                read = self.reading.read_buf(&mut self.inbox) => {
                    if !matches!(read, Ok(1..)) { return }
                    self.deliver();
                }
                () = sleep(IDLE) => return,
            }
        }
    }

    async fn write(&mut self, Ask { mut query, answer }: Ask) -> io::Result<()> {
        while self.waiting.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if let Some(place) = query.get_mut(..2) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        self.waiting.insert(number, answer);
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        timeout(WRITE, self.writing.write_all(&framed)).await??;
        timeout(WRITE, self.writing.flush()).await?
    }

    fn deliver(&mut self) {
        loop {
            let Some((length, rest)) = self.inbox.split_first_chunk::<2>() else { return };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else { return };
            let message = message.to_vec();
            self.inbox.drain(..2 + length);
            let Some(number) = message.first_chunk::<2>() else { continue };
            if let Some(answer) = self.waiting.remove(&u16::from_be_bytes(*number)) {
                let _ = answer.send(message);
            }
        }
    }
}
