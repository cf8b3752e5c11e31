//! The dynamic configuration: Traefik's `http`, `tcp`, `udp` and `tls`, as files and labels write it.
//!
//! ```text
//! YAML, TOML ──┐
//!              ├──▶ Node: texts with places ──▶ Dynamic: typed, with every default filled in, and what is wrong
//! labels ──────┘
//! ```
//!
//! Both front ends end in one tree and are read by one decoder, so that an option means the same wherever it is
//! written. What is wrong costs what it belongs to: a router, a middleware, an option. A thing that is left out for
//! that stays known by name, so that whoever leans on it can be told.

use std::collections::BTreeMap;
use std::sync::Arc;

mod decode;
mod file;
pub mod http;
mod labels;
pub mod middleware;
pub(crate) mod nearest;
mod node;
mod options;
mod read;
pub mod service;
pub mod tcp;
pub mod tls;
pub mod value;

pub use crate::document::Format;
pub use decode::Wrong;
pub(crate) use decode::boolean;
pub use file::{format_of, read_file};
pub(crate) use labels::tree;
pub use nearest::nearest;
pub use node::{Node, Place};
pub(crate) use read::read;

/// Something that was written under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<T> {
    /// Where.
    pub place: Place,
    /// The thing; `None` where it is left out for what is wrong with it, which was told.
    pub value: Option<Arc<T>>,
}

/// Things by name.
pub type Items<T> = BTreeMap<String, Item<T>>;

/// Everything that one file, or the labels of one container, ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dynamic {
    /// `http.routers`
    pub routers: Items<http::Router>,
    /// `http.services`
    pub services: Items<service::Service>,
    /// `http.middlewares`
    pub middlewares: Items<middleware::Middleware>,
    /// `http.serversTransports`
    pub servers_transports: Items<crate::tls::ServersTransport>,
    /// `tcp.routers`
    pub tcp_routers: Items<tcp::TcpRouter>,
    /// `tcp.services`
    pub tcp_services: Items<tcp::TcpService>,
    /// `tcp.middlewares`
    pub tcp_middlewares: Items<tcp::TcpMiddleware>,
    /// `tcp.serversTransports`
    pub tcp_servers_transports: Items<tcp::TcpTransport>,
    /// `udp.routers`
    pub udp_routers: Items<tcp::UdpRouter>,
    /// `udp.services`
    pub udp_services: Items<tcp::UdpService>,
    /// `tls.certificates`, each with the stores it is in.
    pub certificates: Vec<(crate::tls::KeyPair, Vec<String>)>,
    /// `tls.options`
    pub tls_options: Items<crate::tls::TlsOptions>,
    /// `tls.stores`
    pub stores: Items<tls::Store>,
    /// What is wrong.
    pub wrong: Vec<Wrong>,
}

impl Dynamic {
    /// Whether it says anything of HTTP.
    pub fn has_http(&self) -> bool {
        !(self.routers.is_empty()
            && self.services.is_empty()
            && self.middlewares.is_empty()
            && self.servers_transports.is_empty())
    }

    /// Whether it says anything of connections or datagrams.
    pub fn has_layer_four(&self) -> bool {
        !(self.tcp_routers.is_empty()
            && self.tcp_services.is_empty()
            && self.udp_routers.is_empty()
            && self.udp_services.is_empty())
    }

    /// Adds what another file of the same provider says. Of two things of one name the first stays, as Traefik has it.
    pub fn merge(&mut self, other: Self) {
        let wrong = &mut self.wrong;
        add(&mut self.routers, other.routers, "http.routers", wrong);
        add(&mut self.services, other.services, "http.services", wrong);
        add(&mut self.middlewares, other.middlewares, "http.middlewares", wrong);
        add(&mut self.servers_transports, other.servers_transports, "http.serversTransports", wrong);
        add(&mut self.tcp_routers, other.tcp_routers, "tcp.routers", wrong);
        add(&mut self.tcp_services, other.tcp_services, "tcp.services", wrong);
        add(&mut self.tcp_middlewares, other.tcp_middlewares, "tcp.middlewares", wrong);
        add(&mut self.tcp_servers_transports, other.tcp_servers_transports, "tcp.serversTransports", wrong);
        add(&mut self.udp_routers, other.udp_routers, "udp.routers", wrong);
        add(&mut self.udp_services, other.udp_services, "udp.services", wrong);
        add(&mut self.tls_options, other.tls_options, "tls.options", wrong);
        add(&mut self.stores, other.stores, "tls.stores", wrong);
        for certificate in other.certificates {
            if !self.certificates.contains(&certificate) {
                self.certificates.push(certificate);
            }
        }
        wrong.extend(other.wrong);
    }
}

fn add<T>(to: &mut Items<T>, from: Items<T>, kind: &str, wrong: &mut Vec<Wrong>) {
    for (name, item) in from {
        match to.get(&name) {
            None => {
                to.insert(name, item);
            }
            Some(first) => wrong.push(Wrong {
                path: format!("{kind}.{name}"),
                message: format!("the same name stands at {}, which is kept", first.place),
                place: item.place,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
