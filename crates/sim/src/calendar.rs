//! What happens next: a calendar queue (Brown, 1988) of one bucket a second.
//!
//! Events of later seconds are only appended to their bucket; a bucket is put in order when its second
//! comes. A heap takes those few that are made during the very second they belong to. So an event costs
//! the same however many are pending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::users::Ms;

/// What an event is about. At one millisecond, the order is that of this list: room is made before anyone
/// comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user's session ends.
    End = 0,
    /// Something goes wrong, or right again.
    Fault = 1,
    /// A user gives up.
    GiveUp = 2,
    /// A user comes.
    Arrive = 3,
    /// A user tries again.
    Retry = 4,
    /// The policy's own.
    Tick = 5,
    /// It shows that a user who gave up has gone.
    Silent = 6,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Ms,
    /// What.
    pub kind: Kind,
    /// Whose: a user's id, or what the policy makes of it.
    pub of: u32,
}

/// Bits of an event inside of its bucket: milliseconds, kind, whose.
const KIND_SHIFT: u32 = 32;
const MS_SHIFT: u32 = 36;

/// Pending events.
#[derive(Debug)]
pub struct Calendar {
    buckets: Vec<Vec<u64>>,
    /// The second that is played, what was in its bucket, and how far that has been read.
    second: usize,
    current: Vec<u64>,
    next: usize,
    /// Made during that second.
    late: BinaryHeap<Reverse<u64>>,
}

impl Calendar {
    /// An empty calendar up to `ends`; what is put later than that never happens.
    pub fn new(ends: Ms) -> Self {
        Self {
            buckets: vec![Vec::new(); ends as usize / 1_000 + 1],
            second: 0,
            current: Vec::new(),
            next: 0,
            late: BinaryHeap::new(),
        }
    }

    /// Puts an event, which is not before the one that was taken last.
    pub fn put(&mut self, at: Ms, kind: Kind, of: u32) {
        let (second, ms) = (at as usize / 1_000, at % 1_000);
        let packed = u64::from(ms) << MS_SHIFT | (kind as u64) << KIND_SHIFT | u64::from(of);
        if second <= self.second {
            self.late.push(Reverse(packed));
        } else if let Some(bucket) = self.buckets.get_mut(second) {
            bucket.push(packed);
        }
    }

    /// The next event of the second that is played.
    pub fn take(&mut self) -> Option<Event> {
        let ordered = self.current.get(self.next).copied();
        let late = self.late.peek().map(|&Reverse(packed)| packed);
        let packed = match (ordered, late) {
            (Some(ordered), Some(late)) if late < ordered => self.late.pop()?.0,
            (Some(ordered), _) => {
                self.next += 1;
                ordered
            }
            (None, _) => self.late.pop()?.0,
        };
        Some(Event {
            at: self.second as u32 * 1_000 + (packed >> MS_SHIFT) as u32,
            kind: match packed >> KIND_SHIFT & 0xf {
                0 => Kind::End,
                1 => Kind::Fault,
                2 => Kind::GiveUp,
                3 => Kind::Arrive,
                4 => Kind::Retry,
                5 => Kind::Tick,
                _ => Kind::Silent,
            },
            of: packed as u32,
        })
    }

    /// Goes on to a second; all events before it have been taken.
    pub fn turn_to(&mut self, second: usize) {
        self.second = second;
        self.next = 0;
        self.current = self
            .buckets
            .get_mut(second)
            .map(std::mem::take)
            .unwrap_or_default();
        self.current.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_then_kind_then_whose() {
        let mut calendar = Calendar::new(3_000);
        calendar.put(1_500, Kind::Arrive, 9);
        calendar.put(1_500, Kind::Arrive, 2);
        calendar.put(1_500, Kind::End, 7);
        calendar.put(1_002, Kind::Tick, 1);
        calendar.put(9_000, Kind::Tick, 1);
        calendar.turn_to(0);
        assert_eq!(calendar.take(), None);
        calendar.turn_to(1);
        let mut seen = Vec::new();
        while let Some(event) = calendar.take() {
            if seen.is_empty() {
                calendar.put(1_400, Kind::Retry, 5);
                calendar.put(1_500, Kind::Arrive, 3);
                calendar.put(2_000, Kind::End, 4);
            }
            seen.push((event.at, event.of));
        }
        assert_eq!(
            seen,
            [
                (1_002, 1),
                (1_400, 5),
                (1_500, 7),
                (1_500, 2),
                (1_500, 3),
                (1_500, 9)
            ]
        );
        calendar.turn_to(2);
        assert_eq!(
            calendar.take(),
            Some(Event {
                at: 2_000,
                kind: Kind::End,
                of: 4
            })
        );
        assert_eq!(calendar.take(), None);
    }
}
