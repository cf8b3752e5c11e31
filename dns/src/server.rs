//! Moves queries in and answers out, by UDP and TCP. Of DNS it knows that TCP messages follow their length.
//!
//! Datagrams are answered by threads of their own, each with a socket of its own between which the kernel divides them;
//! connections by the runtime that runs the server. On a wildcard address answers leave from the address that was asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::Guard;
use ipnet::IpNet;
use portolan_config::settings::{Dns, dns};
use portolan_config::{Fault, ListenAddress};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use crate::answer::{Answered, Asker, Outcome, Transport, answer_here, relay};
use crate::cookie::Cookies;
use crate::fixed::Fixed;
use crate::forward::{Asked, Entry, Forward, Forwarder, Given, Kept, forward, is_near};
use crate::metrics::Metrics;
use crate::request::Request;
use crate::server::log::{Note, QueryLog};
use crate::server::notify::Notifier;
use crate::zone::{SharedZone, Zone};

mod https;
mod limit;
mod log;
mod notify;
mod seats;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

/// Connections that may wait for the kernel to hand them over.
const BACKLOG: i32 = 256;
/// Bytes of datagrams that may wait to be read; the kernel may allow less.
const UDP_BUFFER: usize = 1 << 20;
/// How often a port that is free for UDP is looked for that TCP can have too.
const PORT_ATTEMPTS: u32 = 32;

/// The DNS server, bound and not yet running. Binding needs no runtime; [`Server::run`] does.
#[derive(Debug)]
pub struct Server {
    workers: Vec<udp::Worker>,
    tcp: std::net::TcpListener,
    local_addr: SocketAddr,
    context: Context,
    forwarder: Option<Forwarder>,
    notifier: Notifier,
    tls: Option<Secure>,
    https: Option<Secure>,
    /// Where their certificate is.
    secure: Option<dns::Secure>,
}

/// Where it listens for what is encrypted, and how that begins.
type Secure = (std::net::TcpListener, tls::Handshakes);

/// What is spoken over TLS, as clients may ask for it (RFC 7301).
const TLS_PROTOCOLS: &[&[u8]] = &[b"dot"];
const HTTPS_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Sockets of the server's addresses that somebody else has bound; where there is none, the server binds its own.
#[derive(Debug, Default)]
pub struct Bound {
    /// For datagrams. More are bound beside them where there are more workers, if they may be shared.
    pub udp: Vec<std::net::UdpSocket>,
    /// For connections.
    pub tcp: Option<std::net::TcpListener>,
    /// For connections over TLS.
    pub tls: Option<std::net::TcpListener>,
    /// For connections over HTTPS.
    pub https: Option<std::net::TcpListener>,
}

/// What every query needs.
#[derive(Clone, Debug)]
struct Context {
    zone: SharedZone,
    metrics: Metrics,
    cookies: Arc<Cookies>,
    /// `None` where names of others are refused.
    forward: Option<Arc<Forward>>,
    /// Whether a client in a container sees only what is on its networks.
    views: bool,
    /// Answers a second that one network is sent by UDP, by each worker.
    rate_limit: Option<u32>,
    /// Who may have all of a zone at once.
    transfer_to: Arc<[IpNet]>,
    log: Option<QueryLog>,
}

/// How a query came, from whom, and when.
#[derive(Clone, Copy, Debug)]
struct Asking {
    transport: Transport,
    client: IpAddr,
    begun: Instant,
}

/// What every query needs, at one moment.
struct Moment<'c> {
    zone: Guard<Arc<Zone>>,
    now: u32,
    context: &'c Context,
}

/// How a query is answered.
enum Verdict {
    /// Not at all.
    Silence,
    /// The answer was appended.
    Answered(Outcome),
    /// Others are to be asked.
    Elsewhere(Elsewhere),
}

/// What others are to be asked, and what they said some time ago.
struct Elsewhere {
    asked: Asked,
    written: Vec<u8>,
    stale: Option<Arc<Entry>>,
}

