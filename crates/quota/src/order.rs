//! The order of service: who of a region is seated next.
//!
//! First whoever has waited too long, oldest first and whatever their class; then the classes that go first;
//! then the others by weight, as stride scheduling has it (Waldspurger and Weihl, 1995): each class keeps a
//! *pass* that grows by `STRIDE / weight` for each user served, and the class with the least pass is served
//! next. Inside a class always the oldest.
//!
//! A holder that reports is told to seat its part of those who are next in the region. *In turn* it seats
//! nobody while another holder has anyone of the class who came in an earlier second.

use crate::command::Bucket;
use crate::limits::MAX_CLASSES;
use crate::outcome::Admission;
use crate::rules::{Class, Rules};
use crate::waiting::Line;

/// What a user of a class with weight 1 adds to its pass: so much that rounding it by the highest weight is
/// nothing, however many are served.
const STRIDE: u128 = 1 << 48;

/// So many users are served one by one, which is quicker than to look for where they end.
const FEW: u64 = 16;
const _: () = assert!(FEW >= MAX_CLASSES as u64);

/// How many users of each class are served.
pub(crate) type Served = [u64; MAX_CLASSES];

/// What the order of service goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub rules: &'a Rules,
    /// Nobody is served who arrived in this second or later.
    pub horizon: u32,
    /// Whoever arrived in this second or before has waited too long.
    pub overdue_s: Option<u32>,
    /// Whether nobody is admitted while another holder has anyone of the class before them, who is admitted
    /// with that holder's next report.
    pub in_turn: bool,
    /// Whether each second has an admission of its own.
    pub each_second: bool,
}

impl Terms<'_> {
    fn class(&self, at: usize) -> Option<&Class> {
        self.rules.classes.get(at)
    }

    fn is_first(&self, at: usize) -> bool {
        self.class(at).is_some_and(|class| class.first)
    }

    fn stride(&self, at: usize) -> u128 {
        let weight = self.class(at).map_or(1, |class| class.weight);
        STRIDE / u128::from(weight.max(1))
    }

    /// Whether a user who arrived in this second is served by weight.
    fn by_weight(&self, at: usize, second: u32) -> bool {
        !self.is_first(at) && self.overdue_s.is_none_or(|overdue| second > overdue)
    }
}

/// Who would be served with `free` slots: so many of each class, its oldest.
pub(crate) fn serve(lines: &[Line], terms: Terms<'_>, free: u64) -> Served {
    let mut served = [0; MAX_CLASSES];
    let mut left = free;
    owed(lines, terms, &mut left, &mut served);
    overdue(lines, terms, &mut left, &mut served);
    // How many of each class come next: those that are known and not served yet.
    let mut next = [0; MAX_CLASSES];
    for (at, line) in lines.iter().enumerate().take(MAX_CLASSES) {
        next[at] = waiting(line, terms.horizon, served[at].saturating_add(left)) - served[at];
    }
    for at in 0..MAX_CLASSES {
        if terms.is_first(at) {
            let users = next[at].min(left);
            served[at] += users;
            left -= users;
            next[at] = 0;
        }
    }
    by_weight(lines, terms, left, &next, &mut served);
    served
}

/// How many of a line arrived before the horizon, counted no further than `most`.
fn waiting(line: &Line, horizon: u32, most: u64) -> u64 {
    if line.oldest().is_none_or(|second| second >= horizon) {
        return 0;
    }
    let mut sum = 0;
    for (_, users) in line.seconds.range(..horizon) {
        sum += users;
        if sum >= most {
            return most;
        }
    }
    sum
}

/// Whoever came before somebody who was admitted: that they go first has been settled.
fn owed(lines: &[Line], terms: Terms<'_>, left: &mut u64, served: &mut Served) {
    for (at, line) in lines.iter().enumerate().take(MAX_CLASSES) {
        if let Some(reached) = line.turns.reached() {
            served[at] = waiting(line, terms.horizon.min(reached), *left);
            *left -= served[at];
        }
    }
}

