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

/// What came of a look at one lease.
enum Seen {
    Same,
    /// The front-end is to be told.
    New(u64),
    /// It is watched no longer.
    Gone,
}

/// What came of a look at some leases.
pub(super) struct Looked {
    /// Leases with the targets that the front-end is to be told.
    pub news: Vec<(u64, u64)>,
    /// The lease to go on from, where not all were looked at.
    pub next: Option<u64>,
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

    /// Looks up to [`LOOK_UP`] leases up, in order from one on; `target` is what this node sees now, none where a
    /// lease has ended or closes, or this node has yet to hear of it.
    pub fn look(&mut self, from: u64, target: impl Fn(u64) -> Option<u64>) -> Looked {
        let (mut news, mut gone, mut last, mut count) = (Vec::new(), Vec::new(), None, 0);
        for (&lease, known) in self.leases.range_mut(from..).take(LOOK_UP) {
            match known.seen(target(lease)) {
                Seen::Same => {}
                Seen::New(target) => news.push((lease, target)),
                Seen::Gone => gone.push(lease),
            }
            (last, count) = (Some(lease), count + 1);
        }
        for lease in gone {
            self.forget(lease);
        }
        let last = last.filter(|_| count == LOOK_UP);
        let next = last.and_then(|last| last.checked_add(1));
        Looked { news, next }
    }
}

impl Target {
    fn seen(&mut self, now: Option<u64>) -> Seen {
        let Some(now) = now else {
            self.misses += 1;
            let ended = self.seen.is_some() || self.misses > MOST_MISSES;
            return if ended { Seen::Gone } else { Seen::Same };
        };
        let changed = self.seen.is_some_and(|seen| seen != now);
        self.seen = Some(now);
        if !changed || self.told == now {
            return Seen::Same;
        }
        self.told = now;
        Seen::New(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at all, which see one target, and gives what is told of the first.
    fn seen(watched: &mut Watched, target: Option<u64>) -> Option<u64> {
        let looked = watched.look(0, |_| target);
        assert_eq!(looked.next, None);
        looked.news.first().map(|&(_, target)| target)
    }

    #[test]
    fn a_changed_target_is_told_once() {
        let mut watched = Watched::new(10);
        watched.told(7, 100, true);
        assert_eq!(seen(&mut watched, Some(100)), None);
        assert_eq!(seen(&mut watched, Some(80)), Some(80));
        assert_eq!(seen(&mut watched, Some(80)), None);
        watched.told(7, 60, true);
        assert_eq!(seen(&mut watched, Some(60)), None);
    }

    #[test]
    fn a_node_that_is_behind_does_not_repeat_the_past() {
        let mut watched = Watched::new(10);
        watched.told(7, 100, false);
        assert_eq!(seen(&mut watched, None), None, "not heard of yet");
        assert_eq!(seen(&mut watched, Some(100)), None);
        watched.told(7, 50, false);
        let behind = seen(&mut watched, Some(100));
        assert_eq!(behind, None, "behind the answer that went by");
        let caught_up = seen(&mut watched, Some(50));
        assert_eq!(caught_up, None, "caught up with it");
        assert_eq!(seen(&mut watched, Some(40)), Some(40));
    }

    #[test]
    fn leases_that_end_are_forgotten_and_their_number_is_bounded() {
        let mut watched = Watched::new(2);
        for lease in 1..=3 {
            watched.told(lease, 1, true);
        }
        assert!(watched.leases.keys().eq(&[1, 2]));
        watched.look(0, |lease| (lease != 1).then_some(1));
        assert!(watched.leases.keys().eq(&[2]));
        watched.forget(2);
        watched.told(4, 1, false);
        for _ in 0..=MOST_MISSES {
            assert_eq!(seen(&mut watched, None), None);
        }
        assert!(watched.is_empty(), "it never came to be known here");
    }

    #[test]
    fn very_many_leases_are_looked_at_some_at_a_time() {
        let many = 2 * LOOK_UP as u64 + 1;
        let mut watched = Watched::new(usize::MAX);
        for lease in 0..many {
            watched.told(lease, 1, true);
        }
        let (mut from, mut looks, mut told) = (Some(0), 0, Vec::new());
        while let Some(next) = from {
            let looked = watched.look(next, |lease| (lease % 2 == 0).then_some(2));
            told.extend(looked.news);
            (from, looks) = (looked.next, looks + 1);
        }
        assert_eq!(looks, 3);
        let even = (0..many).step_by(2).map(|lease| (lease, 2));
        assert!(told.into_iter().eq(even));
        assert_eq!(watched.leases.len() as u64, many.div_ceil(2));
    }
}
