//! Demands in order, with their sums: how an amount falls out over them.
//!
//! The demands lie in order in chunks, and a tree over the chunks (Fenwick, "A new data structure for cumulative
//! frequency tables", 1994) tells how many lie before each and what they come to. A demand takes hardly more than
//! its eight bytes, and to find or change one touches a few lines of memory. How they are cut into chunks depends on
//! their history, and nothing that is answered does.

use std::ops::Add;

use crate::lease::PLACE_BITS;
use crate::limits::MAX_SLOTS;

/// A demand, then the place of its lease.
type Key = u64;
const _: () = assert!(MAX_SLOTS < 1 << (u64::BITS - PLACE_BITS));

/// Most keys of a chunk. A few where this is tested, so that there are many chunks.
const CHUNK: usize = if cfg!(test) { 8 } else { 128 };

/// Demands of any number of leases, each once.
#[derive(Debug, Default)]
pub(crate) struct Ranked {
    chunks: Vec<Chunk>,
    /// For each chunk: no key there is lower, and all before are.
    froms: Vec<Key>,
    /// What the chunks from `i & (i + 1)` up to `i` come to.
    sums: Vec<Sum>,
    /// What all come to.
    total: Sum,
}

#[derive(Debug, Default)]
struct Chunk {
    keys: Vec<Key>,
    /// What the keys' demands add up to.
    demand: u64,
}

/// How many demands there are, and what they add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    demand: u64,
}

/// How an amount falls out over the demands, max-min: `min(demand, level)` each, and one more for the `extra` last
/// ones by demand, then place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub level: u64,
    pub extra: u64,
}

fn key(place: u32, demand: u64) -> Key {
    debug_assert!(demand <= MAX_SLOTS && place < 1 << PLACE_BITS);
    demand << PLACE_BITS | u64::from(place)
}

fn demand(key: Key) -> u64 {
    key >> PLACE_BITS
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            demand: self.demand + other.demand,
        }
    }
}