impl Context {
    fn moment(&self) -> Moment<'_> {
        Moment { zone: self.zone.load(), now: seconds(), context: self }
    }

    /// Keeps account of an answer.
    fn answered(&self, query: &[u8], reply: &[u8], asked: Asking, outcome: Outcome) {
        let took = asked.begun.elapsed();
        self.metrics.answered(asked.transport, outcome, took, [query.len(), reply.len()]);
        self.note(query, reply, asked, outcome);
    }

    /// Writes it in the log, where there is one.
    fn note(&self, query: &[u8], reply: &[u8], asked: Asking, outcome: Outcome) {
        if let Some(log) = &self.log {
            log.take(&Note { query, reply, asked, outcome });
        }
    }

    /// Asks others, and waits for their answer no longer than a client would.
    async fn ask(&self, elsewhere: Elsewhere) -> Given {
        let Some(forward) = &self.forward else { return Given::Nothing };
        let (back, given) = oneshot::channel();
        let back = move |given| drop(back.send(given));
        forward.ask(elsewhere.asked, &elsewhere.written, elsewhere.stale, Box::new(back));
        timeout(tcp::IDLE, given).await.map_or(Given::Nothing, |given| given.unwrap_or(Given::Nothing))
    }

    /// The answer to `query` from what others said, counted.
    fn relay(&self, query: &[u8], asked: Asking, given: &Given) -> Vec<u8> {
        let mut reply = Vec::new();
        let moment = self.moment();
        let entry = match given {
            Given::Entry(entry, age) => Some((&**entry, *age)),
            Given::Nothing => None,
        };
        if let Some(request) = Request::read(query) {
            let asker = moment.asker(asked.transport, asked.client);
            let outcome = relay(&moment.zone, &request, &asker, entry, &mut reply);
            self.answered(query, &reply, asked, outcome);
        }
        reply
    }
}

impl Moment<'_> {
    fn asker(&self, transport: Transport, client: IpAddr) -> Asker<'_> {
        let client = client.to_canonical();
        let near = is_near(client);
        let recursion = self.context.forward.is_some() && near;
        Asker {
            transport,
            client,
            cookies: Some(&self.context.cookies),
            now: self.now,
            recursion,
            near,
            views: self.context.views,
            may_transfer: self.context.transfer_to.iter().any(|network| network.contains(&client)),
        }
    }

    /// Appends the answer to `query` to `reply`, if it is known here.
    fn answer(&self, query: &[u8], transport: Transport, client: IpAddr, reply: &mut Vec<u8>) -> Verdict {
        let Some(request) = Request::read(query) else { return Verdict::Silence };
        let asker = self.asker(transport, client);
        let led_to = match answer_here(&self.zone, &request, &asker, reply) {
            Answered::Here(outcome) => return Verdict::Answered(outcome),
            Answered::Elsewhere { led_to } => led_to,
        };
        let (Some(forward), Some(question)) = (&self.context.forward, &request.question) else {
            return Verdict::Silence; // only a question that can be forwarded comes here
        };
        let name = led_to.as_deref().unwrap_or(question.name.lower());
        let (asked, kept) = forward.lookup(&request, name, question.record_type, self.now);
        let stale = match kept {
            Kept::Fresh(entry, age, _) => {
                let said = Some((&*entry, Some(age)));
                return Verdict::Answered(relay(&self.zone, &request, &asker, said, reply));
            }
            Kept::Stale(entry) => Some(entry),
            Kept::Nothing => None,
        };
        let written = led_to.as_deref().unwrap_or(question.name.written());
        Verdict::Elsewhere(Elsewhere { asked, written: written.to_vec(), stale })
    }
}

/// Seconds since the epoch, modulo 2³².
pub(crate) fn seconds() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

impl Server {
    /// Binds the address for UDP and TCP at once. With port 0, both get the same free one.
    pub fn bind(settings: &Dns, zone: SharedZone, metrics: Metrics) -> io::Result<Self> {
        Self::with(Bound::default(), settings, zone, metrics)
    }

