//! What runs, observed by providers and drawn as one chart.
//!
//! ```text
//! Provider ──Update──▶ Registry ──draw──▶ Arc<Snapshot>
//! ```
//!
//! A provider reports *instances* (one container, task or process each) as it sees them. One task owns the registry,
//! applies updates in batches and publishes the newest [`Snapshot`]; everybody else only reads. Nothing outside
//! `provider/docker*` knows that Docker exists.

pub mod chart;
pub mod instance;
pub mod kept;
pub mod metrics;
mod order;
pub mod provider;
mod read;
pub mod registry;
mod server_url;
pub mod snapshot;
mod verdict;

pub use instance::{Binding, Instance, InstanceId, NetworkAddress, Node, ServiceKey, State};
pub use kept::Kept;
pub use metrics::Metrics;
pub use order::{Order, Orders, Standing, Subject};
pub use provider::{Change, Configured, Provider, ProviderName, Update};
pub use registry::Registry;
pub use snapshot::{
    Applied, Composite, Endpoint, EndpointKey, LayerFour, NamedPort, Publication, Router, Service, Snapshot,
    SourceStatus, Target, TcpRouter, TcpUpstream, UdpRouter, UdpUpstream, Upstream,
};
pub use verdict::{Judgement, Verdict};