/// Whoever has waited too long, oldest first over all classes, ties by class.
fn overdue(lines: &[Line], terms: Terms<'_>, left: &mut u64, served: &mut Served) {
    let Some(overdue_s) = terms.overdue_s else {
        return;
    };
    let last = match terms.horizon.checked_sub(1) {
        Some(last) => last.min(overdue_s),
        None => return,
    };
    let mut queues: Vec<_> = lines
        .iter()
        .enumerate()
        .take(MAX_CLASSES)
        .filter(|(_, line)| line.oldest().is_some_and(|second| second <= last))
        .map(|(at, line)| (at, line.seconds.range(..=last).peekable()))
        .collect();
    // Not those who have been served.
    let mut skip = *served;
    while *left > 0 {
        let heads = queues.iter_mut().enumerate();
        let oldest = heads
            .filter_map(|(i, (_, queue))| queue.peek().map(|(second, _)| (**second, i)))
            .min();
        let Some((_, i)) = oldest else { return };
        let (at, queue) = &mut queues[i];
        if let Some((_, &users)) = queue.next() {
            let skipped = skip[*at].min(users);
            skip[*at] -= skipped;
            let users = (users - skipped).min(*left);
            served[*at] += users;
            *left -= users;
        }
    }
}

/// The first `left` users that stride scheduling would serve, with `next` to be had of each class.
fn by_weight(lines: &[Line], terms: Terms<'_>, left: u64, next: &Served, served: &mut Served) {
    let classes: Vec<(usize, u128, u128)> = (0..lines.len().min(MAX_CLASSES))
        .filter(|&at| next[at] > 0)
        .map(|at| (at, lines[at].pass, terms.stride(at)))
        .collect();
    let all: u64 = next.iter().fold(0, |sum, &users| sum.saturating_add(users));
    if all <= left || classes.len() == 1 {
        for (at, ..) in classes {
            served[at] += next[at].min(left);
        }
        return;
    }
    // The k-th user of a class has the key `pass + k x stride`, from 0: the `left` lowest keys are served.
    let below = |level: u128, at: usize, pass: u128, stride: u128| {
        let users = level.saturating_sub(pass).div_ceil(stride);
        u64::try_from(users).unwrap_or(u64::MAX).min(next[at])
    };
    let count = |level: u128| {
        let below = classes
            .iter()
            .map(|&(at, pass, stride)| below(level, at, pass, stride));
        below.fold(0, u64::saturating_add)
    };
    let keys = classes
        .iter()
        .map(|&(at, pass, stride)| (pass, pass + u128::from(next[at].min(left)) * stride));
    let (mut low, mut high) = keys.fold((u128::MAX, 0), |(low, high), (first, last)| {
        (low.min(first), high.max(last))
    });
    // A level with at most `left` keys below it, and nearly so many: at `low` there is none, and at `high` as many
    // as can be served and more than `left`, or exactly `left`.
    while high - low > 1 && left - count(low) > FEW {
        let middle = low + (high - low) / 2;
        if count(middle) <= left {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut taken: Served = [0; MAX_CLASSES];
    for &(at, pass, stride) in &classes {
        taken[at] = below(low, at, pass, stride);
    }
    // The others one by one: the lowest key, and of equal ones the first class's.
    for _ in 0..left - taken.iter().sum::<u64>() {
        let key = |&(at, pass, stride): &(usize, u128, u128)| {
            (taken[at] < next[at]).then(|| (pass + u128::from(taken[at]) * stride, at))
        };
        if let Some((_, at)) = classes.iter().filter_map(key).min() {
            taken[at] += 1;
        }
    }
    for (served, taken) in served.iter_mut().zip(taken) {
        *served += taken;
    }
}

/// Of those that are served, the ones of one holder: whom to admit of its buckets, which are by class and
/// second. What is left of the buckets goes to `rest`, and how many were served by weight to each class's
/// pass.
pub(crate) fn admit(
    lines: &mut [Line],
    terms: Terms<'_>,
    served: &Served,
    buckets: &[Bucket],
    rest: &mut Vec<Bucket>,
) -> Vec<Admission> {
    let mut admitted: Vec<Admission> = Vec::new();
    rest.clear();
    let mut at = 0;
    while at < buckets.len() {
        let class = usize::from(buckets[at].class);
        let count = buckets[at..]
            .iter()
            .take_while(|b| usize::from(b.class) == class)
            .count();
        let mine = &buckets[at..at + count];
        at += count;
        let (Some(line), Some(&most)) = (lines.get_mut(class), served.get(class)) else {
            rest.extend_from_slice(mine);
            continue;
        };
        let (mut charged, mut earlier, mut own) = (0_u64, 0_u64, 0_u64);
        let mut seconds = line.seconds.iter().peekable();
        for (i, bucket) in mine.iter().enumerate() {
            if earlier >= most {
                rest.extend_from_slice(&mine[i..]);
                break;
            }
            // How many of the region's line come before this bucket's second.
            while let Some((_, users)) = seconds.next_if(|(second, _)| **second < bucket.second) {
                earlier = earlier.saturating_add(*users);
            }
            if terms.in_turn && earlier > own {
                rest.extend_from_slice(&mine[i..]);
                break;
            }
            own += u64::from(bucket.users);
            let before = admitted
                .last()
                .filter(|last| last.class == bucket.class && !terms.each_second);
            let room = u32::MAX - before.map_or(0, |last| last.users);
            let left = most.saturating_sub(earlier);
            let users = u32::try_from(left)
                .unwrap_or(u32::MAX)
                .min(room)
                .min(bucket.users);
            if users > 0 {
                add(&mut admitted, bucket, users, terms.each_second);
                if terms.by_weight(class, bucket.second) {
                    charged += u64::from(users);
                }
            }
            if users < bucket.users {
                rest.push(Bucket {
                    users: bucket.users - users,
                    ..*bucket
                });
            }
        }
        line.pass += u128::from(charged) * terms.stride(class);
    }
    admitted
}

/// Of a holder's users, the ones that would be served if there were no others: whom to admit of its buckets,
/// as in [`admit`].
pub(crate) fn admit_own(
    lines: &mut [Line],
    terms: Terms<'_>,
    free: u64,
    buckets: &[Bucket],
    rest: &mut Vec<Bucket>,
) -> Vec<Admission> {
    let mut own = lines_of(buckets, lines);
    let served = serve(&own, terms, free);
    let admitted = admit(&mut own, terms, &served, buckets, rest);
    for (line, own) in lines.iter_mut().zip(own) {
        line.pass = own.pass;
    }
    admitted
}

/// A holder's users as lines of their own, which go on from the region's.
fn lines_of(buckets: &[Bucket], lines: &[Line]) -> Vec<Line> {
    let mut own: Vec<Line> = lines
        .iter()
        .map(|line| Line {
            pass: line.pass,
            ..Line::default()
        })
        .collect();
    for bucket in buckets {
        if let Some(line) = own.get_mut(usize::from(bucket.class)) {
            line.seconds.insert(bucket.second, bucket.users.into());
            line.total += u64::from(bucket.users);
        }
    }
    own
}

/// All of a holder's users, none of whom goes before another's.
pub(crate) fn admit_all(buckets: &[Bucket], until_s: u32) -> Vec<Admission> {
    let mut admitted: Vec<Admission> = Vec::new();
    for bucket in buckets {
        add(&mut admitted, bucket, bucket.users, false);
    }
    for admission in &mut admitted {
        admission.until_s = admission.until_s.max(until_s);
    }
    admitted
}

/// Adds users of a bucket to the admission of their class, which is the last one, or to one of their own.
fn add(admitted: &mut Vec<Admission>, bucket: &Bucket, users: u32, each_second: bool) {
    match admitted
        .last_mut()
        .filter(|last| last.class == bucket.class && !each_second)
    {
        Some(last) => {
            last.users = last.users.saturating_add(users);
            last.until_s = bucket.second;
        }
        None => admitted.push(Admission {
            class: bucket.class,
            users,
            until_s: bucket.second,
            at_ms: 0,
        }),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
