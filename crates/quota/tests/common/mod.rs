//! Short ways to make commands.
#![allow(dead_code, clippy::expect_used, clippy::panic, missing_docs)]

pub mod events;
pub mod fronts;
pub mod lives;
pub mod model;
pub mod reference;
pub mod refused;
pub mod seating;
pub mod story;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;
use quota::{
    Batch, Change, Command, Configure, Grant, LeaseId, Outcome, RemoveHolder, Renew, Reply, Return,
    SetPool, SetRegion, State, Take,
};

/// So many random cases, always the same ones. For others, and more: `PROPTEST_CASES=1000000
/// PROPTEST_RNG_SEED=7 cargo test --release -p quota`.
pub fn cases(by_default: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => given.cases,
        Err(_) => by_default,
    };
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig {
        cases,
        rng_seed,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..given
    }
}

pub fn set_pool(name: &str, capacity: u64) -> Change {
    Change::SetPool(SetPool {
        name: name.into(),
        capacity,
        ttl_ms: None,
        drift_ppm: None,
    })
}

pub fn set_region(name: &str, nominal: u64, ceiling: Option<u64>, weight: u32) -> Change {
    Change::SetRegion(SetRegion {
        pool: "ent".into(),
        name: name.into(),
        nominal,
        ceiling,
        weight,
    })
}

pub fn configure(id: &str, changes: Vec<Change>) -> Command {
    Command::Configure(Configure {
        request_id: id.into(),
        expected_revision: None,
        changes,
    })
}

pub fn take(region: &str, holder: &str, epoch: u64, seq: u64, wanted: u64) -> Command {
    let (pool, region, holder) = ("ent".into(), region.into(), holder.into());
    Command::Take(Take {
        pool,
        region,
        holder,
        epoch,
        seq,
        wanted,
    })
}

pub fn renew(lease: LeaseId, seq: u64, kept: u64, wanted: u64) -> Command {
    Command::Renew(Renew {
        lease,
        seq,
        kept,
        wanted,
    })
}

pub fn give_back(lease: LeaseId, seq: u64) -> Command {
    Command::Return(Return { lease, seq })
}

pub fn remove_holder(id: &str, holder: &str) -> Command {
    Command::RemoveHolder(RemoveHolder {
        request_id: id.into(),
        holder: holder.into(),
        pool: None,
    })
}

/// Applies one command at a time, through the encoding that the log has.
pub fn run(state: &mut State, time_ms: u64, command: Command) -> Outcome {
    let batch = Batch {
        time_ms,
        commands: vec![command],
    };
    assert_eq!(
        Batch::decode(&batch.encode().expect("it fits")).as_ref(),
        Ok(&batch)
    );
    state
        .apply(&batch)
        .pop()
        .expect("one outcome for one command")
}

pub fn tick(state: &mut State, time_ms: u64) {
    assert!(
        state
            .apply(&Batch {
                time_ms,
                commands: Vec::new()
            })
            .is_empty()
    );
}

pub fn granted(outcome: Outcome) -> Grant {
    match outcome {
        Ok(Reply::Grant(grant)) => grant,
        other => panic!("expected a grant, got {other:?}"),
    }
}
