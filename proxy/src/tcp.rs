//! Connections to entry points before it is known what they are, and those that TCP routers take.
//!
//! ```text
//! arrive     a connection of which nothing is known: read as far as that takes, and given to HTTP or to a TCP router
//!  └ postgres  how PostgreSQL asks for TLS, sans-I/O
//! session    a connection that a TCP router took: its TLS, its endpoint, its bytes
//!  ├ pass      its bytes, by the kernel or by the worker
//!  ├ terminate a handshake with the client, where TLS ends here
//!  └ establish a connection to an endpoint, and to another where that fails
//! ```
//!
//! Which router that is, the table says (`table/tcp.rs`). What bytes mean beyond their first is not known here.

mod arrive;
mod establish;
mod pass;
mod postgres;
mod session;
mod terminate;

pub(crate) use arrive::{Client, serve};
pub(crate) use establish::{Opening, establish};
pub(crate) use pass::pass;
