//! Whom a report may seat: nobody before another of the region who should go first.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use quota::limits::STALE_MS;
use quota::{Mode, Reported};

use super::fronts::*;

impl Fronts {
    /// Nobody is seated while another of the region has to go first and has no slot to come.
    pub(super) fn check_order(&self, at: usize, reported: &Reported) {
        if reported.mode != Mode::Open {
            return assert!(reported.mode == Mode::Frozen || reported.admit.is_empty());
        }
        let region = self
            .state
            .regions("ent")
            .into_iter()
            .find(|r| r.name == region_of(at))
            .unwrap();
        let pool = self.state.pool("ent").unwrap();
        // Beside a holder that makes no reports the region's figures do not tell what is left for the others.
        if region.name == REGIONS[0] && self.plain.until_ms > self.now_ms {
            return;
        }
        let room = pool.capacity.saturating_sub(pool.set_aside + pool.held);
        // What is still to come to the others: what is free, and what its front-ends have idle.
        let mine = (0..FRONTS).filter(|&front| region_of(front) == region_of(at));
        let idle: u64 = mine.map(|front| self.idle(front)).sum();
        let free = region.target.saturating_sub(region.held).min(room) + idle;
        let overdue = |second: u32| {
            self.opened_s(reported) + OVERTAKE_S <= self.now_s()
                && second + OVERTAKE_S <= self.now_s()
        };
        let others = (0..FRONTS).filter(|&other| other != at && region_of(other) == region_of(at));
        let mut passed = 0;
        for other in others {
            let other = &self.fronts[other];
            let speaks = other.lease.is_some_and(|lease| {
                self.state
                    .report_of(lease)
                    .is_some_and(|r| r.reported_ms + STALE_MS > self.now_ms)
            });
            if let Some((said, _)) = other.last.as_ref().filter(|_| speaks && !reported.open) {
                // Of those who came then or later it is not known yet whether there are others.
                let exact = said.exact_until_s;
                assert!(
                    reported.admit.iter().all(|a| a.until_s < exact),
                    "{reported:?} past {exact}"
                );
            }
            for (&(class, second), &users) in other.known.iter().filter(|_| speaks) {
                let jumped = |a: &quota::Admission| {
                    second < a.until_s && (a.class == class || overdue(second))
                };
                if reported.open || reported.admit.iter().any(jumped) {
                    passed += u64::from(users);
                }
            }
        }
        assert!(
            passed <= free,
            "{passed} were passed over, and {free} slots are left: {reported:?}"
        );
    }

    /// Slots of a front-end that neither a session nor an admitted user has, as far as the rules know.
    fn idle(&self, at: usize) -> u64 {
        let Some((report, reported)) = &self.fronts[at].last else {
            return 0;
        };
        let counted = self
            .state
            .lease(reported.grant.lease)
            .map_or(0, |lease| lease.slots);
        let admitted: u64 = reported.admit.iter().map(|a| u64::from(a.users)).sum();
        counted.saturating_sub(report.in_use + admitted)
    }

    fn opened_s(&self, reported: &Reported) -> u32 {
        reported.opened_s.unwrap_or(0)
    }
}

/// Of one class a front-end is told to seat its oldest.
pub fn check_oldest(queue: &BTreeMap<(u8, u32), u32>, admission: &quota::Admission) {
    let mine = queue
        .iter()
        .filter(|((class, _), _)| *class == admission.class);
    let (mut before, mut within) = (0, 0);
    for (&(_, second), &users) in mine {
        before += if second < admission.until_s { users } else { 0 };
        within += if second <= admission.until_s {
            users
        } else {
            0
        };
    }
    assert!(
        (before..=within).contains(&admission.users),
        "{admission:?} of {queue:?}"
    );
}

/// Takes those who are admitted out of a queue; says how many there were.
pub fn admit(queue: &mut BTreeMap<(u8, u32), u32>, admission: &quota::Admission) -> u64 {
    let mut left = admission.users;
    for ((class, second), users) in queue.iter_mut() {
        if *class == admission.class && *second <= admission.until_s {
            let seated = left.min(*users);
            *users -= seated;
            left -= seated;
        }
    }
    queue.retain(|_, users| *users > 0);
    u64::from(admission.users - left)
}
