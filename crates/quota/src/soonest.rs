//! What falls due first of things that are kept at places, and whose times are mostly put off before they come.
//!
//! Places next to each other share a *bound*: nothing of theirs is due before it. What is put off leaves the bound
//! as it is, so that a renewal costs nothing here; only once time has come to the bound are they looked at.

/// How many places share a bound.
const TOGETHER: u32 = 64;

/// Bounds of the times at which things fall due. When each does is known where it is kept.
#[derive(Debug, Default)]
pub(crate) struct Soonest {
    bounds: Vec<u64>,
    /// No bound is below this.
    lowest: u64,
}

impl Soonest {
    /// What is at this place falls due at a time, or later.
    pub fn add(&mut self, place: u32, at: u64) {
        let block = (place / TOGETHER) as usize;
        if self.bounds.len() <= block {
            self.bounds.resize(block + 1, u64::MAX);
        }
        self.bounds[block] = self.bounds[block].min(at);
        self.lowest = self.lowest.min(at);
    }

    /// The places of what is due by a time, first by when it was and then by place. `at` says when what is at a
    /// place falls due, if anything there does.
    pub fn due(&mut self, by: u64, at: impl Fn(u32) -> Option<u64>) -> Vec<u32> {
        if by < self.lowest {
            return Vec::new();
        }
        let mut due = Vec::new();
        self.lowest = u64::MAX;
        for (block, bound) in (0..).zip(&mut self.bounds) {
            if *bound <= by {
                *bound = u64::MAX;
                for (time, place) in times(block, &at) {
                    *bound = time.min(*bound);
                    if time <= by {
                        due.push((time, place));
                    }
                }
            }
            self.lowest = self.lowest.min(*bound);
        }
        due.sort_unstable();
        due.into_iter().map(|(_, place)| place).collect()
    }

    /// When the first falls due, where that is by a time.
    pub fn first(&self, by: u64, at: impl Fn(u32) -> Option<u64>) -> Option<u64> {
        if by < self.lowest {
            return None;
        }
        let blocks = (0..).zip(&self.bounds).filter(|(_, bound)| **bound <= by);
        let times = blocks.flat_map(|(block, _)| times(block, &at));
        times.map(|(time, _)| time).min().filter(|&time| time <= by)
    }
}

/// When what is at the places of a block falls due.
fn times(block: u32, at: impl Fn(u32) -> Option<u64>) -> impl Iterator<Item = (u64, u32)> {
    let places = block * TOGETHER..(block + 1) * TOGETHER;
    places.filter_map(move |place| Some((at(place)?, place)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Times are put off, come and go, the end of time among them.
        #[test]
        fn what_is_due_is_found_in_order(
            steps in prop::collection::vec((0u32..200, 0u64..50, any::<bool>()), 1..200),
        ) {
            let mut soonest = Soonest::default();
            let mut times = std::collections::BTreeMap::new();
            let mut now = 0;
            for (place, wait, passes) in steps {
                let time = if wait == 49 { u64::MAX } else { now + wait };
                match times.get_mut(&place) {
                    Some(before) => *before = time.max(*before),
                    None => {
                        times.insert(place, time);
                        soonest.add(place, time);
                    }
                }
                now += u64::from(passes);
                let at = |place: u32| times.get(&place).copied();
                let first = times.values().min().copied();
                prop_assert_eq!(soonest.first(u64::MAX, at), first);
                prop_assert_eq!(soonest.first(now, at), first.filter(|&time| time <= now));
                let mut expected: Vec<(u64, u32)> = times
                    .iter()
                    .filter(|(_, time)| **time <= now)
                    .map(|(&place, &time)| (time, place))
                    .collect();
                expected.sort_unstable();
                let due = soonest.due(now, at);
                prop_assert_eq!(&due, &expected.into_iter().map(|(_, place)| place).collect::<Vec<_>>());
                for place in due {
                    times.remove(&place);
                }
            }
            let at = |place: u32| times.get(&place).copied();
            prop_assert_eq!(soonest.due(u64::MAX, at).len(), times.len());
        }
    }
}
