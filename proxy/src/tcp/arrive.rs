//! A connection to an entry point before it is known what it is. It is read as far as that takes, within a limit of
//! bytes and time, and given to HTTP or to a TCP router with what was read.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use portolan_config::Protocol;
use portolan_config::rule::ConnectionView;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::postgres::{self, Asked};
use super::session::Session;
use crate::census::Counted;
use crate::deadline::{Moment, sleep_until, timeout_at};
use crate::ended::{Ended, Why};
use crate::http::{self, EntryPoint, Reason};
use crate::limits::{DRAIN_FIRST_REQUEST, PROXY_HEADER_TIMEOUT, RECOGNITION_TIMEOUT, TLS_HANDSHAKE_TIMEOUT};
use crate::proxy_protocol::{self, Found};
use crate::stream::Stream;
use crate::table::tcp::{Route, Taker};
use crate::table::{Entry, Table};
use crate::tls::begins_handshake;
use crate::tls::client_hello::{self, ClientHello};
use crate::worker::{Buffer, Worker, spawn_counted};

/// A fatal `unrecognized_name`, in the clear (RFC 6066 §3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A connection that was just accepted: as the kernel gives it, or watched by the runtime.
#[derive(Debug)]
pub(crate) struct Client<T = TcpStream> {
    pub(crate) tcp: T,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
    /// What it connected to, if that was told.
    pub(crate) told_to: Option<SocketAddr>,
    pub(crate) entry_point: Rc<EntryPoint>,
    pub(crate) counted: Counted,
}

/// Serves a connection for as long as it stays, whatever it is. Where nothing but HTTP can be meant, that costs nothing.
pub(crate) fn serve(
    client: Client<std::net::TcpStream>,
    worker: Rc<Worker>,
) -> Served<impl Future<Output = ()>> {
    let name = &client.entry_point.settings.name;
    let only_http = !client.speaks_for_others()
        && entry(&worker.table(), name).is_none_or(|entry| entry.connections.is_empty());
    if only_http {
        let Client { tcp, peer, entry_point, counted, .. } = client;
        let future = http::serve(Stream::fresh(tcp), peer, entry_point, worker, Some(counted));
        return Served::Http { future };
    }
    let arriving = async move {
        let Client { tcp, peer, told_to, entry_point, counted } = client;
        if let Ok(tcp) = TcpStream::from_std(tcp) {
            arrive(Client { tcp, peer, told_to, entry_point, counted }, worker).await;
        }
    };
    Served::Other { future: Box::pin(arriving) }
}

impl<T> Client<T> {
    /// Whether whoever connected may say who the client is, by the PROXY protocol.
    fn speaks_for_others(&self) -> bool {
        self.entry_point.settings.proxy_protocol.as_ref().is_some_and(|known| known.trusts(self.peer.ip()))
    }
}

pin_project_lite::pin_project! {
    /// A connection that is served.
    #[project = Projected]
    pub(crate) enum Served<H> {
        Http { #[pin] future: H },
        Other { future: Pin<Box<dyn Future<Output = ()>>> },
    }
}

impl<H: Future<Output = ()>> Future for Served<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.project() {
            Projected::Http { future } => future.poll(context),
            Projected::Other { future } => future.as_mut().poll(context),
        }
    }
}

/// What became of a connection.
enum Arrived {
    /// HTTP goes on with what was read.
    Http(Buffer),
    /// A TCP router takes it.
    Tcp(Taken),
    /// The client left.
    Gone,
    /// It is closed.
    Refused(Reason),
}

/// What a TCP router takes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) route: Arc<Route>,
    /// What was read, which is the endpoint's.
    pub(super) early: Buffer,
    /// What the client asked for, where it speaks TLS.
    pub(super) hello: Option<ClientHello>,
    /// Whether it asked PostgreSQL's way for TLS, and was told yes.
    pub(super) start_tls: bool,
}

