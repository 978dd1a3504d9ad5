//! What is refused of reports: each limit at its edge, with the words that are said, and nothing changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::refused::*;
use common::*;
use quota::limits::*;
use quota::{Bucket, Command, LeaseId, Outcome, Reply, Report, TokenClaim};

fn report(lease: LeaseId, kept: u64) -> Report {
    Report {
        lease,
        seq: 9,
        kept,
        in_use: kept,
        spare: 0,
        waiting: Vec::new(),
        exact_until_s: 0,
        left: 0,
        floor: 0,
        claims: Vec::new(),
        released: Vec::new(),
        refused: Vec::new(),
    }
}

fn bucket(class: u8, second: u32, users: u32) -> Bucket {
    Bucket {
        class,
        second,
        users,
    }
}

/// Refuses each report that is made of a right one.
#[track_caller]
fn report_refused(change: impl FnOnce(&mut Report), words: &str) {
    let mut fixture = fixture();
    let mut report = report(fixture.live, 30);
    change(&mut report);
    refused(&mut fixture, Command::ReportV2(report), words);
}

fn accepted(change: impl FnOnce(&mut Report)) -> Outcome {
    let mut fixture = fixture();
    let mut report = report(fixture.live, 30);
    change(&mut report);
    run(&mut fixture.state, NOW, Command::ReportV2(report))
}

#[test]
fn reports() {
    report_refused(|r| r.seq = 0, "seq: 0 given, expected at least 1");
    report_refused(
        |r| r.kept = 29,
        "in_use: 30 given, expected at most the 29 slots kept",
    );
    report_refused(
        |r| r.kept = 31,
        "kept: 31 given, expected at most the 30 slots of the lease",
    );
    let over = MAX_SLOTS + 1;
    report_refused(
        |r| r.spare = over,
        "spare: 1000000000001 given, expected 0 to 1000000000000",
    );
    report_refused(
        |r| r.left = over,
        "left: 1000000000001 given, expected 0 to 1000000000000",
    );
    report_refused(
        |r| r.floor = 1,
        "floor: 1 given, expected at most the 0 that the holder was told",
    );
    report_refused(
        |r| r.seq = 4,
        "seq: 4 given, and the holder is at 5; the answer to it is no longer known",
    );
    assert!(accepted(|r| (r.spare, r.left) = (MAX_SLOTS, MAX_SLOTS)).is_ok());

    let mut fixture = fixture();
    let (closing, ended) = (fixture.closing, fixture.ended);
    let words = format!(
        "lease {closing} is closing: its holder was removed or started anew; return it, or take a new one"
    );
    refused(&mut fixture, Command::ReportV2(report(closing, 20)), &words);
    let words = format!("lease {ended} has ended; take a new one");
    refused(&mut fixture, Command::ReportV2(report(ended, 0)), &words);
    let words = "lease 7 is not known: it ended, or never was; take a new one";
    refused(
        &mut fixture,
        Command::ReportV2(report(LeaseId(7), 0)),
        words,
    );
}

#[test]
fn buckets() {
    let buckets =
        |count: u32| -> Vec<Bucket> { (0..count).map(|second| bucket(0, second, 1)).collect() };
    let most = MAX_BUCKETS as u32;
    assert!(accepted(|r| r.waiting = buckets(most)).is_ok());
    report_refused(
        |r| r.waiting = buckets(most + 1),
        "waiting: 129 buckets given, expected at most 128",
    );
    report_refused(
        |r| r.waiting = vec![bucket(0, 1, 0)],
        "waiting[0].users: 0 given, expected at least 1",
    );
    let order = "expected buckets by class and then second, none twice";
    let twice = vec![bucket(0, 1, 1), bucket(0, 1, 1)];
    report_refused(
        |r| r.waiting = twice,
        &format!("waiting[1]: class 0, second 1 given, {order}"),
    );
    let back = vec![bucket(0, 2, 1), bucket(0, 1, 1)];
    report_refused(
        |r| r.waiting = back,
        &format!("waiting[1]: class 0, second 1 given, {order}"),
    );
    let unknown = vec![bucket(0, 2, 1), bucket(1, 1, 1)];
    report_refused(
        |r| r.waiting = unknown,
        "waiting[1].class: 1 given, expected below the 1 classes of the pool",
    );
    // As many users as there can be: they are counted, and no more slots wanted than there can be.
    let Ok(Reply::Reported(reported)) = accepted(|r| {
        r.waiting = (0..most)
            .map(|second| bucket(0, second, u32::MAX))
            .collect();
        r.spare = MAX_SLOTS;
    }) else {
        panic!("as many as can be")
    };
    assert!(!reported.open && reported.others_wait);
}

#[test]
fn claims() {
    let most = MAX_CLAIMS_PER_REPORT as u64;
    let claims = |count: u64| {
        (0..count)
            .map(|id| TokenClaim { id, issuer: 0 })
            .collect::<Vec<_>>()
    };
    assert!(accepted(|r| r.claims = claims(most)).is_ok());
    let words = "claims: 257 claims, released and refused given, expected at most 256";
    report_refused(|r| r.claims = claims(most + 1), words);
    report_refused(|r| (r.claims, r.released) = (claims(most), vec![1]), words);
    report_refused(|r| (r.claims, r.refused) = (claims(most), vec![1]), words);
}

#[test]
fn renewals_of_leases_that_report() {
    let mut fixture = fixture();
    let lease = fixture.live;
    run(
        &mut fixture.state,
        NOW,
        Command::ReportV2(report(lease, 30)),
    )
    .unwrap();
    let words = format!("lease {lease} reports: report again, or take another with a higher epoch");
    refused(&mut fixture, renew(lease, 10, 30, 30), &words);
    // The report under the same number is still answered.
    let again = run(&mut fixture.state, NOW, Command::ReportV2(report(lease, 0))).unwrap();
    assert!(matches!(again, Reply::Reported(reported) if reported.grant.slots == 30));
    // Taken again it keeps what it has.
    let grant = granted(run(
        &mut fixture.state,
        NOW,
        take("normandie", "rouen", 3, 10, 90),
    ));
    assert_eq!((grant.lease, grant.slots, grant.target), (lease, 30, 30));
}
