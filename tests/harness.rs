//! What the promises share: a machine of its own for every test, an engine in it, the built binary, and clients.
//!
//! A test reads top-down: `Engine::start()`, containers, `Portolan::start(&engine, &[…])`, then `eventually(…)`. It needs
//! root (namespaces, bridges), and no network beyond the machine.

// A harness offers what a promise may need, not only what today's promises use.
#![allow(dead_code)]

pub mod bulk;
mod cgroups;
mod chart;
mod container;
pub mod dns;
mod engine;
mod fake_engine;
pub mod http;
mod http2;
mod image;
mod load;
mod loads;
mod metrics;
mod nodes;
mod podman;
mod portolan;
mod probe;
pub mod process;
mod relay;
mod sandbox;
mod swarm;
mod tools;
mod wait;

pub use chart::{Endpoint, Fault};
pub use container::Container;
pub use engine::Engine;
pub use fake_engine::{FakeEngine, Recording};
pub use http2::Http2Load;
pub use image::{NGINX, NGINX_SIGTERM};
pub use load::{Load, Report};
pub use loads::{Loads, PUBLISHED, while_loaded};
pub use nodes::{MANAGER, Nodes};
pub use podman::Podman;
pub use portolan::{ADMIN, ENTRY_POINT, NAME_SERVER, Portolan};
pub use probe::{await_addresses, await_http, await_no_name, resolve};
pub use process::{Process, Signal};
pub use relay::{Relay, Way};
pub use sandbox::Sandbox;
pub use swarm::OVERLAY;
pub use tools::{python, require};
pub use wait::{PATIENCE, eventually, longer};
