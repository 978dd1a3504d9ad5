//! Cluster time: counted forward by whoever leads, from what has been applied.

use tokio::time::Instant;

use crate::types::{LeaderId, LogId};

/// A leader's clock. It never runs faster than real time: it starts from a time that was stamped before
/// the moment it starts at, and counts with the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    anchor: Option<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    leader: LeaderId,
    time_ms: u64,
    at: Instant,
}

impl Clock {
    /// The time to stamp on what is proposed under `leader`, which is this node, in milliseconds.
    ///
    /// `applied` gives the last entry applied and the cluster time reached with it. Until that entry is of
    /// this leadership, entries of earlier ones may be left to apply, with later times than are known
    /// here: `None`. A stamp is good for an entry of the same leadership alone.
    pub fn stamp(
        &mut self,
        leader: LeaderId,
        applied: impl FnOnce() -> (Option<LogId>, u64),
        now: impl FnOnce() -> Instant,
    ) -> Option<u64> {
        match &self.anchor {
            Some(anchor) if anchor.leader == leader => {
                let since = now().saturating_duration_since(anchor.at);
                let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                Some(anchor.time_ms.saturating_add(since_ms))
            }
            _ => {
                let (last, time_ms) = applied();
                let time_ms = time_ms
                    + if mutation::on("clock-ahead") {
                        60_000
                    } else {
                        0
                    };
                if last.is_none_or(|id| id.leader_id != leader) {
                    return None;
                }
                // Read after the time reached, so that the clock starts late and never early.
                self.anchor = Some(Anchor {
                    leader,
                    time_ms,
                    at: now(),
                });
                Some(time_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    const FIRST: LeaderId = LeaderId {
        term: 3,
        node_id: 1,
    };
    const SECOND: LeaderId = LeaderId {
        term: 7,
        node_id: 1,
    };

    fn applied(leader_id: LeaderId, time_ms: u64) -> (Option<LogId>, u64) {
        (Some(LogId::new(leader_id, 9)), time_ms)
    }

    #[test]
    fn counts_from_what_was_applied_at_the_speed_of_real_time() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let at = |ms| move || start + Duration::from_micros(ms);
        let unused = || -> (Option<LogId>, u64) { panic!("anchored already") };
        assert_eq!(clock.stamp(FIRST, || applied(FIRST, 500), at(0)), Some(500));
        assert_eq!(clock.stamp(FIRST, unused, at(999)), Some(500));
        assert_eq!(clock.stamp(FIRST, unused, at(1_000)), Some(501));
        assert_eq!(clock.stamp(FIRST, unused, at(60_000_999)), Some(60_500));
    }

    #[test]
    fn waits_until_all_of_earlier_leaderships_is_applied() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let now = || start + Duration::from_secs(5);
        assert_eq!(clock.stamp(SECOND, || (None, 0), now), None);
        assert_eq!(clock.stamp(SECOND, || applied(FIRST, 400), now), None);
        // An entry of the first leadership, stamped 900, was left to apply.
        assert_eq!(clock.stamp(SECOND, || applied(SECOND, 900), now), Some(900));
    }

    #[test]
    fn each_leadership_starts_anew() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        clock.stamp(FIRST, || applied(FIRST, 100), || start);
        // Meanwhile another node led for ten seconds, and let one second pass.
        let later = || start + Duration::from_secs(10);
        assert_eq!(
            clock.stamp(SECOND, || applied(SECOND, 1_100), later),
            Some(1_100)
        );
    }

    #[test]
    fn does_not_go_back_with_a_clock_that_does() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let later = || start + Duration::from_secs(10);
        clock.stamp(FIRST, || applied(FIRST, 100), later);
        let unused = || (None, 0);
        assert_eq!(clock.stamp(FIRST, unused, || start), Some(100));
    }
}
