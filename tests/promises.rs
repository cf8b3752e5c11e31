//! The promises of the README, each in a file of its own, over the built binary and a real engine.

pub mod harness;

mod harness_works;
mod no_request_lost;
mod readme;
