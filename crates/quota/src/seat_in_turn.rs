//! Who is seated by a report's answer, and when.
//!
//! An open region's front-ends seat whoever comes. In an ordered one those who are next are admitted, oldest
//! second first; each second has a time at which those who came in it are seated, all over the region
//! ([`Turns`](crate::turns::Turns)), and a slot is kept for whoever came before somebody who was admitted.

use crate::command::Report;
use crate::door::Cover;
use crate::order::{self, Terms};
use crate::outcome::Admission;
use crate::pool::{Pool, Region};
use crate::report::Seating;
use crate::rules::Mode;
use crate::state::State;
use crate::waiting::Line;

/// Front-ends that report once a second know of all who came so long ago.
const LATE_S: u32 = 5;

impl State {
    /// Seats as many as there are slots for. `before` is what the lease had.
    pub(crate) fn seat_in_turn(
        &mut self,
        place: u32,
        report: &Report,
        before: u64,
    ) -> Option<Seating> {
        let now_ms = self.now_ms;
        let lease = self.leases.get(place)?;
        let at = lease.region as usize;
        let pool = self.pools[lease.pool as usize].as_ref()?;
        let region = pool.regions[at].as_ref()?;
        let mode = pool.gate.stricter(&region.gate).mode;
        let part = pool.parts(region).reporting;
        let settle = region.reporting > 1;
        let mut door = region.door;
        let turns_ms = region.waiting.turns_ms();
        let available = available(pool, region, part);
        let had = part.min(region.reporting_held + available);
        door.decide(cover(region, had, self.now_s()), now_ms, settle, turns_ms);
        let waiting = lease.reporting.as_ref()?.waiting();
        let idle = report.kept - report.in_use;
        let free = match mode {
            // Nobody else is given what this holder has.
            Mode::Frozen => before - report.in_use,
            Mode::Open => free(pool, region, part, idle),
            Mode::Paused | Mode::Draining | Mode::Closed => 0,
        };
        self.pool_of(place)?.regions[at].as_mut()?.door = door;

        // Whoever comes walks in, now or once the door turns, and who waits is seated by the front-end itself.
        let (admit, slots) = if door.open || door.is_open(now_ms) {
            let all = report.in_use + waiting + report.spare;
            let slots = all.min(report.kept + available);
            let admit = if !door.is_open(now_ms) {
                self.admit_owed(place, slots.saturating_sub(report.in_use))
            } else if slots >= all {
                self.admit_all(place)
            } else {
                Vec::new()
            };
            (admit, slots)
        } else if free > 0 && !report.waiting.is_empty() {
            let admit = self.admit_next(place, mode, free, settle);
            let users: u64 = admit.iter().map(|a| u64::from(a.users)).sum();
            (admit, report.in_use + users)
        } else {
            (Vec::new(), report.in_use)
        };
        Some(Seating {
            open: door.is_open(now_ms),
            turns_ms: door.turns_ms(now_ms),
            admit,
            slots,
        })
    }

    /// Admits those of a holder who are next in the region, where there are so many free slots.
    fn admit_next(&mut self, place: u32, mode: Mode, free: u64, settle: bool) -> Vec<Admission> {
        let now_ms = self.now_ms;
        self.admit_with(place, |terms, waiting, buckets, rest| {
            let terms = Terms {
                each_second: true,
                ..terms
            };
            if mode == Mode::Frozen || mutation::on("seat-own-first") {
                return order::admit_own(&mut waiting.lines, terms, free, buckets, rest);
            }
            let served = order::serve(&waiting.lines, terms, free);
            let mut admit = order::admit(&mut waiting.lines, terms, &served, buckets, rest);
            for admission in &mut admit {
                if let Some(line) = waiting.lines.get_mut(usize::from(admission.class)) {
                    reach(line, admission.until_s, now_ms, settle);
                    admission.at_ms = seated_ms(line, admission.until_s, now_ms);
                }
            }
            admit
        })
    }

    /// Admits those of a holder who came before somebody who was admitted, and nobody else.
    fn admit_owed(&mut self, place: u32, mut free: u64) -> Vec<Admission> {
        let now_ms = self.now_ms;
        self.admit_with(place, |_, waiting, buckets, rest| {
            let mut admit = Vec::new();
            for bucket in buckets {
                let users = u64::from(bucket.users);
                let line = waiting.lines.get(usize::from(bucket.class));
                let line = line.filter(|line| line.turns.reached() >= Some(bucket.second));
                match line.filter(|_| users <= free) {
                    Some(line) => {
                        free -= users;
                        admit.push(Admission {
                            class: bucket.class,
                            users: bucket.users,
                            until_s: bucket.second,
                            at_ms: seated_ms(line, bucket.second, now_ms),
                        });
                    }
                    None => rest.push(*bucket),
                }
            }
            admit
        })
    }
}

/// Puts it down when those of a class are seated who came up to this second.
fn reach(line: &mut Line, second: u32, now_ms: u64, settle: bool) {
    let from = match line.turns.reached() {
        Some(reached) if reached >= second => return,
        Some(reached) => reached + 1,
        None => 0,
    };
    let seconds = line.seconds.range(from..=second).map(|(&second, _)| second);
    line.turns.reach(seconds, now_ms, settle);
}

/// When those of a second are seated, 0 for at once.
fn seated_ms(line: &Line, second: u32, now_ms: u64) -> u64 {
    line.turns.at(second).filter(|&at| at > now_ms).unwrap_or(0)
}

/// Slots for whoever of an ordered region is next, the idle ones of the holder who asks among them. What is
/// owed is kept, also where the region's part is less by now.
fn free(pool: &Pool, region: &Region, part: u64, idle: u64) -> u64 {
    let ceiling = region.ceiling.unwrap_or(u64::MAX);
    let owed = region.owed.min(ceiling.saturating_sub(region.held - idle));
    let due = part.saturating_sub(region.reporting_held - idle).max(owed);
    let spoken_for = pool.held - idle + pool.owed - region.owed;
    due.min(pool.usable().saturating_sub(spoken_for))
}

/// Slots that an open region may still have.
fn available(pool: &Pool, region: &Region, part: u64) -> u64 {
    let due = part.saturating_sub(region.reporting_held);
    let spoken_for = pool.held + pool.owed - region.owed;
    due.min(pool.usable().saturating_sub(spoken_for))
}

/// How much there is of what a region asks for, where it can have so many slots.
fn cover(region: &Region, had: u64, now_s: u32) -> Cover {
    let demand = region.reporting_demand;
    let known_s = region.waiting.horizon().unwrap_or(now_s);
    if !region.seats {
        Cover::Short
    } else if had >= demand && known_s.saturating_add(LATE_S) < now_s {
        // Somebody who came earlier is still to be reported, and nobody should walk in before them.
        Cover::Enough
    } else if had >= demand {
        Cover::All
    } else if had + region.spare / 2 >= demand {
        Cover::Enough
    } else if had + region.spare >= demand {
        Cover::Tight
    } else {
        Cover::Short
    }
}
