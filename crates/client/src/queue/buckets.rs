//! Who waits, in a bounded number of buckets however many they are.

use super::slab::Line;
use quota::Bucket;
use quota::limits::MAX_BUCKETS;

/// Most of them that stand for one second alone; the others are enough for two of each class.
const MAX_EXACT: usize = 96;
/// Buckets of a class from there on: 1, 2, 4 seconds wide and so on, and the last one for all the rest.
const COARSE: usize = 8;

/// The buckets in order of class and second, and the second before which each is one second alone: not
/// later than the one after `now`, for in those yet to come others may still arrive.
pub fn buckets(lines: &[Line<0>], now: u32) -> (Vec<Bucket>, u32) {
    let mut exact: Vec<Vec<Bucket>> = vec![Vec::new(); lines.len()];
    let mut left: Vec<u64> = lines.iter().map(Line::len).collect();
    let mut heads: Vec<_> = lines.iter().map(|line| line.seconds().peekable()).collect();
    let (mut used, mut until) = (0, now + 1);
    loop {
        let next = heads
            .iter_mut()
            .filter_map(|head| head.peek().map(|&(second, _)| second))
            .min();
        let Some(second) = next.filter(|&second| second <= now) else {
            break;
        };
        let mut classes = 0;
        for head in &mut heads {
            classes += usize::from(head.peek().is_some_and(|&(s, _)| s == second));
        }
        if used + classes > MAX_EXACT {
            until = second;
            break;
        }
        for (class, head) in heads.iter_mut().enumerate() {
            if let Some((second, users)) = head.next_if(|&(s, _)| s == second) {
                exact[class].push(Bucket {
                    class: class as u8,
                    second,
                    users,
                });
                left[class] -= u64::from(users);
                used += 1;
            }
        }
    }
    let classes = left.iter().filter(|&&users| users > 0).count().max(1);
    let each = ((MAX_BUCKETS - used) / classes).min(COARSE);
    for (class, line) in lines.iter().enumerate() {
        if left[class] > 0 {
            coarse(
                line,
                class as u8,
                until,
                left[class],
                each,
                &mut exact[class],
            );
        }
    }
    (exact.concat(), until)
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
