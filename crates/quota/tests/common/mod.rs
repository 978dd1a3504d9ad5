//! Short ways to make commands.
#![allow(dead_code)]

use quota::{
    Batch, Change, Command, Configure, Grant, LeaseId, Outcome, RemoveHolder, Renew, Reply, Return,
    SetPool, SetRegion, State, Take,
};

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

pub fn remove_holder(holder: &str) -> Command {
    Command::RemoveHolder(RemoveHolder {
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
    assert_eq!(Batch::decode(&batch.encode()).as_ref(), Ok(&batch));
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
