//! Keeps what TLS goes by: reads files, compiles, and does so again when a file or the configuration changes.
//!
//! A pair that can't be read costs itself. If it could be read before, what it was then is shown on: a file is often
//! seen half written. Everything here runs on the control thread; workers see a [`Front`] that is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use portolan_config::Fault;
use portolan_config::dynamic::middleware::Middleware;
use portolan_config::tls::{KeyPair, Pem, Scheme, ServersTransport, Tls, TlsOptions};
use portolan_discovery::{Snapshot, TcpUpstream};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;

use super::certificate::{Certificate, Wrong, certificates};
use super::files::Files;
use super::options::{self, Parts, Problem};
use super::servers::{self, Speaker};
use super::store::{Resolver, Store};
use super::{Front, Metrics, PROTOCOLS, clients, selfmade};
use crate::middleware::{auth_key, auth_transport};
use crate::table::DEFAULT_OPTIONS;

/// Why there can be no TLS at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(String);

/// The certificates of an authority's files.
type Authorities = Vec<CertificateDer<'static>>;

/// The one who keeps it.
#[derive(Debug)]
pub(crate) struct Keeper {
    provider: Arc<CryptoProvider>,
    selfmade: Arc<Certificate>,
    metrics: Metrics,
    front: Arc<ArcSwap<Front>>,
    files: Files,
    /// What is asked for.
    wanted: Arc<Tls>,
    /// How servers are to be spoken to, by the name of the upstream; where that is by TLS.
    transports: BTreeMap<String, Arc<ServersTransport>>,
    /// Those of them that are not spoken to in HTTP.
    raw: BTreeSet<String>,
    /// What came of that, so that sessions go on when something else changes.
    spoken: Vec<Spoken>,
    /// What the system trusts, once somebody asked.
    system: Option<Authorities>,
    /// The last that could be read of each pair that is asked for.
    pairs: BTreeMap<KeyPair, Arc<Certificate>>,
    /// The same for authorities.
    authorities: BTreeMap<Vec<Pem>, Authorities>,
    /// What makes tickets, by the name of the options.
    tickets: BTreeMap<String, Tickets>,
    faults: Vec<Fault>,
}

/// What makes the tickets of some options. It is a new one when they change: who came in under the old ones must not
/// come in again by a ticket.
#[derive(Debug)]
struct Tickets {
    options: TlsOptions,
    authorities: Authorities,
    made_by: Arc<dyn ProducesTickets>,
}

/// One way to speak to servers, and what it was made of.
#[derive(Debug)]
struct Spoken {
    transport: Arc<ServersTransport>,
    roots: Authorities,
    papers: Vec<CertificateDer<'static>>,
    speaker: Arc<Speaker>,
}