impl Ranked {
    /// Adds the demand of a lease that has none here.
    pub fn insert(&mut self, place: u32, demand: u64) {
        let key = key(place, demand);
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
            self.froms.push(0);
            self.sums.push(Sum::default());
        }
        let mut at = self.chunk_of(key);
        if self.chunks[at].keys.len() == CHUNK {
            self.split(at);
            at = self.chunk_of(key);
        }
        let chunk = &mut self.chunks[at];
        let i = chunk.keys.partition_point(|&other| other < key);
        chunk.keys.insert(i, key);
        chunk.demand += demand;
        self.change(at, |sum| {
            sum.count += 1;
            sum.demand += demand;
        });
    }

    /// Takes out the demand of a lease, which must be there.
    pub fn remove(&mut self, place: u32, demand: u64) {
        let key = key(place, demand);
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at);
        let found = chunk.and_then(|chunk| Some((chunk.keys.binary_search(&key).ok()?, chunk)));
        let Some((i, chunk)) = found else {
            debug_assert!(false, "removed a demand that is not there");
            return;
        };
        chunk.keys.remove(i);
        chunk.demand -= demand;
        let small = chunk.keys.len() < CHUNK / 4;
        self.change(at, |sum| {
            sum.count -= 1;
            sum.demand -= demand;
        });
        if small {
            self.merge(at);
        }
    }

    /// Sum of all demands.
    pub fn sum(&self) -> u64 {
        self.total.demand
    }

    /// How `amount` falls out, or `None` where it covers every demand.
    pub fn level(&self, amount: u64) -> Option<Level> {
        if self.total.demand <= amount {
            return None;
        }
        // At a level of `demand` those `below` have theirs, and the others as much as it.
        let covers = |below: Sum, demand: u64| {
            below.demand + demand * (self.total.count - below.count) <= amount
        };
        // The last chunk before which all have theirs, where it begins.
        let (mut at, mut below) = (0, Sum::default());
        let mut step = self.froms.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(&from) = self.froms.get(at + step) {
                let before = below + self.sums[at + step - 1];
                if covers(before, demand(from)) {
                    (at, below) = (at + step, before);
                }
            }
            step /= 2;
        }
        for &key in &self.chunks[at].keys {
            if !covers(below, demand(key)) {
                break;
            }
            below.count += 1;
            below.demand += demand(key);
        }
        // The sum is over the amount, so at least one is not covered.
        let rest = (self.total.count - below.count).max(1);
        Some(Level {
            level: (amount - below.demand) / rest,
            extra: (amount - below.demand) % rest,
        })
    }

    /// What falls to one lease when `amount` falls out over all.
    pub fn part(&self, place: u32, demand: u64, amount: u64) -> u64 {
        match self.level(amount) {
            None => demand,
            Some(Level { level, .. }) if demand <= level => demand,
            Some(Level { level, extra: 0 }) => level,
            Some(Level { level, extra }) => {
                level + u64::from(self.after(key(place, demand)) < extra)
            }
        }
    }

    /// How many come after `key`.
    fn after(&self, key: Key) -> u64 {
        let at = self.chunk_of(key);
        let keys = self.chunks.get(at).map_or(&[][..], |chunk| &chunk.keys);
        let up_to = keys.partition_point(|&other| other <= key);
        self.total.count - self.before(at).count - up_to as u64
    }

    /// The chunk that a key is in, or belongs in.
    fn chunk_of(&self, key: Key) -> usize {
        let up_to = self.froms.partition_point(|&from| from <= key);
        up_to.saturating_sub(1)
    }

    /// What the chunks before one come to.
    fn before(&self, at: usize) -> Sum {
        let (mut sum, mut i) = (Sum::default(), at);
        while i > 0 {
            sum = sum + self.sums[i - 1];
            i &= i - 1;
        }
        sum
    }

    /// Changes what a chunk comes to.
    fn change(&mut self, at: usize, change: impl Fn(&mut Sum)) {
        change(&mut self.total);
        let mut i = at;
        while let Some(sum) = self.sums.get_mut(i) {
            change(sum);
            i |= i + 1;
        }
    }

    /// Cuts a chunk in two.
    fn split(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        let keys = chunk.keys.split_off(CHUNK / 2);
        chunk.keys.shrink_to_fit();
        self.froms.insert(at + 1, keys[0]);
        let half = Chunk {
            demand: keys.iter().map(|&key| demand(key)).sum(),
            keys,
        };
        chunk.demand -= half.demand;
        self.chunks.insert(at + 1, half);
        self.sum_up(at);
    }

    /// Puts a small chunk and one beside it together, where they leave room for more.
    fn merge(&mut self, at: usize) {
        if self.total.count == 0 {
            *self = Self::default();
            return;
        }
        let at = at.saturating_sub(1);
        if let [a, b, ..] = &mut self.chunks[at..]
            && a.keys.len() + b.keys.len() <= CHUNK / 4 * 3
        {
            a.keys.append(&mut b.keys);
            a.demand += b.demand;
            self.chunks.remove(at + 1);
            self.froms.remove(at + 1);
            self.sum_up(at);
        }
    }

    /// Adds up what the chunks from one on come to: the later it is, the less there is to do.
    fn sum_up(&mut self, from: usize) {
        self.sums.truncate(from);
        for i in from..self.chunks.len() {
            let chunk = &self.chunks[i];
            let mut sum = Sum {
                count: chunk.keys.len() as u64,
                demand: chunk.demand,
            };
            let mut before = i;
            while before > i & (i + 1) {
                sum = sum + self.sums[before - 1];
                before &= before - 1;
            }
            self.sums.push(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obvious way: hand out one unit at a time to whoever has least, the last by demand and place first.
    fn slow(demands: &[(u64, u32)], amount: u64) -> Vec<(u32, u64)> {
        let mut sorted = demands.to_vec();
        sorted.sort_unstable();
        let mut given: Vec<u64> = vec![0; sorted.len()];
        for _ in 0..amount {
            let open = (0..sorted.len()).rev().filter(|&i| given[i] < sorted[i].0);
            match open.min_by_key(|&i| given[i]) {
                Some(i) => given[i] += 1,
                None => break,
            }
        }
        sorted
            .iter()
            .zip(given)
            .map(|(&(_, place), g)| (place, g))
            .collect()
    }

    proptest! {
        #[test]
        fn parts_are_those_of_the_slow_way(
            steps in prop::collection::vec((0u32..60, 0u64..30, prop::bool::weighted(0.6)), 1..240),
            amount in 0u64..400,
        ) {
            let mut ranked = Ranked::default();
            let mut there = std::collections::BTreeMap::new();
            for (place, demand, add) in steps {
                if let Some(old) = there.remove(&place) {
                    ranked.remove(place, old);
                }
                if add {
                    there.insert(place, demand);
                    ranked.insert(place, demand);
                }
            }
            let demands: Vec<(u64, u32)> = there.iter().map(|(&p, &d)| (d, p)).collect();
            prop_assert_eq!(ranked.sum(), demands.iter().map(|d| d.0).sum::<u64>());
            for (place, part) in slow(&demands, amount) {
                prop_assert_eq!(ranked.part(place, there[&place], amount), part);
            }
        }
    }

    #[test]
    fn takes_as_many_chunks_as_there_are_demands_for_whatever_the_order() {
        let mut ranked = Ranked::default();
        for place in 0..5_000 {
            ranked.insert(place, u64::from(place) % 100);
        }
        assert!(ranked.chunks.len() <= 5_000 / CHUNK * 2);
        for place in (0..5_000).filter(|place| place % 10 > 0) {
            ranked.remove(place, u64::from(place) % 100);
        }
        assert!(ranked.chunks.len() <= 500 / CHUNK * 8);
        assert_eq!(ranked.total.count, 500);
        for place in (0..5_000).step_by(10) {
            ranked.remove(place, u64::from(place) % 100);
        }
        assert!(ranked.chunks.is_empty());
    }
}
