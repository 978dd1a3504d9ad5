//! When whom to seat. A region's admissions take effect a while after they are decided, the same for all of
//! its front-ends: by then whoever is to be seated before has been told, too, so that users are seated in
//! the order of their seconds whichever front-end they wait at.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits::{SETTLE_MS, SPREAD_MS, STEP_MS};

/// Most steps of a class: as many as can lie ahead, the one that is taken, and the last.
const MAX_STEPS: usize = ((SETTLE_MS + SPREAD_MS) / STEP_MS) as usize + 2;

/// From `at_ms` on whoever arrived in `until_s` or before is seated, if admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub until_s: u32,
    pub at_ms: u64,
}

/// The steps of one class: later seconds have later times. Of those that have passed only the last is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns(VecDeque<Step>);

impl Turns {
    /// The latest second that somebody was admitted of: a slot is kept for whoever came before it.
    pub fn reached(&self) -> Option<u32> {
        self.0.back().map(|step| step.until_s)
    }

    /// When the last step is taken; 0 where there was none.
    pub fn last_ms(&self) -> u64 {
        self.0.back().map_or(0, |step| step.at_ms)
    }

    /// When those of a second are seated; none where it was not reached.
    pub fn at(&self, second: u32) -> Option<u64> {
        let before = self.0.partition_point(|step| step.until_s < second);
        self.0.get(before).map(|step| step.at_ms)
    }

    /// Reaches further seconds, which are in order, at `now_ms`. Where there are others to `settle` it with
    /// they are seated in a while, [`STEP_MS`] apart; but none later than [`SPREAD_MS`] after the first could
    /// be.
    pub fn reach(&mut self, seconds: impl IntoIterator<Item = u32>, now_ms: u64, settle: bool) {
        while self.0.get(1).is_some_and(|step| step.at_ms <= now_ms) {
            self.0.pop_front();
        }
        let settle = settle && !mutation::on("seat-unsettled");
        let (wait_ms, step_ms) = if settle { (SETTLE_MS, STEP_MS) } else { (0, 0) };
        let soonest_ms = now_ms.saturating_add(wait_ms);
        let latest_ms = soonest_ms.saturating_add(SPREAD_MS);
        for until_s in seconds {
            if self.reached().is_some_and(|reached| reached >= until_s) {
                continue;
            }
            let after_ms = self.last_ms().saturating_add(step_ms);
            let at_ms = if after_ms <= latest_ms {
                after_ms.max(soonest_ms)
            } else {
                self.last_ms()
            };
            match self.0.back_mut() {
                Some(last) if last.at_ms == at_ms => last.until_s = until_s,
                _ => self.0.push_back(Step { until_s, at_ms }),
            }
        }
    }

    /// Whether these can be the steps of a state at that time.
    pub fn is_sound(&self, now_ms: u64) -> bool {
        let latest_ms = now_ms.saturating_add(SETTLE_MS + SPREAD_MS);
        let mut steps = self.0.iter().zip(self.0.iter().skip(1));
        self.0.len() <= MAX_STEPS
            && self.last_ms() <= latest_ms
            && steps.all(|(a, b)| a.until_s < b.until_s && a.at_ms < b.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_seated_one_after_the_other_and_never_out_of_order() {
        let mut turns = Turns::default();
        assert_eq!(turns.at(3), None);
        turns.reach([3, 5, 6], 10_000, true);
        let first = 10_000 + SETTLE_MS;
        assert_eq!((turns.at(1), turns.at(3)), (Some(first), Some(first)));
        assert_eq!(turns.at(4), Some(first + STEP_MS));
        assert_eq!(turns.at(6), Some(first + 2 * STEP_MS));
        assert_eq!((turns.at(7), turns.reached()), (None, Some(6)));

        // Decided soon after, and so seated after those before all the same.
        turns.reach([6, 7], 10_010, true);
        assert_eq!(turns.at(7), Some(first + 3 * STEP_MS));
        // By then there is only one front-end left, and nobody to settle anything with.
        turns.reach([8], 10_020, false);
        assert_eq!(turns.at(8), turns.at(7));
        turns.reach([9], first + 1_000, false);
        assert_eq!(turns.at(9), Some(first + 1_000));
        assert!(turns.is_sound(first + 1_000));
    }

    #[test]
    fn a_long_line_is_seated_within_a_bound_and_takes_bounded_steps() {
        let mut turns = Turns::default();
        for now_ms in (10_000..60_000).step_by(10) {
            let from = turns.reached().map_or(0, |reached| reached + 1);
            turns.reach(from..from + 1_000, now_ms, true);
            assert!(turns.is_sound(now_ms), "{now_ms}: {} steps", turns.0.len());
        }
    }
}
