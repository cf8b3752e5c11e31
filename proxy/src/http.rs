//! HTTP/1.1 between clients and endpoints.
//!
//! ```text
//! connection  one client connection: waits for heads, routes each, answers refusals
//!  ├ handshake what comes before the first head, by TLS
//!  └ exchange one request and its answer: chooses endpoints, tries again where that is safe
//!     ├ request   the head as received → as sent on
//!     │  └ forwarded  what the endpoint is told of the client, the peer
//!     ├ response  the head as received → as sent back
//!     ├ body      where a body ends, without changing it
//!     └ pool      connections to endpoints that wait for the next request
//! ```
//!
//! `head` and `body` are sans-I/O: bytes in, meaning out. They are strict (RFC 9112): what could be read in two ways is
//! refused, because the endpoint might read it in the other.

mod account;
mod altered;
mod arrive;
mod ask;
mod asker;
mod body;
mod cleaning;
mod connection;
mod cost;
mod date;
mod entry_point;
mod exchange;
mod field;
mod forwarded;
pub mod fuzz;
mod handshake;
mod head;
mod http2;
mod method;
mod peer;
mod pool;
mod reason;
mod request;
mod response;
mod roads;
mod routing;
mod trailers;

pub use cost::{Steps, Way};

pub(crate) use ask::read_answer;
pub(crate) use cleaning::{Cleaned, Cleaning};
pub(crate) use connection::{Seats, Waiting, linger, serve, serve_begun};
pub(crate) use entry_point::EntryPoint;
pub(crate) use exchange::{Carrier, ConnectedBy, Exchange, Pinned, connect_tcp, exchange};
pub(crate) use field::write_field;
pub(crate) use forwarded::{is_alias, is_forwarding_field};
pub(crate) use head::{RequestHead, fields, parse_request, parse_response};
pub(crate) use http2::Streams;
pub(crate) use peer::Peer;
pub(crate) use pool::Pool;
pub(crate) use roads::{Lane, Roads};
pub(crate) use routing::{Arrived, Unrouted};

pub(crate) use method::Method;
pub(crate) use reason::Reason;
pub(crate) use request::path as path_of;
#[cfg(test)]
pub(crate) use request::write as write_request;
