//! Whether a region is open or ordered. It turns from one to the other for all of its front-ends at the
//! same moment, a while after that is decided, so that nobody walks in at one while others queue at the next.

use serde::{Deserialize, Serialize};

use crate::limits::{CALM_MS, SETTLE_MS};

/// A region's door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Door {
    /// Whether arrivals are seated at once from `from_ms` on; before that it is the other way round.
    pub open: bool,
    pub from_ms: u64,
    /// When the region last had not all that it asked for.
    pub short_ms: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            open: true,
            from_ms: 0,
            short_ms: 0,
        }
    }
}

/// How much there is of what a region asks for: who waits, and the spare slots, twice where it has several
/// front-ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cover {
    /// Less than the spare slots once, or nobody is to be seated.
    Short,
    /// The spare slots once, and less than half of them again.
    Tight,
    /// Not all, and not so little that the region has to turn.
    Enough,
    /// All.
    All,
}

impl Door {
    /// Whether arrivals are seated at once now.
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.open == (now_ms >= self.from_ms)
    }

    /// When the door turns, where it is still to turn; else 0.
    pub fn turns_ms(&self, now_ms: u64) -> u64 {
        if now_ms < self.from_ms {
            self.from_ms
        } else {
            0
        }
    }

    /// Turns the door where it has to; in a while, where there are others to `settle` it with. It opens once
    /// all has been there for [`CALM_MS`], and not before the last of those admitted is seated, at `seated_ms`.
    pub fn decide(&mut self, cover: Cover, now_ms: u64, settle: bool, seated_ms: u64) {
        if cover < Cover::All {
            self.short_ms = now_ms;
        }
        let wait_ms = if settle { SETTLE_MS } else { 0 };
        let settled_ms = now_ms.saturating_add(wait_ms);
        let calm = now_ms >= self.short_ms.saturating_add(CALM_MS);
        let turning = now_ms < self.from_ms;
        (self.open, self.from_ms) = match cover {
            // There is nothing left to let anybody in with.
            Cover::Short if self.open || turning => (false, now_ms),
            Cover::Tight if self.open && !turning => (false, settled_ms),
            Cover::All if !self.open && !turning && calm => (true, settled_ms.max(seated_ms)),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_for_all_at_the_same_moment_and_opens_when_it_has_been_calm() {
        let mut door = Door::default();
        door.decide(Cover::Enough, 10_000, true, 0);
        assert!(door.is_open(10_000));
        assert_eq!(door.turns_ms(10_000), 0);

        door.decide(Cover::Tight, 10_000, true, 0);
        let shut = 10_000 + SETTLE_MS;
        assert_eq!(door.turns_ms(10_100), shut);
        assert!(door.is_open(shut - 1) && !door.is_open(shut));

        // Not while it turns, and not before it has been calm.
        door.decide(Cover::All, 10_500, true, 0);
        door.decide(Cover::All, 10_000 + CALM_MS - 1, true, 0);
        assert!(!door.open);
        let calm = 10_000 + CALM_MS;
        door.decide(Cover::All, calm, true, calm + 4_000);
        assert_eq!(door.turns_ms(calm), calm + 4_000);
        assert!(!door.is_open(calm + 3_999) && door.is_open(calm + 4_000));
    }

    #[test]
    fn shuts_at_once_where_nothing_is_left_or_where_there_is_one_front_end() {
        let mut door = Door::default();
        door.decide(Cover::Short, 10_000, true, 0);
        assert!(!door.is_open(10_000));

        let mut door = Door::default();
        door.decide(Cover::Tight, 10_000, false, 0);
        assert!(!door.is_open(10_000));

        // And while it turns.
        let mut door = Door::default();
        door.decide(Cover::Tight, 10_000, true, 0);
        door.decide(Cover::Short, 10_100, true, 0);
        assert!(!door.is_open(10_100));
    }
}
