//! Snapshots, with a checksum that is right: what is behind it is what can be wrong.

use quota::limits::{MAX_SLOTS, REMEMBER_ENDED_MS};
use quota::{Batch, Bucket, Command, LeaseId, Renew, Report, Return, State, Take, TokenClaim};

use crate::said;

const MAGIC: &[u8] = b"PREAUQ";

/// The first byte is the format, the rest is what follows it but for the checksum.
pub fn snapshot(data: &[u8]) {
    if let Err(why) = State::restore(data) {
        said(&why.to_string());
    }
    let mut bytes = [MAGIC, data].concat();
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    match State::restore(&bytes) {
        Ok(state) => live_on(state),
        Err(why) => said(&why.to_string()),
    }
}

/// A state that has a bit of everything.
pub fn lived_in() -> State {
    const GOLDEN: &str = include_str!("../../../crates/quota/tests/golden/v2-snapshot.txt");
    let digits: String = GOLDEN.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    State::restore(&bytes).expect("the golden snapshot")
}

/// A state that was written says the same when it is read.
pub fn round_trip(state: &State) {
    let bytes = state.snapshot();
    let again = State::restore(&bytes).expect("what was written can be read");
    assert_eq!(
        again.snapshot(),
        bytes,
        "a snapshot that changes as it is read"
    );
}

/// What can be restored can also be used.
fn live_on(mut state: State) {
    round_trip(&state);
    let pools: Vec<_> = state.pools().collect();
    for pool in &pools {
        let regions = state.regions(&pool.name);
        state.calendar(&pool.name);
        state.queues(&pool.name);
        let held: u64 = regions.iter().map(|region| region.held).sum();
        assert_eq!(held, pool.held, "{pool:?}");
        for lease in state.leases(&pool.name, None, None, None, 64) {
            let seq = |by| lease.seq.saturating_add(by);
            let (id, kept) = (lease.lease, lease.slots);
            apply(&mut state, Command::ReportV2(report(id, seq(1), kept)));
            let wanted = MAX_SLOTS;
            let renew = Renew {
                lease: id,
                seq: seq(2),
                kept,
                wanted,
            };
            apply(&mut state, Command::Renew(renew));
            apply(
                &mut state,
                Command::Return(Return {
                    lease: id,
                    seq: seq(3),
                }),
            );
        }
        if let Some(region) = regions.first() {
            let take = Take {
                pool: pool.name.clone().into(),
                region: region.name.clone().into(),
                holder: "newcomer".into(),
                epoch: 1,
                seq: 1,
                wanted: MAX_SLOTS,
            };
            apply(&mut state, Command::Take(take));
        }
    }
    state.next_event_ms(u64::MAX);
    let time_ms = state.now_ms().saturating_add(REMEMBER_ENDED_MS * 2);
    state.apply(&Batch {
        time_ms,
        commands: Vec::new(),
    });
    round_trip(&state);
}

fn apply(state: &mut State, command: Command) {
    let batch = Batch {
        time_ms: state.now_ms(),
        commands: vec![command],
    };
    if let Some(Err(refusal)) = state.apply(&batch).pop() {
        said(&refusal.to_string());
    }
}

fn report(lease: LeaseId, seq: u64, kept: u64) -> Report {
    let bucket = |second, users| Bucket {
        class: 0,
        second,
        users,
    };
    Report {
        lease,
        seq,
        kept,
        in_use: kept / 2,
        spare: MAX_SLOTS,
        waiting: vec![bucket(0, u32::MAX), bucket(7, 1), bucket(u32::MAX, 3)],
        exact_until_s: u32::MAX,
        left: MAX_SLOTS,
        floor: 0,
        claims: vec![TokenClaim { id: 77, issuer: 3 }],
        released: vec![77, 78],
        refused: vec![79],
    }
}
