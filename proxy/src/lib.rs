//! The data plane of layers 4 and 7.
//!
//! ```text
//! Arc<Snapshot> ──table::compile──▶ Table (one ArcSwap) ◀── every worker, once a request or connection
//! ```
//!
//! [`Proxy`] starts one worker thread a core, each with its own runtime, sockets, buffers and upstream connections;
//! no lock and no other core is on the way of a request. A connection to an entry point is HTTP and is routed request
//! by request ([`http`]); one to a published port is passed on connection by connection ([`published`]).
//!
//! This crate knows no container engine and no DNS.

pub mod access_log;
#[doc(hidden)]
pub mod balancer;
mod budget;
mod census;
mod datapath;
mod deadline;
mod ended;
pub mod explain;
mod health;
mod http;
mod inherited;
mod ledger;
pub mod limits;
mod listeners;
mod metrics;
mod middleware;
mod places;
mod proxy;
mod proxy_protocol;
mod published;
mod sockmap;
mod sticky;
mod stream;
mod table;
mod tcp;
mod tls;
mod udp;
mod worker;

pub use health::Checker;
#[doc(hidden)]
pub use http::fuzz;
#[doc(hidden)]
pub use http::{Steps, Way};
pub use inherited::Inherited;
pub use ledger::Ledger;
pub use metrics::Metrics;
pub use proxy::{Proxy, ProxySettings, PublishedPath, ServicePath, SharedTable, StartError, tls_faults};
pub use sticky::default_name as default_cookie_name;
pub use table::{Table, compile, faults_of_unused};
pub use tls::{ShownCertificate, ShownCertificates};
