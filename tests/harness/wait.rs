//! Waiting for a condition with a deadline: the only way a test waits.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// The deadline for what should happen at once: long enough for a busy two-core machine, short enough to fail a test.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Tries `probe` every few milliseconds until it is `Ok`, and returns what it found.
///
/// Panics with `what` and the last error when `deadline` has passed.
#[track_caller]
pub fn eventually<T, E: Display>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(found) => return found,
            Err(reason) if started.elapsed() >= deadline => {
                panic!("waited {deadline:?} for {what}; last: {reason}")
            }
            Err(_) => thread::sleep(Duration::from_millis(3)),
        }
    }
}

/// How many times as long tests under load are to be: 1, or 10 where `PORTOLAN_LONG` is set.
pub fn longer() -> usize {
    if std::env::var_os("PORTOLAN_LONG").is_some() { 10 } else { 1 }
}