async fn arrive(mut client: Client, worker: Rc<Worker>) {
    let began = Instant::now();
    let _open = client.entry_point.scope.open();
    let arrived = if client.speaks_for_others() {
        match introduced(&mut client, &worker).await {
            Ok(inbound) => sort(&mut client, inbound, &worker).await,
            Err(arrived) => arrived,
        }
    } else {
        let inbound = worker.buffers.take();
        sort(&mut client, inbound, &worker).await
    };
    let Client { tcp, peer, told_to, entry_point, counted } = client;
    // A task of its own for what comes now: it is made for that, and what arriving took is given back.
    match arrived {
        Arrived::Http(inbound) => {
            let served =
                http::serve_begun(tcp.into(), inbound, peer, entry_point, worker.clone(), Some(counted));
            spawn_counted(&worker, served);
        }
        Arrived::Tcp(taken) => {
            let client = Client { tcp, peer, told_to, entry_point, counted };
            spawn_counted(&worker, Session::new(client, taken).serve(worker.clone()));
        }
        Arrived::Gone => {}
        Arrived::Refused(reason) => {
            let name = &entry_point.settings.name;
            worker.metrics.refused(name, reason);
            tracing::debug!(reason = reason.as_str(), client = %peer, entry_point = name, "connection closed");
            let ended = Ended {
                protocol: Protocol::Tcp,
                entry_point: &entry_point.scope,
                observability: entry_point.settings.observability,
                client: peer,
                tls: None,
                server_name: "",
                router: None,
                service: None,
                target: None,
                received: 0,
                sent: 0,
                took: began.elapsed(),
                why: Why::Refused(reason),
            };
            ended.note(&worker);
        }
    }
}

/// Reads who the client is. Gives what came behind that; without a header, it is whoever connected.
async fn introduced(client: &mut Client, worker: &Rc<Worker>) -> Result<Buffer, Arrived> {
    let deadline = Moment::now() + PROXY_HEADER_TIMEOUT;
    let mut inbound = worker.buffers.take();
    loop {
        match proxy_protocol::read(inbound.filled()) {
            Ok(Found::NotYet) => {}
            Ok(Found::Nothing) => return Ok(inbound),
            Ok(Found::Header { length, told }) => {
                inbound.consume(length);
                if let Some(told) = told {
                    client.peer = told.client;
                    client.told_to = Some(told.to);
                    client.counted.belongs_to(told.client.ip()).map_err(Arrived::Refused)?;
                }
                return Ok(inbound);
            }
            Err(proxy_protocol::Malformed) => return Err(Arrived::Refused(Reason::ProxyHeader)),
        }
        match timeout_at(deadline, inbound.read_from(&mut client.tcp)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Arrived::Gone),
            // It may be the endpoint that speaks first.
            Err(_) if inbound.is_empty() => return Ok(inbound),
            Err(_) => return Err(Arrived::Refused(Reason::ProxyHeader)),
        }
    }
}

/// Finds out whose the connection is. `inbound` is what was read of it.
async fn sort(client: &mut Client, inbound: Buffer, worker: &Rc<Worker>) -> Arrived {
    let ip = client.peer.ip().to_canonical();
    let name = client.entry_point.settings.name.clone();
    if let Some(route) = entry(&worker.table(), &name).and_then(|entry| entry.takes_unread(ip)) {
        return Arrived::Tcp(Taken { route, early: inbound, hello: None, start_tls: false });
    }
    let begun = if inbound.is_empty() { first_bytes(client, worker).await } else { Ok(Some(inbound)) };
    match begun {
        Ok(Some(inbound)) => Sorting { client, worker, name: &name, ip, inbound }.sort().await,
        Ok(None) => Arrived::Gone,
        Err(reason) => Arrived::Refused(reason),
    }
}

/// Waits for the client's first bytes, holding no buffer meanwhile. `None` is a client that left.
async fn first_bytes(client: &mut Client, worker: &Rc<Worker>) -> Result<Option<Buffer>, Reason> {
    let deadline = Moment::now() + client.entry_point.limits.idle;
    tokio::select! {
        biased;
        ready = client.tcp.readable() => if ready.is_err() { return Ok(None) },
        () = sleep_until(deadline) => return Err(Reason::ClientIdle),
        () = drained(worker) => return Ok(None),
    }
    let mut inbound = worker.buffers.take();
    match timeout_at(deadline, inbound.read_from(&mut client.tcp)).await {
        Ok(Ok(1..)) => Ok(Some(inbound)),
        Ok(Ok(0) | Err(_)) => Ok(None),
        Err(_) => Err(Reason::ClientIdle),
    }
}

/// Resolves when draining has begun and whoever connected before has had the time to say something.
async fn drained(worker: &Worker) {
    worker.drained().await;
    sleep_until(Moment::now() + DRAIN_FIRST_REQUEST).await;
}

