//! Bytes from a disk or a network may be anything. Reading them ends in a value or in an error.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::*;
use proptest::prelude::*;
use quota::limits::*;
use quota::{Batch, Bucket, Command, DecodeError, EncodeError, LeaseId, Report, State, TokenClaim};

/// The golden snapshots of each format, which have a bit of everything.
fn snapshots() -> [Vec<u8>; 2] {
    let v1 = include_str!("golden/v1-snapshot.txt");
    [v1, include_str!("golden/v2-snapshot.txt")].map(unhex)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn snapshot() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(snapshots().to_vec())
}

fn batch() -> Vec<u8> {
    let commands = vec![
        configure(
            "a",
            vec![set_pool("ent", 9), set_region("corse", 1, Some(4), 2)],
        ),
        take("corse", "bastia", 1, 2, 3),
        remove_holder("b", "bastia"),
        Command::ReportV2(report(LeaseId(1 << 20), 3, 1)),
    ];
    let time_ms = 1;
    Batch { time_ms, commands }.encode().unwrap()
}

/// Gives bytes the checksum that they should have, so that what is behind it is reached.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
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

/// What can be restored can also be used, and says the same again.
fn use_restored(bytes: &[u8]) {
    let Ok(mut state) = State::restore(bytes) else {
        return;
    };
    let again = State::restore(&state.snapshot()).expect("what was written can be read");
    assert_eq!(again.snapshot(), state.snapshot());
    let names: Vec<String> = state.pools().map(|pool| pool.name).collect();
    for name in &names {
        state.regions(name);
        state.calendar(name);
        state.queues(name);
        for lease in state.leases(name, None, None, None, usize::MAX) {
            let (seq, kept) = (lease.seq.saturating_add(1), lease.slots);
            let report = report(lease.lease, seq, kept);
            for command in [
                Command::ReportV2(report),
                renew(lease.lease, seq.saturating_add(1), kept, MAX_SLOTS),
                give_back(lease.lease, seq.saturating_add(2)),
            ] {
                let time_ms = state.now_ms();
                let commands = vec![command];
                state.apply(&Batch { time_ms, commands });
            }
        }
    }
    let time_ms = state.now_ms().saturating_add(REMEMBER_ENDED_MS * 9);
    let commands = vec![
        take("normandie", "x", 1, 1, MAX_SLOTS),
        remove_holder("z", "x"),
        configure("z2", vec![set_pool("ent", 0)]),
        configure("z3", vec![set_region("normandie", 0, None, 7)]),
    ];
    state.apply(&Batch { time_ms, commands });
    state.snapshot();
    state.next_event_ms(u64::MAX);
}

fn flipped(bytes: &[u8], flips: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, mask) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
    }
    bytes
}

fn flips() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_bytes_as_a_batch(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Batch::decode(&bytes);
        let _ = Batch::decode(&[&[1], &bytes[..]].concat());
    }

    #[test]
    fn any_bytes_as_a_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(State::restore(&bytes).is_err());
        use_restored(&sealed([b"PREAUQ\x01", &bytes[..]].concat()));
        use_restored(&sealed([b"PREAUQ\x02", &bytes[..]].concat()));
    }

    #[test]
    fn a_flipped_batch(flips in flips()) {
        if let Ok(batch) = Batch::decode(&flipped(&batch(), &flips)) {
            let bytes = batch.encode().unwrap();
            prop_assert_eq!(Batch::decode(&bytes), Ok(batch.clone()));
            State::default().apply(&batch);
        }
    }

    /// Damage is found by the checksum.
    #[test]
    fn a_flipped_snapshot(whole in snapshot(), (at, mask) in (any::<prop::sample::Index>(), 1u8..)) {
        prop_assert!(State::restore(&flipped(&whole, &[(at, mask)])).is_err());
    }

    /// A right checksum makes no state that can't be.
    #[test]
    fn a_crafted_snapshot(whole in snapshot(), flips in flips()) {
        let (head, body) = whole[..whole.len() - 4].split_at(7);
        use_restored(&sealed([head, &flipped(body, &flips)].concat()));
    }

    #[test]
    fn a_snapshot_cut_short(whole in snapshot(), at in any::<prop::sample::Index>()) {
        let cut = &whole[..at.index(whole.len() - 4)];
        prop_assert!(State::restore(cut).is_err());
        prop_assert!(State::restore(&sealed(cut.to_vec())).is_err());
    }
}

