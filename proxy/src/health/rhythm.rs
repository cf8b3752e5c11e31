//! When to ask, and what to make of answers. Pure: it waits for nothing.

use std::time::Duration;

use portolan_discovery::Verdict;

/// How much sooner or later than the interval an endpoint may be asked, so that not all of them are at once.
const JITTER: f64 = 0.1;

/// How often is asked, and how many answers in a row count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    pub(super) unhealthy_interval: Duration,
    pub(super) rise: u32,
    pub(super) fall: u32,
}

/// What is known of an endpoint by its answers.
#[derive(Debug)]
pub(super) struct Rhythm {
    pace: Pace,
    /// `None` before the first answer.
    is_up: Option<bool>,
    /// Answers in a row that say otherwise.
    against: u32,
    /// The reason that was told last.
    reason: String,
}

impl Rhythm {
    /// Goes on from what was known.
    pub(super) fn new(pace: &Pace, known: Option<&Verdict>) -> Self {
        let (is_up, reason) = match known {
            None | Some(Verdict::Unknown) => (None, String::new()),
            Some(Verdict::Up) => (Some(true), String::new()),
            Some(Verdict::Down(reason)) => (Some(false), reason.clone()),
        };
        Self { pace: pace.clone(), is_up, against: 0, reason }
    }

    /// Takes an answer, or why it was none. Gives the verdict if that is new.
    pub(super) fn judge(&mut self, answer: Result<(), String>) -> Option<Verdict> {
        let good = answer.is_ok();
        let needed = if good { self.pace.rise } else { self.pace.fall };
        match self.is_up {
            Some(is_up) if is_up == good => {
                self.against = 0;
                // Another reason is news, the same one is not.
                if !answer.as_ref().is_err_and(|reason| *reason != self.reason) {
                    return None;
                }
            }
            // The first answer is believed.
            None => {}
            Some(_) => {
                self.against += 1;
                if self.against < needed.max(1) {
                    return None;
                }
            }
        }
        self.is_up = Some(good);
        self.against = 0;
        Some(match answer {
            Ok(()) => Verdict::Up,
            Err(reason) => {
                self.reason.clone_from(&reason);
                Verdict::Down(reason)
            }
        })
    }

    /// How long to wait until it is asked again. `chance` is between 0 and 1.
    pub(super) fn pause(&self, chance: f64) -> Duration {
        let interval =
            if self.is_up == Some(false) { self.pace.unhealthy_interval } else { self.pace.interval };
        interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rhythm(rise: u32, fall: u32, known: Option<&Verdict>) -> Rhythm {
        let (interval, unhealthy_interval) = (Duration::from_secs(10), Duration::from_secs(2));
        Rhythm::new(&Pace { interval, unhealthy_interval, rise, fall }, known)
    }

    fn bad(reason: &str) -> Result<(), String> {
        Err(reason.to_owned())
    }

    #[test]
    fn the_first_answer_counts_and_then_so_many_in_a_row() {
        let mut rhythm = rhythm(2, 3, None);
        assert_eq!(rhythm.judge(Ok(())), Some(Verdict::Up));
        let said: Vec<Option<Verdict>> =
            [bad("a"), bad("a"), Ok(()), bad("a"), bad("b"), bad("c"), bad("c"), bad("d")]
                .into_iter()
                .map(|answer| rhythm.judge(answer))
                .collect();
        let down = |reason: &str| Some(Verdict::Down(reason.to_owned()));
        assert_eq!(said, [None, None, None, None, None, down("c"), None, down("d")]);
        let said: Vec<Option<Verdict>> =
            [Ok(()), bad("d"), Ok(()), Ok(())].into_iter().map(|answer| rhythm.judge(answer)).collect();
        assert_eq!(said, [None, None, None, Some(Verdict::Up)]);
    }

    #[test]
    fn what_was_known_stays_known_over_another_check() {
        let down = Verdict::Down("a".to_owned());
        let mut rhythm = rhythm(2, 1, Some(&down));
        assert_eq!(rhythm.judge(bad("a")), None);
        assert_eq!(rhythm.judge(Ok(())), None, "it takes two");
        assert_eq!(rhythm.judge(Ok(())), Some(Verdict::Up));
    }

    #[test]
    fn who_is_down_is_asked_at_another_interval_and_nobody_at_the_same_time() {
        let mut rhythm = rhythm(1, 1, None);
        assert_eq!(rhythm.pause(0.5), Duration::from_secs(10));
        assert_eq!(rhythm.pause(0.0), Duration::from_secs(9));
        rhythm.judge(bad("a"));
        assert_eq!(rhythm.pause(0.5), Duration::from_secs(2));
        assert_eq!(rhythm.pause(1.0), Duration::from_millis(2200));
    }
}
