//! Random commands, and what must hold after each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::model::*;
use common::reference::*;
use common::*;
use proptest::prelude::*;
use quota::{Batch, LeasePhase, State};

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn hold_after_every_command(steps in prop::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in &steps {
            run.take_step(step);
        }
    }

    #[test]
    fn replay_and_snapshots_lead_to_equal_bytes(
        steps in prop::collection::vec(step(), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take_step(step);
        }
        let bytes = run.state.snapshot();

        let mut replayed = State::default();
        let mut outcomes = Vec::new();
        for batch in &run.log {
            outcomes.push(replayed.apply(&Batch::decode(&batch.encode().unwrap()).unwrap()));
        }
        prop_assert_eq!(&replayed.snapshot(), &bytes);

        let cut = cut.index(run.log.len());
        let mut half = State::default();
        for batch in &run.log[..cut] {
            half.apply(batch);
        }
        let mut restored = State::restore(&half.snapshot()).unwrap();
        prop_assert_eq!(restored.snapshot(), half.snapshot());
        for (i, batch) in run.log.iter().enumerate().skip(cut) {
            prop_assert_eq!(&restored.apply(batch), &outcomes[i]);
            half.apply(batch);
            prop_assert_eq!(restored.next_event_ms(u64::MAX), half.next_event_ms(u64::MAX));
        }
        prop_assert_eq!(&restored.snapshot(), &bytes);
    }

    /// Once every holder has renewed and confirmed, each region has what the sharing rules say, and no slot
    /// idles that someone may have.
    #[test]
    fn settles_where_the_sharing_rules_say(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.take_step(step);
        }
        // Leases that are closing run out; the others renew as their holders would.
        for _ in 0..40 {
            run.take_step(&Step::Wait(700));
            for lease in run.state.leases("ent", None, None, None, usize::MAX) {
                if lease.phase == LeasePhase::Live {
                    run.seq += 1;
                    let kept = lease.slots.min(lease.target);
                    run.apply(renew(lease.lease, run.seq, kept, lease.wanted)).unwrap();
                }
            }
        }
        let pool = run.state.pool("ent").unwrap();
        let regions = run.state.regions("ent");
        let asked: Vec<Asked> = regions
            .iter()
            .map(|r| Asked {
                name: r.name.clone(), demand: r.wanted, nominal: r.nominal, ceiling: r.ceiling, weight: r.weight,
            })
            .collect();
        let held: Vec<u64> = regions.iter().map(|r| r.held).collect();
        prop_assert_eq!(&held, &slow_share(pool.capacity, &asked));
        let possible: u64 = asked.iter().map(Asked::limit).sum();
        prop_assert_eq!(pool.held, pool.capacity.min(possible), "a slot idles");

        // Among the holders of a region no one has less than it wants and more than a slot less than another.
        let leases = run.state.leases("ent", None, None, None, usize::MAX);
        for lease in &leases {
            prop_assert_eq!(lease.slots, lease.target);
            prop_assert!(lease.slots <= lease.wanted);
            let others = leases.iter().filter(|other| other.region == lease.region);
            let most = others.map(|other| other.slots).max().unwrap();
            prop_assert!(lease.slots == lease.wanted || most <= lease.slots + 1);
        }
    }
}
