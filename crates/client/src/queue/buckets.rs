//! Who waits, in a bounded number of buckets however many they are.

use super::slab::Line;
use quota::Bucket;
use quota::limits::MAX_BUCKETS;

/// Most of them that stand for one second alone; the others are enough for two of each class.
const MAX_EXACT: usize = 96;
/// Buckets of a class from there on: 1, 2, 4 seconds wide and so on, and the last one for all the rest.
const COARSE: usize = 8;

/// The buckets in order of class and second, and the second from which on others may still arrive. Each
/// class has its oldest seconds one by one, since classes are not served alike: where those of one have
/// waited for minutes, the next of another may have come just now.
///
/// A bucket of several seconds counts as its first one, and an admission from it ends with that second. So
/// nobody passes anybody; what is admitted in vain is given back with the next report.
pub fn buckets(lines: &[Line<0>], now: u32) -> (Vec<Bucket>, u32) {
    let until = now + 1;
    let seconds = |line: &Line<0>| {
        let known = line.seconds().take_while(|&(second, _)| second <= now);
        known.take(MAX_EXACT).count()
    };
    let exact = level(&lines.iter().map(seconds).collect::<Vec<_>>());
    let used: usize = exact.iter().sum();
    let mut left: Vec<u64> = lines.iter().map(Line::len).collect();
    for ((line, &exact), left) in lines.iter().zip(&exact).zip(&mut left) {
        let reported = line
            .seconds()
            .take(exact)
            .map(|(_, users)| u64::from(users));
        *left -= reported.sum::<u64>();
    }
    let classes = left.iter().filter(|&&users| users > 0).count().max(1);
    let each = ((MAX_BUCKETS - used) / classes).min(COARSE);
    let mut out = Vec::with_capacity(MAX_BUCKETS);
    for (class, (line, exact)) in (0..).zip(lines.iter().zip(exact)) {
        let mut seconds = line.seconds();
        out.extend(seconds.by_ref().take(exact).map(|(second, users)| Bucket {
            class,
            second,
            users,
        }));
        if let Some((from, _)) = seconds.next() {
            let left = left[usize::from(class)];
            coarse(line, class, from, left, each, &mut out);
        }
    }
    (out, until)
}

/// So many of each class's seconds, [`MAX_EXACT`] in all: each has what it wants, up to a level that is the
/// same for all.
fn level(wanted: &[usize]) -> Vec<usize> {
    let all = |level: usize| wanted.iter().map(|&n| n.min(level)).sum::<usize>();
    let level = (0..=MAX_EXACT).rev().find(|&level| all(level) <= MAX_EXACT);
    let level = level.unwrap_or(0);
    wanted.iter().map(|&n| n.min(level)).collect()
}

/// At most `most` buckets for the `left` users from second `from` on.
fn coarse(line: &Line<0>, class: u8, from: u32, mut left: u64, most: usize, out: &mut Vec<Bucket>) {
    let (mut start, mut width) = (from, 1);
    for at in 1..=most {
        let last = at == most;
        let end = start.saturating_add(width);
        let mut found = line.range(start..).take_while(|&(s, _)| last || s < end);
        if let Some((second, users)) = found.next() {
            let users = if last {
                left
            } else {
                found.map(|(_, users)| u64::from(users)).sum::<u64>() + u64::from(users)
            };
            left -= users;
            let users = u32::try_from(users).unwrap_or(u32::MAX);
            out.push(Bucket {
                class,
                second,
                users,
            });
        }
        if left == 0 {
            break;
        }
        (start, width) = (end, width * 2);
    }
}
