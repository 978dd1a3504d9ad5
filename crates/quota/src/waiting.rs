//! Who waits in a region: for each class, how many by the second in which they arrived. It holds as much as
//! there are holders and buckets, however many wait.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::command::Bucket;
use crate::limits::MAX_CLASSES;
use crate::outcome::Admission;
use crate::turns::Turns;
use crate::wait::Departures;

/// More than any class can ever be served, so that a pass never overflows.
const MAX_PASS: u128 = 1 << 100;

/// Those who wait in a region.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By class, as far as any has been seen.
    pub lines: Vec<Line>,
    /// All of them.
    pub total: u64,
    /// From which seconds on holders' buckets are coarse, and of how many of them.
    exact: BTreeMap<u32, u32>,
}

/// Those of one class.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub seconds: BTreeMap<u32, u64>,
    pub total: u64,
    /// How much the class was served by weight; the least is served next.
    pub pass: u128,
    /// How many of the class were admitted lately.
    pub admitted: Departures,
    /// When those of which seconds are seated.
    pub turns: Turns,
}

impl Line {
    /// Puts `now` in the place of `before` users of a second.
    fn change(&mut self, second: u32, before: u32, now: u32) {
        let (before, now) = (u64::from(before), u64::from(now));
        let users = self.seconds.entry(second).or_insert(0);
        *users = *users - before + now;
        if *users == 0 {
            self.seconds.remove(&second);
        }
        self.total = self.total - before + now;
    }

    /// The second in which the oldest arrived.
    pub fn oldest(&self) -> Option<u32> {
        self.seconds.first_key_value().map(|(&second, _)| second)
    }
}

