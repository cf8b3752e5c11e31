//! The name server: on a thread of its own, with sockets that a successor can have, within this process or in another.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use portolan_config::settings::Dns;
use portolan_config::{ListenAddress, Protocol};
use portolan_dns as dns;
use portolan_proxy::Inherited;
use tokio::sync::oneshot;

use crate::steer::Naming;

/// A name server that runs, or may.
pub struct NameServer {
    /// The same sockets that it serves.
    sockets: Vec<OwnedFd>,
    metrics: dns::Metrics,
    /// Before it is started.
    held: Option<dns::Server>,
    /// Ends it when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    /// Ends with its last answer.
    ended: Option<oneshot::Receiver<()>>,
}

impl NameServer {
    /// Takes its addresses, and gives what its names are made of. Nothing is answered before [`NameServer::serve`].
    pub fn bind(
        settings: &Dns,
        metrics: dns::Metrics,
        inherited: &mut Inherited,
    ) -> Result<(Naming, Self), String> {
        let (records, fixed) = dns::Records::read(settings)?;
        let shared = dns::zone::shared(settings);
        let given = given(settings, inherited);
        let server = dns::Server::with(given, settings, shared.clone(), metrics.clone())
            .map_err(|error| format!("{error}; choose another with --dns-address, or `off`"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        let compiler = dns::Compiler::with_records(settings, &fixed).serials_from(now);
        let sockets = server.handles().map_err(|error| error.to_string())?;
        let naming = Naming { compiler, shared, metrics: metrics.clone(), records };
        Ok((naming, Self { sockets, metrics, held: Some(server), stop: None, ended: None }))
    }

    /// The same in the place of this one: what both listen on goes from one to the other, and no query is lost there.
    pub fn successor(&self, settings: &Dns) -> Result<(Naming, Self), String> {
        let mut inherited = Inherited::default();
        for socket in &self.sockets {
            let socket = socket.try_clone().map_err(|error| error.to_string())?;
            inherited.add(socket).map_err(|error| error.to_string())?;
        }
        Self::bind(settings, self.metrics.clone(), &mut inherited)
    }

    /// Answers from now on.
    pub fn serve(&mut self) -> Result<(), String> {
        let Some(server) = self.held.take() else { return Ok(()) };
        let (stop, stopped) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        let run = move || -> std::io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(server.run(async { drop(stopped.await) }))
        };
        std::thread::Builder::new()
            .name("dns".to_owned())
            .spawn(move || {
                let _ends: oneshot::Sender<()> = ends;
                if let Err(error) = run() {
                    tracing::error!(%error, "the name server ended");
                }
            })
            .map_err(|error| format!("the DNS thread can't start: {error}"))?;
        (self.stop, self.ended) = (Some(stop), Some(ended));
        Ok(())
    }

    /// Another handle of every socket.
    pub fn handles(&self) -> std::io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(OwnedFd::try_clone).collect()
    }

    /// What it counts into, for one that comes later.
    pub fn metrics(&self) -> dns::Metrics {
        self.metrics.clone()
    }

    /// Takes no further query. What this gives ends with the last answer.
    pub fn stop(self) -> Option<oneshot::Receiver<()>> {
        self.ended
    }
}

/// The sockets of the name server that are there already.
fn given(settings: &Dns, inherited: &mut Inherited) -> dns::Bound {
    let secure = settings.options.secure.as_ref();
    let mut take = |address: Option<ListenAddress>| {
        let socket = inherited.take(address?, Protocol::Tcp).into_iter().next();
        socket.map(std::net::TcpListener::from)
    };
    let (tcp, tls) = (take(Some(settings.address)), take(secure.and_then(|secure| secure.tls)));
    let https = take(secure.and_then(|secure| secure.https));
    let udp = inherited.take(settings.address, Protocol::Udp).into_iter().map(Into::into).collect();
    dns::Bound { udp, tcp, tls, https }
}
