//! Whether arrivals are seated at once. A region turns from the one to the other at the same moment for all
//! of its front-ends, which each is told beforehand.

use std::time::Duration;

use super::Grant;

/// So far apart those of one second and the next are seated where a region opens.
const STEP: Duration = Duration::from_millis(quota::limits::STEP_MS);
/// How many seconds are told apart then: it takes about as long from the decision to the moment.
const SECONDS: u64 = 3;

/// What the last grant said. Times are cluster time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opening {
    /// Whether arrivals are seated at once from `from` on; before that it is the other way round.
    pub open: bool,
    /// Zero where it has held for as long as is known.
    from: Duration,
    /// When it was to open, or did, and then was not: others may go by that still. Zero for never.
    called_off: Duration,
}

impl Opening {
    /// What holds after a grant.
    pub fn after(self, grant: &Grant) -> Self {
        let now = Duration::from_millis(grant.cluster_ms);
        match grant.turns_ms {
            0 if self.open == grant.open && self.from <= now => self,
            0 => Self {
                open: grant.open,
                from: Duration::ZERO,
                called_off: if self.open {
                    self.from
                } else {
                    self.called_off
                },
            },
            turns_ms => Self {
                open: !grant.open,
                from: Duration::from_millis(turns_ms),
                called_off: Duration::ZERO,
            },
        }
    }

    /// Whether arrivals are seated at once at that time.
    pub fn is_open(self, time: Duration) -> bool {
        self.open == (time >= self.from)
    }

    /// When it turns, where it is still to turn.
    pub fn turns(self, time: Duration) -> Option<Duration> {
        (time < self.from).then_some(self.from)
    }

    /// When those who came in a second are seated without being admitted. Where a region has just opened
    /// those of one second go after those of the one before, at all of its front-ends.
    pub fn seats(self, second: u32, time: Duration) -> Option<Duration> {
        if !self.open {
            return (time < self.from).then_some(Duration::ZERO);
        }
        Some(in_turn(self.from, second))
    }

    /// When those who came in a second and are admitted are seated: at `at`, or as if the region opened, where it
    /// was to and front-ends may not all have heard that it does not.
    pub fn admits(self, second: u32, at: Duration, time: Duration) -> Duration {
        match in_turn(self.called_off, second) {
            sooner if time < sooner => at.min(sooner),
            _ => at,
        }
    }
}

/// When those who came in a second are seated in a region that opens `from` then on.
fn in_turn(from: Duration, second: u32) -> Duration {
    if from.is_zero() {
        return Duration::ZERO;
    }
    let after = (u64::from(second) + SECONDS).saturating_sub(from.as_secs());
    from + STEP * after.min(SECONDS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn grant(open: bool, turns_ms: u64, cluster_ms: u64) -> Grant {
        Grant {
            open,
            turns_ms,
            cluster_ms,
            ..Grant::default()
        }
    }

    #[test]
    fn turns_when_it_was_told_to_and_stays_so() {
        let shut = Opening::default();
        assert!(!shut.is_open(ms(5)));
        let opens = shut.after(&grant(false, 20_000, 18_500));
        assert!(!opens.is_open(ms(19_999)) && opens.is_open(ms(20_000)));
        assert_eq!(opens.turns(ms(18_500)), Some(ms(20_000)));
        let open = opens.after(&grant(true, 0, 20_030));
        assert_eq!(open, opens);
        let shuts = open.after(&grant(true, 40_000, 38_500));
        assert!(shuts.is_open(ms(39_999)) && !shuts.is_open(ms(40_000)));
        // The region was short before that.
        let shut = shuts.after(&grant(false, 0, 39_000));
        assert!(!shut.is_open(ms(39_001)));
    }

    #[test]
    fn an_opening_seats_one_second_after_the_other() {
        let opens = Opening::default().after(&grant(false, 20_500, 19_000));
        let when = |second| opens.seats(second, ms(19_000)).unwrap();
        assert_eq!(when(3), ms(20_500));
        assert_eq!(when(17), ms(20_500));
        assert_eq!(when(18), ms(20_520));
        assert_eq!(when(19), ms(20_540));
        assert_eq!(when(20), ms(20_560));
        assert_eq!(when(90), ms(20_560));
        let shuts = Opening::default().after(&grant(true, 20_500, 19_000));
        assert_eq!(shuts.seats(19, ms(20_499)), Some(Duration::ZERO));
        assert_eq!(shuts.seats(19, ms(20_500)), None);
    }
}
