//! How many slots to ask for: at once more when more are needed, slowly fewer when fewer are.

use std::time::Duration;

/// Slots kept ready, as a part of those in use: one in this many.
const HEADROOM_PART: u64 = 10;
/// A surplus shrinks to a bit over a third in this time.
const SHRINK_TIME: Duration = Duration::from_secs(10);
/// A surplus of less than this part of what is wanted stays: it is not worth going up and down for.
const SURPLUS_PART: u64 = 8;
/// A rise of less than this part of what was reported can wait for the next report.
const JUMP_PART: u64 = 8;

/// What a front-end needs at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Seats open.
    pub in_use: u64,
    /// Users who found no seat.
    pub unserved: u64,
}

/// Remembers what was asked for.
#[derive(Debug, Clone)]
pub struct Sizing {
    reserve: u64,
    wanted: u64,
    since: Duration,
}

impl Sizing {
    /// Keeps at least `reserve` slots ready beyond those in use.
    pub fn new(reserve: u64) -> Self {
        Self {
            reserve,
            wanted: 0,
            since: Duration::ZERO,
        }
    }

    /// What was last asked for.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Slots that would do for the demand, as if nothing had been asked for before.
    fn need(&self, demand: Demand) -> u64 {
        let headroom = self.reserve.max(demand.in_use / HEADROOM_PART);
        demand
            .in_use
            .saturating_add(demand.unserved)
            .saturating_add(headroom)
    }

    /// Whether the demand is so much above what was asked for that it should be told now.
    pub fn jumped(&self, demand: Demand) -> bool {
        self.need(demand) > self.wanted.saturating_add(self.wanted / JUMP_PART)
    }

    /// What to ask for now.
    pub fn update(&mut self, now: Duration, demand: Demand) -> u64 {
        let need = self.need(demand);
        let passed = now.saturating_sub(self.since).min(SHRINK_TIME);
        self.since = now;
        if need >= self.wanted {
            self.wanted = need;
        } else {
            let surplus = self.wanted - need;
            if surplus > self.wanted / SURPLUS_PART {
                let part = u128::from(surplus) * passed.as_nanos() / SHRINK_TIME.as_nanos();
                self.wanted -= u64::try_from(part).unwrap_or(surplus).clamp(1, surplus);
            }
        }
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn demand(in_use: u64, unserved: u64) -> Demand {
        Demand { in_use, unserved }
    }

    #[test]
    fn grows_at_once_with_headroom() {
        let mut sizing = Sizing::new(5);
        assert_eq!(sizing.update(Duration::ZERO, demand(0, 0)), 5);
        assert_eq!(sizing.update(Duration::ZERO, demand(1_000, 200)), 1_300);
        assert!(!sizing.jumped(demand(1_000, 300)), "within an eighth");
        assert!(sizing.jumped(demand(1_000, 400)));
    }

    #[test]
    fn shrinks_slowly_and_not_for_a_ripple() {
        let mut sizing = Sizing::new(0);
        sizing.update(Duration::ZERO, demand(0, 1_000));
        assert_eq!(sizing.update(Duration::from_secs(1), demand(700, 0)), 977);
        let mut now = Duration::from_secs(1);
        for _ in 0..80 {
            now += Duration::from_secs(1);
            sizing.update(now, demand(0, 0));
        }
        assert_eq!(
            sizing.wanted(),
            0,
            "an idle front-end ends with its reserve"
        );
        sizing.update(now, demand(0, 100));
        now += Duration::from_secs(60);
        assert_eq!(sizing.update(now, demand(0, 90)), 100, "a ripple");
    }

    #[test]
    fn no_demand_is_too_large() {
        let mut sizing = Sizing::new(u64::MAX);
        assert_eq!(
            sizing.update(Duration::ZERO, demand(u64::MAX, u64::MAX)),
            u64::MAX
        );
        assert!(!sizing.jumped(demand(u64::MAX, u64::MAX)));
    }
}
