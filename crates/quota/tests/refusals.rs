//! Every refusal to a front-end: what it says, and that nothing has changed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::refused::*;
use common::*;
use quota::limits::*;
use quota::{Batch, Command, LeaseId, Take};

fn ent() -> Take {
    Take {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: "evreux".into(),
        epoch: 1,
        seq: 1,
        wanted: 1,
    }
}

#[test]
fn good_fields_are_let_by_whatever_they_name() {
    let renew = common::renew(LeaseId(1), 1, 1, 1);
    for command in [take("normandie", "h", 1, 1, 1), renew] {
        by_fields_alone(&command);
        assert_eq!(command.check(), Ok(()));
    }
}

#[test]
fn fields_of_take() {
    let f = &mut fixture();
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    let shown = format!("{:?}…", "x".repeat(MAX_NAME_BYTES));
    let names = [
        (String::new(), "\"\"".to_owned()),
        (" ent".into(), "\" ent\"".into()),
        ("en\tt".into(), "\"en\\tt\"".into()),
        (long, shown),
    ];
    for (name, shown) in names {
        let [pool, region, holder] = [&name; 3].map(|name| name.as_str().into());
        let words = |field| format!("{field}: {shown} given, {A_NAME}");
        refused(f, Command::Take(Take { pool, ..ent() }), &words("pool"));
        refused(f, Command::Take(Take { region, ..ent() }), &words("region"));
        refused(f, Command::Take(Take { holder, ..ent() }), &words("holder"));
    }
    let take = |epoch, seq, wanted| {
        Command::Take(Take {
            epoch,
            seq,
            wanted,
            ..ent()
        })
    };
    refused(f, take(0, 1, 1), "epoch: 0 given, expected at least 1");
    refused(f, take(1, 0, 1), "seq: 0 given, expected at least 1");
    refused(
        f,
        take(1, 1, MAX_SLOTS + 1),
        "wanted: 1000000000001 given, expected 0 to 1000000000000",
    );
}

#[test]
fn take_where_it_can_not_be() {
    let f = &mut fixture();
    let (pool, region) = ("pronote".into(), "mayotte".into());
    let no_pool = Command::Take(Take { pool, ..ent() });
    let no_region = Command::Take(Take { region, ..ent() });
    refused(f, no_pool, "pool \"pronote\" does not exist");
    refused(
        f,
        no_region,
        "region \"mayotte\" does not exist in pool \"ent\"",
    );
    refused(
        f,
        take("normandie", "rouen", 2, 9, 1),
        "epoch: 2 given, and the holder is at 3; take a lease with a higher one",
    );
    refused(
        f,
        take("normandie", "rouen", 3, 4, 1),
        "seq: 4 given, and the holder is at 5; the answer to it is no longer known",
    );
    refused(
        f,
        take("corse", "rouen", 3, 6, 1),
        "region: \"corse\" given, expected the region of the holder's lease, or a higher epoch",
    );
}

#[test]
fn renew() {
    let f = &mut fixture();
    let (live, closing, ended) = (f.live, f.closing, f.ended);
    let never = LeaseId(77);
    refused(
        f,
        common::renew(never, 6, 0, 0),
        "lease 77 is not known: it ended, or never was; take a new one",
    );
    refused(
        f,
        common::renew(live, 0, 0, 0),
        "seq: 0 given, expected at least 1",
    );
    refused(
        f,
        common::renew(live, 6, 0, MAX_SLOTS + 1),
        "wanted: 1000000000001 given, expected 0 to 1000000000000",
    );
    refused(
        f,
        common::renew(live, 6, 31, 31),
        "kept: 31 given, expected at most the 30 slots of the lease",
    );
    refused(
        f,
        common::renew(live, 4, 0, 0),
        "seq: 4 given, and the holder is at 5; the answer to it is no longer known",
    );
    let words = format!(
        "lease {closing} is closing: its holder was removed or started anew; return it, or take a new one"
    );
    refused(f, common::renew(closing, 6, 0, 0), &words);
    let words = format!("lease {ended} has ended; take a new one");
    refused(f, common::renew(ended, 7, 0, 0), &words);
}

#[test]
fn give_back() {
    let f = &mut fixture();
    let (live, ended) = (f.live, f.ended);
    refused(
        f,
        common::give_back(LeaseId(0), 6),
        "lease 0 is not known: it ended, or never was; take a new one",
    );
    refused(
        f,
        common::give_back(live, 0),
        "seq: 0 given, expected at least 1",
    );
    refused(
        f,
        common::give_back(live, 4),
        "seq: 4 given, and the holder is at 5; the answer to it is no longer known",
    );
    let words = format!("lease {ended} has ended; take a new one");
    refused(f, common::give_back(ended, 7), &words);
}

/// A grant is not repeated once its lease has run out: nothing counts its slots any more.
#[test]
fn a_grant_that_ran_out_is_not_granted_again() {
    let f = &mut fixture();
    let live = f.live;
    let at = NOW + DEFAULT_TTL_MS;
    let words = format!("lease {live} has ended; take a new one");
    let again = || take("normandie", "rouen", 3, 5, 30);
    assert!(run(&mut f.state, at - 1, again()).is_ok());
    tick(&mut f.state, at);
    let before = f.state.snapshot();
    let refusal = run(&mut f.state, at, again()).expect_err("refused");
    assert_eq!(refusal.to_string(), words);
    assert_eq!(f.state.snapshot(), before);
}

#[test]
fn bound_of_the_leases_of_one_holder() {
    let f = &mut fixture();
    for epoch in 1..=MAX_CLOSING_PER_HOLDER as u64 {
        let held = take("normandie", "dieppe", epoch, 1, 1);
        assert_eq!(
            granted(run(&mut f.state, NOW, held)).slots,
            u64::from(epoch <= 50)
        );
    }
    run(
        &mut f.state,
        NOW,
        common::configure("more", vec![set_pool("ent", 1_000)]),
    )
    .unwrap();
    let mut next = MAX_CLOSING_PER_HOLDER as u64;
    let refusal = loop {
        next += 1;
        match run(&mut f.state, NOW, take("normandie", "dieppe", next, 1, 1)) {
            Ok(_) => assert!(next < 200),
            Err(refusal) => break refusal,
        }
    };
    let words = "leases of holder \"dieppe\" that have yet to run out: the most is 64";
    assert_eq!(refusal.to_string(), words);
    refused(f, take("normandie", "dieppe", next, 1, 1), words);
}

#[test]
fn bound_of_all_leases() {
    let f = &mut fixture();
    for first in (0..MAX_LEASES).step_by(MAX_COMMANDS) {
        // Two leases count already, and one that has ended is forgotten to make room.
        let some = first..(first + MAX_COMMANDS).min(MAX_LEASES - 2);
        let commands = some.map(|i| take("corse", &i.to_string(), 1, 1, 0));
        let batch = Batch {
            time_ms: NOW,
            commands: commands.collect(),
        };
        assert!(f.state.apply(&batch).iter().all(Result::is_ok));
    }
    refused(
        f,
        take("corse", "one more", 1, 1, 0),
        "leases: the most is 1000000",
    );
}