impl Keeper {
    /// Begins with a self-made certificate and the default options.
    pub(crate) fn new(metrics: Metrics) -> Result<Self, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let selfmade = selfmade::make(SystemTime::now(), &provider)
            .map_err(|why| Unusable(format!("no certificate can be made: {why}")))?;
        let mut keeper = Self {
            provider,
            selfmade: Arc::new(selfmade),
            metrics,
            front: Arc::default(),
            files: Files::default(),
            wanted: Arc::default(),
            transports: BTreeMap::new(),
            raw: BTreeSet::new(),
            spoken: Vec::new(),
            system: None,
            pairs: BTreeMap::new(),
            authorities: BTreeMap::new(),
            tickets: BTreeMap::new(),
            faults: Vec::new(),
        };
        keeper.compile();
        Ok(keeper)
    }

    /// What the workers take connections by.
    pub(crate) fn front(&self) -> Arc<ArcSwap<Front>> {
        self.front.clone()
    }

    /// Follows a snapshot.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot) {
        let by_tls = snapshot
            .upstreams
            .iter()
            .filter(|upstream| upstream.targets.iter().any(|target| target.scheme == Scheme::Https));
        let asked = snapshot.middlewares.values().filter_map(|middleware| match &**middleware {
            Middleware::ForwardAuth(written) => {
                auth_transport(written).map(|transport| (auth_key(written), Arc::new(transport)))
            }
            _ => None,
        });
        let mut transports: BTreeMap<String, Arc<ServersTransport>> =
            by_tls.map(|upstream| (upstream.name.clone(), upstream.transport.clone())).chain(asked).collect();
        self.raw.clear();
        for upstream in snapshot.layer_four.tcp_upstreams.values() {
            if let TcpUpstream::Targets { upstream, .. } = &**upstream
                && upstream.targets.iter().any(|target| target.scheme == Scheme::Https)
            {
                transports.insert(upstream.name.clone(), upstream.transport.clone());
                self.raw.insert(upstream.name.clone());
            }
        }
        if self.transports != transports || self.wanted != snapshot.tls {
            self.wanted = snapshot.tls.clone();
            self.transports = transports;
            self.compile();
        }
    }

    /// Looks whether files changed, and follows them. Gives everything that is at fault at present.
    pub(crate) fn look(&mut self) -> Vec<Fault> {
        if self.files.changed() {
            self.compile();
        }
        self.faults()
    }

    /// Everything that was at fault when the files were read last.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.faults.clone()
    }

    fn compile(&mut self) {
        self.files.forget();
        self.faults.clear();
        let wanted = self.wanted.clone();
        let shown = self.certificates(&wanted);
        let default = wanted
            .default_certificates
            .get(DEFAULT_OPTIONS)
            .and_then(|pair| self.pair(pair, "tls.stores.default.defaultCertificate"));
        let default = default.unwrap_or_else(|| self.selfmade.clone());
        let store = Arc::new(Store::new(&shown, &default));
        let mut front = Front { shown: shown.clone(), ..Front::default() };
        if !Arc::ptr_eq(&default, &self.selfmade) {
            front.shown.push(default.clone());
        }
        self.speakers(&mut front);
        let usual = TlsOptions::default();
        let usual_alpn = usual.alpn.clone();
        let named = wanted.options.iter().map(|(name, options)| (name.as_str(), options));
        let usual = (!wanted.options.contains_key(DEFAULT_OPTIONS)).then_some((DEFAULT_OPTIONS, &usual));
        for (name, options) in named.chain(usual) {
            let mut problems = Vec::new();
            match self.server(name, options, &store, &mut problems) {
                Ok(config) => {
                    front.servers.insert(name.to_owned(), Arc::new(config));
                    let names = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
                    let spoken = super::Spoken { names, chosen: options.alpn != usual_alpn };
                    front.protocols.insert(name.to_owned(), spoken);
                }
                Err((key, why)) => {
                    problems.push((key, format!("{why}; no connection is taken by these options")));
                }
            }
            for (key, why) in problems {
                self.faults.push(Fault::new("TLS options", format!("tls.options.{name}.{key}"), why));
            }
        }
        let mut shown = shown;
        shown.push(default);
        self.metrics.show(&shown);
        self.pairs.retain(|pair, _| {
            wanted.certificates.iter().any(|(known, _)| known == pair)
                || wanted.default_certificates.values().any(|known| known == pair)
                || self.transports.values().any(|transport| transport.certificates.contains(pair))
        });
        self.authorities.retain(|pems, _| {
            wanted.options.values().any(|options| options.client_auth.authorities == *pems)
                || self.transports.values().any(|transport| transport.root_cas == *pems)
        });
        self.tickets.retain(|name, _| name == DEFAULT_OPTIONS || wanted.options.contains_key(name));
        self.front.store(Arc::new(front));
    }

    /// Every certificate that is to be shown where it fits.
    fn certificates(&mut self, wanted: &Tls) -> Vec<Arc<Certificate>> {
        let mut shown = Vec::new();
        for (pair, stores) in &wanted.certificates {
            if !stores.is_empty() && !stores.iter().any(|store| store == DEFAULT_OPTIONS) {
                let name = shown_name(&pair.certificate);
                self.faults.push(Fault::new(
                    "certificates",
                    "tls.certificates.stores",
                    format!("{name}: only the store `default` is shown"),
                ));
                continue;
            }
            shown.extend(self.pair(pair, "tls.certificates"));
        }
        shown
    }

    /// A pair as its files have it, or as they had it last.
    fn pair(&mut self, pair: &KeyPair, key: &str) -> Option<Arc<Certificate>> {
        let (place, why) = match self.read_pair(pair) {
            Ok(certificate) => {
                let certificate = Arc::new(certificate);
                self.pairs.insert(pair.clone(), certificate.clone());
                return Some(certificate);
            }
            Err(Wrong::Certificate(why)) => (&pair.certificate, why),
            Err(Wrong::Key(why)) => (&pair.key, why),
        };
        let before = self.pairs.get(pair).cloned();
        let instead = if before.is_some() { "; what was there before is still shown" } else { "" };
        self.faults.push(Fault::new("certificates", key, format!("{}: {why}{instead}", shown_name(place))));
        before
    }

    fn read_pair(&mut self, pair: &KeyPair) -> Result<Certificate, Wrong> {
        // Both, so that a change of either is seen.
        let (chain, key) = (self.files.bytes(&pair.certificate), self.files.bytes(&pair.key));
        Certificate::read(&chain.map_err(Wrong::Certificate)?, &key.map_err(Wrong::Key)?, &self.provider)
    }

    fn server(
        &mut self,
        name: &str,
        wanted: &TlsOptions,
        store: &Arc<Store>,
        problems: &mut Vec<Problem>,
    ) -> Result<rustls::ServerConfig, Problem> {
        let authorities =
            self.authorities("clientAuth.caFiles", &wanted.client_auth.authorities, problems)?;
        let provider = Arc::new(options::provider(wanted, problems));
        let verifier = clients::verifier(&wanted.client_auth, authorities.clone(), &provider)
            .map_err(|why| ("clientAuth", why))?;
        let parts = Parts {
            provider,
            verifier,
            resolver: Arc::new(Resolver { store: store.clone(), strict: wanted.sni_strict }),
            tickets: self.tickets(name, wanted, authorities)?,
            protocols: PROTOCOLS,
        };
        options::server_config(wanted, parts)
    }

    /// Makes what endpoints are spoken to by.
    fn speakers(&mut self, front: &mut Front) {
        let before = std::mem::take(&mut self.spoken);
        for (upstream, transport) in self.transports.clone() {
            let now = |spoken: &&Spoken| spoken.transport == transport;
            let speaker = match self.spoken.iter().find(now) {
                Some(spoken) => Ok(spoken.speaker.clone()),
                None => self.speaker(&transport, &before),
            };
            match speaker {
                Ok(speaker) => {
                    let speaker =
                        if self.raw.contains(&upstream) { Arc::new(speaker.of_anything()) } else { speaker };
                    front.speakers.insert(upstream, speaker);
                }
                Err((key, why)) => self.faults.push(Fault::new(
                    format!("service {upstream}"),
                    format!("serversTransport.{key}"),
                    format!("{why}; no request is sent there"),
                )),
            }
        }
    }

    fn speaker(
        &mut self,
        transport: &Arc<ServersTransport>,
        before: &[Spoken],
    ) -> Result<Arc<Speaker>, Problem> {
        let mut problems = Vec::new();
        let name = transport.server_name.as_deref().map(servers::name).transpose();
        let name = name.map_err(|why| ("serverName", why))?;
        let by_nobody = transport.insecure_skip_verify && transport.peer_cert_uri.is_none();
        let roots = match (by_nobody, transport.root_cas.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => self.system_roots()?,
            (false, false) => self.authorities("rootCAs", &transport.root_cas, &mut problems)?,
        };
        let mut papers = Vec::new();
        for pair in &transport.certificates {
            let shown = self.pair(pair, "serversTransport.certificates");
            papers.push(shown.ok_or_else(|| ("certificates", "they can't be shown".to_owned()))?);
        }
        let shown: Vec<_> = papers.iter().flat_map(|papers| papers.key.cert.clone()).collect();
        let same = |spoken: &&Spoken| {
            spoken.transport == *transport && spoken.roots == roots && spoken.papers == shown
        };
        let speaker = match before.iter().find(same) {
            Some(spoken) => spoken.speaker.clone(),
            None => {
                let config = servers::client_config(transport, &roots, &papers, &mut problems)?;
                Arc::new(Speaker::new(config, name))
            }
        };
        for (key, why) in problems {
            self.faults.push(Fault::new("servers' transports", format!("serversTransport.{key}"), why));
        }
        let transport = transport.clone();
        self.spoken.push(Spoken { transport, roots, papers: shown, speaker: speaker.clone() });
        Ok(speaker)
    }

    fn system_roots(&mut self) -> Result<Authorities, Problem> {
        if let Some(known) = &self.system {
            return Ok(known.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
            return Err(("rootCAs", format!("none are given, and the system's can't be had: {why}")));
        }
        self.system = Some(found.certs.clone());
        Ok(found.certs)
    }

    /// The certificates of authorities, as their files have them, or as they had them last.
    fn authorities(
        &mut self,
        key: &'static str,
        pems: &[Pem],
        problems: &mut Vec<Problem>,
    ) -> Result<Authorities, Problem> {
        let mut read = Vec::new();
        let mut wrong = None;
        for pem in pems {
            match self.files.bytes(pem).and_then(|bytes| certificates(&bytes)) {
                Ok(more) => read.extend(more),
                Err(why) => wrong = Some(format!("{}: {why}", shown_name(pem))),
            }
        }
        let Some(why) = wrong else {
            self.authorities.insert(pems.to_vec(), read.clone());
            return Ok(read);
        };
        let Some(before) = self.authorities.get(pems) else { return Err((key, why)) };
        problems.push((key, format!("{why}; what was there before still counts")));
        Ok(before.clone())
    }

    /// What makes the tickets of these options: the one of before, as long as they are what they were.
    fn tickets(
        &mut self,
        name: &str,
        options: &TlsOptions,
        authorities: Authorities,
    ) -> Result<Option<Arc<dyn ProducesTickets>>, Problem> {
        if options.disable_session_tickets {
            return Ok(None);
        }
        if let Some(kept) = self.tickets.get(name)
            && kept.options == *options
            && kept.authorities == authorities
        {
            return Ok(Some(kept.made_by.clone()));
        }
        let made_by = aws_lc_rs::Ticketer::new()
            .map_err(|error| ("disableSessionTickets", format!("no tickets can be made: {error}")))?;
        let kept = Tickets { options: options.clone(), authorities, made_by: made_by.clone() };
        self.tickets.insert(name.to_owned(), kept);
        Ok(Some(made_by))
    }
}

/// What a PEM is called in a fault. Never what is in it.
fn shown_name(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Inline(_) => "the text".to_owned(),
    }
}
