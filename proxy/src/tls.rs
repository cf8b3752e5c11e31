//! TLS, on both sides: by rustls with aws-lc-rs, and by nothing else.
//!
//! ```text
//! control thread                                       workers
//! keeper   reads files, compiles, looks for changes ──▶ Front (one ArcSwap): what connections are taken by
//!  ├ files         bytes, and whether they changed       │
//!  ├ certificate   one pair, checked                     ├ accept   a handshake with a client
//!  ├ selfmade      the one that is there always          └ connect  a handshake with an endpoint
//!  ├ store         which is shown for which name
//!  ├ options       versions, suites, curves
//!  ├ clients       certificates of clients: who is let in
//!  ├ client_chain  what is written in one that was shown
//!  └ servers       certificates of endpoints
//! ```
//!
//! Which options count for a host is the table's to say (`table/secure.rs`); nothing here knows of routers.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::ServerConfig;

mod accept;
mod certificate;
pub(crate) mod client_chain;
pub(crate) mod client_hello;
mod clients;
mod connect;
mod files;
mod keeper;
mod metrics;
mod options;
mod selfmade;
mod servers;
mod shown;
mod store;
mod verify;

pub(crate) use accept::{Failure, begins_handshake, client_chain, hello, kind, version};
pub(crate) use client_chain::{ClientChain, Name, Written};
pub(crate) use files::Files;
pub(crate) use keeper::Keeper;
pub(crate) use metrics::Metrics;
use servers::Speaker;
pub use shown::{ShownCertificate, ShownCertificates};

/// The protocols that are offered in a handshake, where options ask for them.
pub(crate) const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// What connections are taken by: immutable, replaced whole.
#[derive(Debug, Default)]
pub(crate) struct Front {
    /// By the name of the options; those that can't be met are not here.
    servers: HashMap<String, Arc<ServerConfig>, RandomState>,
    /// What each of those lets be spoken, as it is written.
    protocols: HashMap<String, Spoken, RandomState>,
    /// By the name of the upstream.
    speakers: HashMap<String, Arc<Speaker>, RandomState>,
    /// What clients are shown, but for what is made here.
    shown: Vec<Arc<certificate::Certificate>>,
}

/// Protocols of ALPN.
#[derive(Debug)]
struct Spoken {
    names: Vec<Vec<u8>>,
    /// Whether somebody chose them.
    chosen: bool,
}

impl Front {
    /// What these options come to, unless they can't be met.
    pub(crate) fn server(&self, options: &str) -> Option<&Arc<ServerConfig>> {
        self.servers.get(options)
    }

    /// The same for a client that offers these protocols, where what is spoken is not ours to know. One that the options
    /// name is agreed to; where they name none of their own, so is what the client likes most: it is the endpoint that
    /// will speak it.
    pub(crate) fn server_of_any(&self, options: &str, offered: &[Vec<u8>]) -> Option<Arc<ServerConfig>> {
        let config = self.servers.get(options)?;
        let Some(first) = offered.first() else { return Some(config.clone()) };
        let known = self.protocols.get(options)?;
        let common = known.names.iter().find(|name| offered.contains(name));
        let agreed = common.or_else(|| (!known.chosen).then_some(first));
        // Where nothing is common, the handshake fails for that.
        let alpn_protocols = agreed.map_or_else(|| known.names.clone(), |agreed| vec![agreed.clone()]);
        if config.alpn_protocols == alpn_protocols {
            return Some(config.clone());
        }
        let mut config = ServerConfig::clone(config);
        config.alpn_protocols = alpn_protocols;
        Some(Arc::new(config))
    }

    /// How the endpoints of an upstream are spoken to, unless that can't be done as asked for.
    pub(crate) fn speaker(&self, upstream: &str) -> Option<&Arc<Speaker>> {
        self.speakers.get(upstream)
    }
}
