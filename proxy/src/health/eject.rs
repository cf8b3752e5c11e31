//! Who is out of service for its answers, and for how long. Pure: the time is an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Subject;
use super::outlier::{Outlier, Tally};
use crate::limits::EJECTION_MAX;

/// All that are out, and those that were lately.
#[derive(Default)]
pub(super) struct Ejections(HashMap<Subject, Ejection>);

struct Ejection {
    until: Instant,
    lasts: Duration,
    /// Whether it is over, and only remembered.
    over: bool,
    tally: Arc<Tally>,
}

impl Ejections {
    /// Takes an endpoint out, if not too many of the `count` that its service has are out already. One that fails again
    /// soon after it came back is out for twice as long.
    pub(super) fn eject(&mut self, outlier: Outlier, count: usize, now: Instant) -> Result<Duration, String> {
        let Outlier { subject, policy, tally, .. } = outlier;
        let out = self.0.iter().filter(|(other, ejection)| {
            other.service == subject.service && **other != subject && !ejection.over
        });
        let allowed = count * usize::from(policy.max_ejected_percent.min(100)) / 100;
        let out = out.count();
        if out >= allowed {
            // It may be told again, when others are back.
            tally.clear();
            return Err(format!("{out} of {count} are out, and no more may be"));
        }
        let window = policy.failure_window.duration().max(Duration::from_millis(1));
        let lasts = match self.0.get(&subject) {
            Some(last) if last.until + last.lasts > now => (last.lasts * 2).min(EJECTION_MAX.max(window)),
            _ => window,
        };
        self.0.insert(subject, Ejection { until: now + lasts, lasts, over: false, tally });
        Ok(lasts)
    }

    /// When the next one is back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|ejection| !ejection.over).map(|ejection| ejection.until).min()
    }

    /// Those that are back by now. They are remembered for a while.
    pub(super) fn readmit(&mut self, now: Instant) -> Vec<Subject> {
        self.0.retain(|_, ejection| !ejection.over || ejection.until + ejection.lasts > now);
        let mut back = Vec::new();
        for (subject, ejection) in &mut self.0 {
            if !ejection.over && ejection.until <= now {
                ejection.over = true;
                ejection.tally.clear();
                back.push(subject.clone());
            }
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::service::PassiveHealthCheck;
    use portolan_discovery::{EndpointKey, InstanceId, ProviderName};

    use super::*;

    fn outlier(name: &str, max_ejected_percent: u8) -> Outlier {
        let endpoint = EndpointKey {
            provider: ProviderName::new("test"),
            instance: InstanceId::new(name),
            attachment: name.into(),
        };
        Outlier {
            subject: Subject { service: "s@test".into(), endpoint, port: 80 },
            name: name.to_owned(),
            reason: "500".to_owned(),
            policy: PassiveHealthCheck { max_ejected_percent, ..PassiveHealthCheck::default() },
            tally: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_share_is_out() {
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        let mut out = Vec::new();
        for name in ["a", "b", "c", "d"] {
            out.push(ejections.eject(outlier(name, 50), 4, now).is_ok());
        }
        assert_eq!(out, [true, true, false, false]);
        assert!(ejections.eject(outlier("e", 50), 1, now).is_err(), "half of one is none");
        assert!(ejections.eject(outlier("e", 100), 5, now).is_ok());
        assert_eq!(ejections.readmit(now + Duration::from_secs(10)).len(), 3);
        assert!(ejections.eject(outlier("c", 50), 4, now + Duration::from_secs(11)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_again_is_out_for_longer_and_who_did_well_is_not() {
        let (mut ejections, mut now) = (Ejections::default(), Instant::now());
        let mut lasted = Vec::new();
        for _ in 0..8 {
            let lasts = ejections.eject(outlier("a", 100), 1, now).expect("it may be");
            lasted.push(lasts.as_secs());
            assert_eq!(ejections.next(), Some(now + lasts));
            now += lasts;
            assert_eq!(ejections.readmit(now).len(), 1);
            assert_eq!(ejections.next(), None);
        }
        assert_eq!(lasted, [10, 20, 40, 80, 160, 300, 300, 300]);
        now += EJECTION_MAX;
        ejections.readmit(now);
        assert_eq!(ejections.eject(outlier("a", 100), 1, now), Ok(Duration::from_secs(10)));
    }
}