#[test]
fn what_is_wrong_with_a_snapshot_is_said() {
    let [_, whole] = snapshots();
    let says = |bytes: &[u8], words: &str| {
        assert_eq!(State::restore(bytes).unwrap_err().to_string(), words);
    };
    says(
        b"",
        "not a snapshot: expected it to begin with \"PREAUQ\", found \"\"",
    );
    says(
        b"PREAUX\x01",
        "not a snapshot: expected it to begin with \"PREAUQ\", found \"PREAUX\"",
    );
    says(
        b"PREAUQ",
        "snapshot is damaged: it ends after its first bytes",
    );
    says(b"PREAUQ\0", "snapshot is damaged: its format is 0");
    says(
        b"PREAUQ\x04",
        "snapshot is of format 4, and this version reads up to 3: upgrade this node",
    );
    says(b"PREAUQ\x01abc", "snapshot is damaged: it has no checksum");
    let mut longer = whole[..whole.len() - 4].to_vec();
    longer.push(0);
    says(&sealed(longer), "snapshot is damaged: bytes follow its end");
    let mut other = whole;
    other[20] ^= 1;
    assert!(matches!(
        State::restore(&other),
        Err(DecodeError::Checksum { .. })
    ));
}

#[test]
fn what_is_wrong_with_a_batch_is_said() {
    let says = |bytes: &[u8], words: &str| {
        assert_eq!(Batch::decode(bytes).unwrap_err().to_string(), words);
    };
    says(b"", "batch is damaged: it is empty");
    says(b"\0", "batch is damaged: its format is 0");
    says(
        b"\x02",
        "batch is of format 2, and this version reads up to 1: upgrade this node",
    );
    says(
        &[batch(), vec![0, 0]].concat(),
        "batch is damaged: 2 bytes follow its end",
    );
    // A count of commands that the bytes can't hold asks for no memory.
    says(
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        "batch is damaged: Hit the end of buffer, expected more data",
    );
}

#[test]
fn a_batch_keeps_its_bounds() {
    let small = take("c", "b", 1, 1, 0);
    let many = |n| Batch {
        time_ms: u64::MAX,
        commands: vec![small.clone(); n],
    };
    assert!(many(MAX_COMMANDS).encode().is_ok());
    let given = MAX_COMMANDS + 1;
    let refused = many(given).encode().unwrap_err();
    assert_eq!(refused, EncodeError::Commands { given });
    assert_eq!(
        refused.to_string(),
        "4097 commands in one batch, and the most is 4096: divide them"
    );

    // The stated sum of lengths always fits; a byte more than the whole may have does not.
    let long = |bytes: usize| {
        let mut command = take("c", "b", 1, 1, 0);
        let spare = bytes - command.encoded_len();
        // The length of a long name takes two bytes more than that of a short one.
        command = take("c", &"b".repeat(spare - 1), 1, 1, 0);
        assert_eq!(command.encoded_len(), bytes);
        let (time_ms, commands) = (u64::MAX, vec![command]);
        Batch { time_ms, commands }
    };
    let bytes = long(MAX_COMMANDS_BYTES).encode().unwrap();
    assert!(bytes.len() <= MAX_BATCH_BYTES);
    assert!(Batch::decode(&bytes).is_ok());
    let over = long(MAX_BATCH_BYTES).encode().unwrap_err();
    assert!(matches!(over, EncodeError::Bytes { .. }));
    let words = Batch::decode(&vec![1; MAX_BATCH_BYTES + 1]).unwrap_err();
    assert_eq!(
        words.to_string(),
        "batch is damaged: a batch of 2097153 bytes, and the most is 2097152: divide its commands"
    );
}
