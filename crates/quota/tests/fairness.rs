//! Front-ends report at random, with answers lost, holders restarted and budgets changed; and what must hold
//! of who is seated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::cases;
use common::fronts::*;
use proptest::prelude::*;
use quota::{Batch, Mode, State};

proptest! {
    #![proptest_config(cases(400))]

    /// Never over budget, floors included; and nobody is seated whom another of the region should go before,
    /// unless that one has a slot to come.
    #[test]
    fn order_and_budget_hold(events in prop::collection::vec(event(), 1..120)) {
        let mut fronts = Fronts::new();
        for event in &events {
            fronts.play(event);
        }
    }

    /// Once all have reported what they have, no slot idles while somebody waits who may have it.
    #[test]
    fn no_slot_idles_while_somebody_waits(events in prop::collection::vec(event(), 1..80)) {
        let mut fronts = Fronts::new();
        for event in &events {
            fronts.play(event);
        }
        for region in [None, Some(0), Some(1), Some(2)] {
            fronts.play(&Event::Mode { region, mode: Mode::Open });
        }
        // Leases that close run out; meanwhile all go on reporting.
        for _ in 0..14 {
            fronts.play(&Event::Wait(1_000));
            for front in 0..FRONTS {
                fronts.report(front, 0, false, 0, false);
            }
            let wanted = fronts.plain.wanted;
            fronts.plain(100, wanted);
        }
        let pool = fronts.state.pool("ent").unwrap();
        let waiting: u64 = fronts.state.queues("ent").iter().map(|queue| queue.waiting).sum();
        let usable = pool.capacity.saturating_sub(pool.set_aside);
        prop_assert!(waiting == 0 || pool.held >= usable, "{waiting} wait: {pool:?}");
        // All who wait are known, and those who sit are all that is held.
        let queued: u32 = fronts.fronts.iter().flat_map(|front| front.queue.values()).sum();
        prop_assert_eq!(waiting, u64::from(queued));
        let in_use: u64 = fronts.fronts.iter().map(|front| front.in_use).sum();
        prop_assert_eq!(pool.held, in_use + fronts.plain.slots);
    }

    #[test]
    fn replay_and_snapshots_lead_to_equal_bytes(
        events in prop::collection::vec(event(), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut fronts = Fronts::new();
        for event in &events {
            fronts.play(event);
        }
        let bytes = fronts.state.snapshot();
        let mut replayed = State::default();
        let mut outcomes = Vec::new();
        for batch in &fronts.log {
            outcomes.push(replayed.apply(&Batch::decode(&batch.encode().unwrap()).unwrap()));
        }
        prop_assert_eq!(&replayed.snapshot(), &bytes);

        let cut = cut.index(fronts.log.len());
        let mut half = State::default();
        for batch in &fronts.log[..cut] {
            half.apply(batch);
        }
        let mut restored = State::restore(&half.snapshot()).unwrap();
        prop_assert_eq!(restored.snapshot(), half.snapshot());
        for (i, batch) in fronts.log.iter().enumerate().skip(cut) {
            prop_assert_eq!(&restored.apply(batch), &outcomes[i]);
            half.apply(batch);
            prop_assert_eq!(restored.next_event_ms(u64::MAX), half.next_event_ms(u64::MAX));
            prop_assert_eq!(restored.queues("ent"), half.queues("ent"));
        }
        prop_assert_eq!(&restored.snapshot(), &bytes);
    }
}
