//! One process takes over from another: it is given every socket that takes connections or datagrams, serves once it
//! knows what there is to serve, and the other goes on only with what it has begun.
//!
//! Both meet at an abstract Unix socket that is named after the admin address, in the network namespace that both are in.
//! Nobody but the same user (or root) is answered. What waits in a socket's queue stays there, whoever takes it out.
//!
//! ```text
//! new   "portolan 1"                              to the process that has the name
//! old   sockets …, "end"                          it goes on as before; among them is what it knows, in memory
//! new                                             follows the engine, compiles its tables
//! new   "ready"
//! old   sockets …, "end"                          again, as ports may have been opened meanwhile
//! new   "taken"                                   and serves
//! old                                             takes nothing more, and ends with its last connection
//! ```
//!
//! If the new one ends before `taken`, the old one goes on, and nobody has noticed.

use std::time::Duration;

mod give;
pub mod memory;
mod take;
mod upgrade;
mod wire;

pub use give::{Ask, offer};
pub use take::Takeover;
pub use upgrade::Upgrade;

/// For a word that the other side has at hand.
const WORD_DEADLINE: Duration = Duration::from_secs(10);
/// For the new process to know what there is to serve: its engine may be slow to list.
pub const READY_DEADLINE: Duration = Duration::from_secs(60);

const HELLO: &str = "portolan 1";
const READY: &str = "ready";
const TAKEN: &str = "taken";
