//! The verbs that do something and end.

pub mod check;
pub mod healthcheck;
pub mod ps;
pub mod resolve;
pub mod version;

mod ask;
