//! The targets of the leases of a stream: which of them are news to the front-end.

use std::collections::BTreeMap;

/// Leases whose targets are looked up at a time; between two such lots others get at the state, and the stream goes on.
const LOOK_UP: usize = 256;
/// A lease that this node does not come to know after so many looks has ended meanwhile.
const MOST_MISSES: u32 = 100;

/// The leases of a stream, and what the front-end knows of their targets.
#[derive(Debug)]
pub(super) struct Watched {
    leases: BTreeMap<u64, Target>,
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    /// What the front-end was told last.
    told: u64,
    /// What this node saw last, where it has seen the lease. A node that follows may be behind the answer
    /// that it has forwarded, so that only a change in what it sees is news.
    seen: Option<u64>,
    misses: u32,
}

impl Watched {
    pub fn new(most: usize) -> Self {
        Self {
            leases: BTreeMap::new(),
            most,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// An answer went down that names the target; `leads` where this node has applied it too.
    pub fn told(&mut self, lease: u64, target: u64, leads: bool) {
        let known = self.leases.get(&lease);
        if known.is_none() && self.leases.len() >= self.most {
            return;
        }
        let seen = if leads {
            Some(target)
        } else {
            known.and_then(|known| known.seen)
        };
        let target = Target {
            told: target,
            seen,
            misses: 0,
        };
        self.leases.insert(lease, target);
    }

    pub fn forget(&mut self, lease: u64) {
        self.leases.remove(&lease);
    }

    /// Up to [`LOOK_UP`] leases, in order, from one on.
    pub fn lot(&self, from: u64) -> Vec<u64> {
        self.leases
            .range(from..)
            .take(LOOK_UP)
            .map(|(&lease, _)| lease)
            .collect()
    }

    /// What this node sees now: the target, where the front-end is to be told. `None` seen: the lease
    /// has ended or closes, or this node has yet to hear of it.
    pub fn seen(&mut self, lease: u64, now: Option<u64>) -> Option<u64> {
        let known = self.leases.get_mut(&lease)?;
        let Some(now) = now else {
            known.misses += 1;
            if known.seen.is_some() || known.misses > MOST_MISSES {
                self.forget(lease);
            }
            return None;
        };
        let changed = known.seen.is_some_and(|seen| seen != now);
        known.seen = Some(now);
        if !changed || known.told == now {
            return None;
        }
        known.told = now;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_target_is_told_once() {
        let mut watched = Watched::new(10);
        watched.told(7, 100, true);
        assert_eq!(watched.seen(7, Some(100)), None);
        assert_eq!(watched.seen(7, Some(80)), Some(80));
        assert_eq!(watched.seen(7, Some(80)), None);
        watched.told(7, 60, true);
        assert_eq!(watched.seen(7, Some(60)), None);
    }

    #[test]
    fn a_node_that_is_behind_does_not_repeat_the_past() {
        let mut watched = Watched::new(10);
        watched.told(7, 100, false);
        assert_eq!(watched.seen(7, None), None, "not heard of yet");
        assert_eq!(watched.seen(7, Some(100)), None);
        watched.told(7, 50, false);
        assert_eq!(
            watched.seen(7, Some(100)),
            None,
            "behind the answer that went by"
        );
        assert_eq!(watched.seen(7, Some(50)), None, "caught up with it");
        assert_eq!(watched.seen(7, Some(40)), Some(40));
    }

    #[test]
    fn leases_that_end_are_forgotten_and_their_number_is_bounded() {
        let mut watched = Watched::new(2);
        for lease in 1..=3 {
            watched.told(lease, 1, true);
        }
        assert_eq!(watched.lot(0), [1, 2]);
        assert_eq!(watched.seen(1, None), None);
        assert_eq!(watched.lot(0), [2]);
        watched.forget(2);
        watched.told(4, 1, false);
        for _ in 0..=MOST_MISSES {
            watched.seen(4, None);
        }
        assert!(watched.is_empty(), "it never came to be known here");
    }
}
