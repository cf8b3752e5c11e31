//! Placeholder.
pub struct Registry;