    /// The same with sockets that somebody else has bound.
    pub fn with(given: Bound, settings: &Dns, zone: SharedZone, metrics: Metrics) -> io::Result<Self> {
        let address = settings.address;
        let cookies = Arc::new(Cookies::new(rand::random()));
        let bind = || -> io::Result<Self> {
            let (udp, tcp) = match (given.udp, given.tcp) {
                (udp, Some(tcp)) if !udp.is_empty() => join(udp, tcp, settings.options.workers)?,
                _ => bind_both(address, settings.options.workers)?,
            };
            let local_addr = tcp.local_addr()?;
            let forwards = settings.options.forward.as_ref();
            let (forward, forwarder) =
                forwards.map(|settings| forward(settings, local_addr, metrics.clone())).unzip();
            let views = settings.options.views;
            let rate_limit = settings.options.rate_limit;
            let transfer_to = settings.options.transfer_to.clone().into();
            let log = settings.options.log.as_ref().map(|log| QueryLog::start(log, &metrics)).transpose()?;
            let notifier = Notifier::new(settings, zone.clone(), metrics.clone());
            let context = Context { zone, metrics, cookies, forward, views, rate_limit, transfer_to, log };
            let (mut tls, mut https) = (None, None);
            if let Some(secure) = &settings.options.secure {
                let bind = |address: Option<ListenAddress>, given, protocols| {
                    address.map(|address| bind_secure(secure, address, given, protocols)).transpose()
                };
                tls = bind(secure.tls, given.tls, TLS_PROTOCOLS)?;
                https = bind(secure.https, given.https, HTTPS_PROTOCOLS)?;
            }
            let workers = udp.into_iter().map(|socket| udp::Worker::new(socket, context.clone()));
            Ok(Self {
                workers: workers.collect::<io::Result<_>>()?,
                tcp,
                local_addr,
                context,
                forwarder,
                notifier,
                tls,
                https,
                secure: settings.options.secure.clone(),
            })
        };
        bind().map_err(|error| {
            io::Error::new(error.kind(), format!("can't listen for DNS on {address}: {error}"))
        })
    }

