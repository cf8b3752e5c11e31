//! Memory that nobody uses goes back to the kernel.
//!
//! The allocator keeps what it is given back, but for what happens to lie at its end: four thousand clients that ask at
//! once and then wait left 36 KiB each behind. Asked, it gives back every page that is free, wherever it lies. That
//! takes time, so it is asked only once a rush is over.

// malloc_trim(3) has no other way in.
#![allow(unsafe_code)]

use std::cell::Cell;

use crate::limits::{RUSH, RUSH_TICKS_MAX};

/// How much was let go of lately, in buffers and parked connections.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    let_go: Cell<usize>,
    ticks: Cell<u32>,
}

impl Memory {
    /// To be told at every tick how much was let go of since the last. Whether memory went back to the kernel.
    pub(crate) fn tick(&self, let_go: usize) -> bool {
        let all = self.let_go.get() + let_go;
        self.let_go.set(all);
        if all < RUSH {
            return false;
        }
        self.ticks.set(self.ticks.get() + 1);
        // More may come with the next one; but a rush that never ends is no rush.
        if let_go >= RUSH && self.ticks.get() < RUSH_TICKS_MAX {
            return false;
        }
        self.let_go.set(0);
        self.ticks.set(0);
        give_back();
        true
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_when_a_rush_is_over_and_not_for_a_few() {
        let memory = Memory::default();
        assert!(!memory.tick(RUSH - 1), "a few");
        assert!(memory.tick(1), "a few more make a rush, and it is over");
        assert!(!memory.tick(0));
        assert!(!memory.tick(RUSH * 4), "more may come");
        assert!(memory.tick(0));
        let ticks = (1..99).find(|_| memory.tick(RUSH)).unwrap();
        assert_eq!(ticks, RUSH_TICKS_MAX, "one that goes on");
    }
}
