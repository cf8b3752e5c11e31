//! The verbs that do something and end.

pub mod check;
pub mod drain;
pub mod explain;
pub mod healthcheck;
pub mod ps;
pub mod resolve;
pub mod say;
pub mod version;

mod ask;