impl Waiting {
    /// Puts a holder's buckets in the place of those before, both by class and second. Only where they
    /// differ is anything touched.
    pub fn replace(&mut self, before: &[Bucket], now: &[Bucket]) {
        let awake = self.awake();
        let (mut old, mut new) = (before.iter().peekable(), now.iter().peekable());
        let key = |bucket: &Bucket| (bucket.class, bucket.second);
        loop {
            let (was, is) = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if key(a) == key(b) => (old.next(), new.next()),
                (Some(a), Some(b)) if key(b) < key(a) => (None, new.next()),
                (Some(_), _) => (old.next(), None),
                (None, Some(_)) => (None, new.next()),
            };
            let (was_users, is_users) = (was.map_or(0, |b| b.users), is.map_or(0, |b| b.users));
            if let Some(bucket) = was.or(is)
                && was_users != is_users
            {
                self.line(bucket.class)
                    .change(bucket.second, was_users, is_users);
                self.total = self.total - u64::from(was_users) + u64::from(is_users);
            }
        }
        self.wake(awake);
    }

    fn line(&mut self, class: u8) -> &mut Line {
        let at = usize::from(class);
        if self.lines.len() <= at {
            self.lines.resize_with(at + 1, Line::default);
        }
        &mut self.lines[at]
    }

    /// In which classes somebody waits.
    fn awake(&self) -> [bool; MAX_CLASSES] {
        let mut awake = [false; MAX_CLASSES];
        for (awake, line) in awake.iter_mut().zip(&self.lines) {
            *awake = line.total > 0;
        }
        awake
    }

    /// A class in which nobody waited takes its turn with the others: it has no claim to what was served
    /// while it had nobody.
    fn wake(&mut self, before: [bool; MAX_CLASSES]) {
        let woken = |(line, before): (&Line, bool)| line.total > 0 && !before;
        if !self.lines.iter().zip(before).any(woken) {
            return;
        }
        let others = self.lines.iter().zip(before);
        let least = others
            .filter(|(line, before)| *before && line.total > 0)
            .map(|(line, _)| line.pass)
            .min();
        for (line, before) in self.lines.iter_mut().zip(before) {
            if let Some(least) = least.filter(|_| line.total > 0 && !before) {
                line.pass = line.pass.max(least);
            }
        }
    }

    /// Counts users who were admitted.
    pub fn count(&mut self, now_s: u32, admitted: &[Admission]) {
        for admission in admitted {
            let line = self.line(admission.class);
            line.admitted.add(now_s, admission.users.into());
        }
    }

    /// Those who came before somebody of their class who was admitted.
    pub fn owed(&self) -> u64 {
        let owed = |line: &Line| match line.turns.reached() {
            Some(reached) => line.seconds.range(..reached).map(|(_, users)| users).sum(),
            None => 0,
        };
        self.lines.iter().map(owed).sum()
    }

    /// When the last of those that were admitted is seated.
    pub fn turns_ms(&self) -> u64 {
        self.lines
            .iter()
            .map(|line| line.turns.last_ms())
            .max()
            .unwrap_or(0)
    }

    /// Sets by class how much each was served; says whether it can be.
    pub fn set_served(&mut self, served: Vec<(u128, Departures, Turns)>, now_ms: u64) -> bool {
        let now_s = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
        let sound = |(pass, admitted, turns): &(u128, Departures, Turns)| {
            *pass <= MAX_PASS && admitted.is_sound(now_s) && turns.is_sound(now_ms)
        };
        if served.len() > MAX_CLASSES || !served.iter().all(sound) {
            return false;
        }
        if self.lines.len() < served.len() {
            self.lines.resize_with(served.len(), Line::default);
        }
        for (line, served) in self.lines.iter_mut().zip(served) {
            (line.pass, line.admitted, line.turns) = served;
        }
        true
    }

    /// Puts the second from which a holder's buckets are coarse in the place of the one before.
    pub fn set_exact(&mut self, before: Option<u32>, now: Option<u32>) {
        if before == now {
            return;
        }
        if let Some(second) = before
            && let Entry::Occupied(mut holders) = self.exact.entry(second)
        {
            *holders.get_mut() -= 1;
            if *holders.get() == 0 {
                holders.remove();
            }
        }
        if let Some(second) = now {
            *self.exact.entry(second).or_default() += 1;
        }
    }

    /// The second from which on it is not known of all holders who waits; none where nobody reports.
    pub fn horizon(&self) -> Option<u32> {
        self.exact.first_key_value().map(|(&second, _)| second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets() -> impl Strategy<Value = Vec<Bucket>> {
        prop::collection::btree_map((0u8..3, 0u32..12), 1u32..9, 0..12).prop_map(|buckets| {
            let bucket = |((class, second), users)| Bucket {
                class,
                second,
                users,
            };
            buckets.into_iter().map(bucket).collect()
        })
    }

    proptest! {
        #[test]
        fn replaced_buckets_are_those_that_are_there(reports in prop::collection::vec((0usize..3, buckets()), 1..20)) {
            let mut waiting = Waiting::default();
            let mut said: [Vec<Bucket>; 3] = Default::default();
            for (holder, now) in reports {
                waiting.replace(&said[holder], &now);
                said[holder] = now;
                let mut expected: BTreeMap<(u8, u32), u64> = BTreeMap::new();
                for b in said.iter().flatten() {
                    *expected.entry((b.class, b.second)).or_default() += u64::from(b.users);
                }
                let lines = (0u8..).zip(&waiting.lines);
                let is: BTreeMap<(u8, u32), u64> = lines
                    .flat_map(|(class, line)| line.seconds.iter().map(move |(&s, &n)| ((class, s), n)))
                    .collect();
                prop_assert_eq!(&is, &expected);
                prop_assert_eq!(waiting.total, expected.values().sum::<u64>());
                for (class, line) in (0u8..).zip(&waiting.lines) {
                    let of = expected.iter().filter(|((c, _), _)| *c == class);
                    prop_assert_eq!(line.total, of.map(|(_, n)| n).sum::<u64>());
                }
            }
        }
    }
}
