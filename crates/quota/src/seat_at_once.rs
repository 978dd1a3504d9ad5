//! Who is seated by the answer to a report of the first kind: as soon as it comes, so that somebody can be
//! seated before one who came earlier and hears of it later. Logs have such reports, and no front-end sends
//! them any more.

use crate::command::Report;
use crate::order::{self, Terms};
use crate::outcome::Admission;
use crate::pool::{Pool, Region};
use crate::report::Seating;
use crate::rules::Mode;
use crate::state::State;

impl State {
    /// Seats as many as there are slots for. `before` is what the lease had.
    pub(crate) fn seat_at_once(
        &mut self,
        place: u32,
        report: &Report,
        before: u64,
    ) -> Option<Seating> {
        let lease = self.leases.get(place)?;
        let pool = self.pools[lease.pool as usize].as_ref()?;
        let region = pool.regions[lease.region as usize].as_ref()?;
        let mode = pool.gate.stricter(&region.gate).mode;
        let part = pool.parts(region).reporting;
        let idle = report.kept - report.in_use;
        let open = is_open(pool, region, part);
        let (free, in_turn) = match mode {
            // Nobody else is given what this holder has.
            Mode::Frozen => (before - report.in_use, false),
            // Its idle slots are there for whoever is next.
            Mode::Open => {
                let held = region.reporting_held - idle;
                let room = pool.usable().saturating_sub(pool.held - idle);
                let due = part.saturating_sub(held);
                // What the pool has not for all regions is no region's to keep for those of other holders who
                // come first: nobody may pass them, for another region may have it by then.
                (due.min(room), room < due)
            }
            Mode::Paused | Mode::Draining | Mode::Closed => (0, false),
        };
        let wanted = lease.wanted;

        let admit = if open {
            self.admit_all(place)
        } else if free > 0 && !report.waiting.is_empty() {
            self.admit_next_at_once(place, mode, free, in_turn)
        } else {
            Vec::new()
        };
        let users: u64 = admit.iter().map(|a| u64::from(a.users)).sum();
        Some(Seating {
            open,
            turns_ms: 0,
            admit,
            slots: if open { wanted } else { report.in_use + users },
        })
    }

    fn admit_next_at_once(
        &mut self,
        place: u32,
        mode: Mode,
        free: u64,
        in_turn: bool,
    ) -> Vec<Admission> {
        self.admit_with(place, |terms, waiting, buckets, rest| {
            let terms = Terms { in_turn, ..terms };
            if mode == Mode::Frozen {
                return order::admit_own(&mut waiting.lines, terms, free, buckets, rest);
            }
            let served = order::serve(&waiting.lines, terms, free);
            order::admit(&mut waiting.lines, terms, &served, buckets, rest)
        })
    }
}

/// Whether a region has all that it asks for, and room for what is still to be given. `part` is what its
/// reporting leases may have.
fn is_open(pool: &Pool, region: &Region, part: u64) -> bool {
    let outstanding = region.reporting_demand - region.reporting_held;
    region.seats && part >= region.reporting_demand && pool.free() >= outstanding
}
