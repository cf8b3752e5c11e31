//! When tasks are looked at next. Swarm has no events of tasks (moby issue 37403), so they are asked for: at once and
//! often while something happens, else so often that a manager does not feel it.
//!
//! It does no I/O, and is given the time.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks while something happens.
const FAST: Duration = Duration::from_millis(100);
/// Between two looks else: also what no event tells of is seen within 250 ms.
const CALM: Duration = Duration::from_millis(200);
/// How long after the last sign of a change it is looked at fast.
const STIRRED: Duration = Duration::from_secs(5);
/// How much longer than a look took is waited before the next: many thousand tasks take a manager its time.
const SHARE_FAST: u32 = 1;
const SHARE_CALM: u32 = 10;

/// The pace of looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The longest wait (`refreshSeconds`).
    most: Duration,
    took: Duration,
    stirred_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(most: Duration) -> Self {
        Self { most: most.max(FAST), took: Duration::ZERO, stirred_until: None }
    }

    /// Something happens at `now`.
    pub(super) fn stir(&mut self, now: Instant) {
        self.stirred_until = Some(now + STIRRED);
    }

    /// A look that took so long ended `now`: when the next one begins.
    pub(super) fn next(&mut self, now: Instant, took: Duration) -> Instant {
        self.took = took;
        let stirred = self.stirred_until.is_some_and(|until| now < until);
        let wait = if stirred { FAST.max(took * SHARE_FAST) } else { CALM.max(took * SHARE_CALM) };
        now + wait.min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fast_while_something_happens_and_never_asks_for_more_than_its_share() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut pace = Pace::new(Duration::from_secs(15));
        assert_eq!(pace.next(now, ms(3)), now + CALM);
        assert_eq!(pace.next(now, ms(400)), now + ms(4000));
        assert_eq!(pace.next(now, ms(9000)), now + Duration::from_secs(15), "refreshSeconds is the most");
        pace.stir(now);
        assert_eq!(pace.next(now, ms(3)), now + FAST);
        assert_eq!(pace.next(now, ms(400)), now + ms(400));
        let later = now + STIRRED;
        assert_eq!(pace.next(later, ms(3)), later + CALM);
    }
}