struct Sorting<'a> {
    client: &'a mut Client,
    worker: &'a Rc<Worker>,
    name: &'a str,
    ip: IpAddr,
    inbound: Buffer,
}

impl Sorting<'_> {
    async fn sort(mut self) -> Arrived {
        let begun = Moment::now();
        let takes_tls = self.with_entry(|entry| entry.is_some_and(|entry| entry.connections.takes_tls()));
        // Whoever asks for TLS in PostgreSQL's way is answered where a TCP router may take it then.
        let mut start_tls = false;
        while takes_tls && !start_tls {
            match postgres::asked(self.inbound.filled()) {
                Asked::Nothing => break,
                Asked::NotYet => {
                    // Another protocol may begin so and wait for an answer.
                    match timeout_at(begun + RECOGNITION_TIMEOUT, self.read_on()).await {
                        Ok(true) => {}
                        Ok(false) => return Arrived::Gone,
                        Err(_) => break,
                    }
                }
                Asked::ForGss => {
                    if !self.answer(postgres::NO).await {
                        return Arrived::Gone;
                    }
                }
                Asked::ForTls => {
                    if !self.answer(postgres::YES).await {
                        return Arrived::Gone;
                    }
                    start_tls = true;
                }
            }
        }
        if start_tls || begins_handshake(self.inbound.filled()) {
            return self.sort_tls(begun + TLS_HANDSHAKE_TIMEOUT, start_tls).await;
        }
        let taker = self.with_entry(|entry| entry.map(|entry| entry.taker_in_the_clear(self.ip)));
        match taker {
            Some(Taker::Tcp(route)) => {
                Arrived::Tcp(Taken { route, early: self.inbound, hello: None, start_tls: false })
            }
            Some(Taker::Http) | None => Arrived::Http(self.inbound),
        }
    }

    /// Goes on with a client that begins a TLS handshake, or has to.
    async fn sort_tls(mut self, deadline: Moment, start_tls: bool) -> Arrived {
        let mut reader = client_hello::Reader::default();
        let hello = loop {
            match reader.read(self.inbound.filled()) {
                Ok(Some(hello)) => break hello,
                Ok(None) => match timeout_at(deadline, self.read_on()).await {
                    Ok(true) => {}
                    Ok(false) => return Arrived::Gone,
                    Err(_) => return Arrived::Refused(Reason::TlsTimeout),
                },
                // The HTTP side says so to the client, and counts it.
                Err(client_hello::Malformed) if !start_tls => return Arrived::Http(self.inbound),
                Err(client_hello::Malformed) => return Arrived::Refused(Reason::TlsHandshake),
            }
        };
        let taker = {
            let alpn: Vec<&[u8]> = hello.alpn.iter().map(Vec::as_slice).collect();
            let connection = ConnectionView { server_name: &hello.server_name, alpn: &alpn, client: self.ip };
            self.with_entry(|entry| match entry {
                None => Taker::Http,
                // It is PostgreSQL, so it is not HTTP.
                Some(entry) if start_tls => {
                    entry.connections.secure(&connection).cloned().map_or(Taker::Http, Taker::Tcp)
                }
                Some(entry) => entry.taker_of_tls(&connection),
            })
        };
        match taker {
            Taker::Tcp(route) => {
                Arrived::Tcp(Taken { route, early: self.inbound, hello: Some(hello), start_tls })
            }
            Taker::Http if start_tls => {
                let _ = timeout_at(deadline, self.client.tcp.write_all(&UNRECOGNIZED_NAME)).await;
                Arrived::Refused(Reason::NoRoute)
            }
            Taker::Http => Arrived::Http(self.inbound),
        }
    }

    /// Reads more; `false` if there is no more to come.
    async fn read_on(&mut self) -> bool {
        matches!(self.inbound.read_from(&mut self.client.tcp).await, Ok(1..))
    }

    /// Takes a request of PostgreSQL's off, and answers it; `false` if the client is gone. One byte finds room in any
    /// socket's buffer.
    async fn answer(&mut self, byte: u8) -> bool {
        self.inbound.consume(postgres::SSL_REQUEST.len());
        self.client.tcp.write_all(&[byte]).await.is_ok()
    }

    fn with_entry<T>(&self, look: impl FnOnce(Option<&Entry>) -> T) -> T {
        look(entry(&self.worker.table(), self.name))
    }
}

fn entry<'t>(table: &'t Table, name: &str) -> Option<&'t Entry> {
    table.entry_points.get(name)
}
