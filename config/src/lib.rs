//! What an operator writes, turned into checked values.
//!
//! Two shapes of everything: *as written* (what the operator typed, faults and all) and *as meant* (checked,
//! with every default filled in). The rest of Portolan sees only the second. Parsing reports every fault at once
//! and says which label or flag caused it; it never stops at the first.
//!
//! This crate knows no sockets, no runtime and no container engine: the same labels mean the same thing wherever
//! they were read.

pub mod address;
pub mod compose;
pub mod constraint;
mod data_path;
pub mod document;
pub mod dynamic;
pub mod fault;
pub mod labels;
pub mod not_yet;
pub mod protocol;
pub mod publish;
pub mod rule;
pub mod settings;
pub mod template;
pub mod tls;

pub use address::ListenAddress;
pub use constraint::Constraints;
pub use data_path::DataPath;
pub use dynamic::Dynamic;
pub use fault::Fault;
pub use labels::Labels;
pub use protocol::Protocol;
pub use publish::{Publish, PublishLimits};
pub use rule::Rule;
pub use settings::Settings;
pub use template::Template;
