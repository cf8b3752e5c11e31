//! The zone: a snapshot compiled into answers, and the server that gives them.
//!
//! ```text
//! Snapshot ──zone::compile──▶ Zone ──(SharedZone)──▶ answer(zone, query) ◀──bytes── Server (UDP, TCP)
//! ```
//!
//! [`zone::compile`] and [`answer()`] are pure: no sockets, no clock. Only [`server`] does I/O, and it knows nothing of
//! DNS but that a query is some bytes and so is its answer. This crate knows no container engine, and no proxy.

pub mod answer;
mod cookie;
mod describe;
mod explain;
mod fixed;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod message;
pub mod metrics;
mod names;
mod rcode;
mod records;
mod request;
pub mod server;
mod special;
#[cfg(test)]
mod test_support;
mod transfer;
mod view;
mod watched;
pub mod zone;

pub use answer::{Asker, Outcome, Transport, answer};
pub use cookie::Cookies;
pub use explain::{Considered, Explanation, explain};
pub use fixed::{Fixed, Records};
pub use metrics::Metrics;
pub use rcode::Rcode;
pub use server::{Bound, Server, faults};
pub use zone::{Compiler, SharedZone, Zone, compile};