    /// Where it listens over TLS, if it does.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where it listens over HTTPS, if it does.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where it listens, by UDP and TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Another handle of every socket, for a process that is to go on with them.
    pub fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        let secure = [&self.tls, &self.https].into_iter().flatten().map(|(listener, _)| listener);
        let streams = [&self.tcp].into_iter().chain(secure).map(|listener| listener.as_fd());
        let datagrams = self.workers.iter().map(udp::Worker::descriptor);
        streams.chain(datagrams).map(|descriptor| descriptor.try_clone_to_owned()).collect()
    }

    /// Answers until `stop`; then gives answers on their way a second. Fails only where the runtime can't take a socket
    /// over, or a thread can't be had.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let tcp = TcpListener::from_std(self.tcp)?;
        let workers = Workers::start(self.workers)?;
        info!(address = %self.local_addr, "DNS listens");
        let mut connections = tcp::Connections::new(self.context.clone());
        let mut encrypted = tcp::Connections::new(self.context.clone());
        let mut web = https::Connections::new(self.context);
        let take = |secure: Option<Secure>| -> io::Result<Option<(TcpListener, tls::Handshakes)>> {
            secure
                .map(|(listener, handshakes)| Ok((TcpListener::from_std(listener)?, handshakes)))
                .transpose()
        };
        let (tls, https) = (take(self.tls)?, take(self.https)?);
        let mut background = JoinSet::new(); // ends with us
        if let Some(forwarder) = self.forwarder {
            background.spawn(forwarder.run());
        }
        background.spawn(self.notifier.run());
        for (at, protocols) in [(&tls, TLS_PROTOCOLS), (&https, HTTPS_PROTOCOLS)] {
            if let (Some((_, handshakes)), Some(secure)) = (at, &self.secure) {
                background.spawn(handshakes.clone().follow(secure.clone(), protocols));
            }
        }
        tokio::select! {
            () = stop => {}
            () = connections.accept(&tcp, None) => {}
            () = async {
                match &tls {
                    Some((listener, handshakes)) => encrypted.accept(listener, Some(handshakes)).await,
                    None => std::future::pending().await,
                }
            } => {}
            () = async {
                match &https {
                    Some((listener, handshakes)) => web.accept(listener, handshakes).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        drop((tcp, tls, https, workers));
        let grace = Duration::from_secs(1);
        tokio::join!(connections.finish(grace), encrypted.finish(grace), web.finish(grace));
        Ok(())
    }
}

/// What of the files that the settings name can't be used, without serving anything.
pub fn faults(settings: &Dns) -> Vec<Fault> {
    let fault = |path: &std::path::Path, flag, message: String| {
        let message = message.trim_start_matches(&format!("{flag}: {}: ", path.display())).to_owned();
        Fault::new(path.display().to_string(), flag, message)
    };
    let options = &settings.options;
    let records = options.records.as_deref().zip(Fixed::read(settings).err());
    let records = records.map(|(path, error)| fault(path, "--dns-records", error));
    let secure = options.secure.as_ref().and_then(|secure| {
        let error = tls::Handshakes::new(secure, TLS_PROTOCOLS).err()?;
        Some(fault(&secure.certificate, "--dns-tls-certificate", error.to_string()))
    });
    records.into_iter().chain(secure).collect()
}

fn bind_secure(
    settings: &dns::Secure,
    address: ListenAddress,
    given: Option<std::net::TcpListener>,
    protocols: &[&[u8]],
) -> io::Result<Secure> {
    let handshakes = tls::Handshakes::new(settings, protocols)?;
    if let Some(listener) = given {
        listener.set_nonblocking(true)?;
        return Ok((listener, handshakes));
    }
    let listener = bind(address, Type::STREAM, false)
        .map_err(|error| io::Error::new(error.kind(), format!("encrypted on {address}: {error}")))?;
    Ok((listener.into(), handshakes))
}

/// The threads that answer datagrams; they end when this is dropped.
struct Workers(Vec<(udp::Stop, std::thread::JoinHandle<()>)>);

impl Workers {
    fn start(workers: Vec<udp::Worker>) -> io::Result<Self> {
        let mut started = Self(Vec::with_capacity(workers.len()));
        for (number, worker) in workers.into_iter().enumerate() {
            started.0.push(worker.start(number)?);
        }
        Ok(started)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.iter().for_each(|(stop, _)| stop.stop());
        for (_, thread) in self.0.drain(..) {
            let _ = thread.join(); // it ends with the answers it is at
        }
    }
}

/// Makes sockets that are bound already fit for so many workers.
fn join(
    mut udp: Vec<std::net::UdpSocket>,
    tcp: std::net::TcpListener,
    workers: usize,
) -> io::Result<(Vec<std::net::UdpSocket>, std::net::TcpListener)> {
    tcp.set_nonblocking(true)?;
    for socket in &udp {
        socket.set_nonblocking(false)?;
    }
    let (bound, given) = (udp[0].local_addr()?, udp.len());
    while udp.len() < workers {
        // One that was not bound to be shared can't be joined; then workers take turns at it.
        let more = bind_socket(bound, Type::DGRAM, true).map(std::net::UdpSocket::from);
        udp.push(more.or_else(|_| udp[udp.len() % given].try_clone())?);
    }
    Ok((udp, tcp))
}

/// Sockets for so many workers, and one for TCP, all of one port.
fn bind_both(
    address: ListenAddress,
    workers: usize,
) -> io::Result<(Vec<std::net::UdpSocket>, std::net::TcpListener)> {
    let mut attempts = if address.port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        // A port that is shared (SO_REUSEPORT) would be shared with another Portolan too, unnoticed: so it is had alone
        // first.
        let alone = bind(address, Type::DGRAM, false)?;
        let port = alone.local_addr()?.as_socket().map_or(address.port, |local| local.port());
        let address = ListenAddress { port, ..address };
        let tcp = match bind(address, Type::STREAM, false) {
            Ok(tcp) => tcp,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => continue,
            Err(error) => return Err(error),
        };
        if workers <= 1 {
            return Ok((vec![alone.into()], tcp.into()));
        }
        drop(alone);
        let shared = (0..workers).map(|_| bind(address, Type::DGRAM, true).map(Into::into));
        return Ok((shared.collect::<io::Result<_>>()?, tcp.into()));
    }
}

fn bind(address: ListenAddress, kind: Type, shared: bool) -> io::Result<Socket> {
    let every_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port));
    match bind_socket(address.socket(), kind, shared) {
        // "Every address" on a host without IPv6 is every IPv4 address.
        Err(_) if address.ip.is_none() && !has_ipv6() => bind_socket(every_ipv4, kind, shared),
        bound => bound,
    }
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, None).is_ok()
}

fn bind_socket(address: SocketAddr, kind: Type, shared: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if let IpAddr::V6(ip) = address.ip() {
        socket.set_only_v6(!ip.is_unspecified())?; // `[::]` takes IPv4 as well, whatever the system's default
    }
    if kind == Type::STREAM {
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?; // or connections in TIME_WAIT would keep a new process from its port
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
    } else {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER); // a help against bursts, not a need
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
    }
    Ok(socket)
}
