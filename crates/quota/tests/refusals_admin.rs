//! Every refusal to an operator: what it says, and that nothing has changed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::refused::*;
use common::*;
use quota::limits::*;
use quota::{Change, Command, Configure, RemoveHolder, SetPool, SetRegion};

#[test]
fn remove_holder_by_name() {
    let f = &mut fixture();
    let remove = |request_id: &str, holder: &str, pool: Option<&str>| {
        Command::RemoveHolder(RemoveHolder {
            request_id: request_id.into(),
            holder: holder.into(),
            pool: pool.map(Into::into),
        })
    };
    refused(
        f,
        remove("r", "", None),
        &format!("holder: \"\" given, {A_NAME}"),
    );
    refused(
        f,
        remove("r", "rouen", Some("")),
        &format!("pool: \"\" given, {A_NAME}"),
    );
    refused(
        f,
        remove("r", "rouen", Some("pronote")),
        "pool \"pronote\" does not exist",
    );
    refused(
        f,
        remove("r", "evreux", None),
        "holder \"evreux\" has no lease",
    );
    let an_id = "expected 1 to 64 bytes of printable text without white space at either end";
    refused(
        f,
        remove("", "rouen", None),
        &format!("request_id: \"\" given, {an_id}"),
    );
    refused(
        f,
        remove("removed", "rouen", None),
        "request_id: \"removed\" given, expected one that no other request has had",
    );
}

fn one(change: Change) -> Command {
    common::configure("new", vec![change])
}

fn pool() -> SetPool {
    SetPool {
        name: "ent".into(),
        capacity: 100,
        ttl_ms: None,
        drift_ppm: None,
    }
}

fn region() -> SetRegion {
    SetRegion {
        pool: "ent".into(),
        name: "corse".into(),
        nominal: 0,
        ceiling: None,
        weight: 1,
    }
}

#[test]
fn fields_of_configure() {
    let f = &mut fixture();
    let an_id = "expected 1 to 64 bytes of printable text without white space at either end";
    let long = "x".repeat(MAX_REQUEST_ID_BYTES + 1);
    let shown = &long[1..];
    refused(
        f,
        common::configure(&long, vec![set_pool("cned", 1)]),
        &format!("request_id: {shown:?}… given, {an_id}"),
    );
    refused(
        f,
        common::configure("first", vec![set_pool("cned", 1)]),
        "request_id: \"first\" given, expected one that no other request has had",
    );
    refused(
        f,
        common::configure("new", Vec::new()),
        "changes: 0 changes given, expected 1 to 5000",
    );
    let many = vec![set_pool("cned", 1); MAX_CHANGES + 1];
    refused(
        f,
        common::configure("new", many),
        "changes: 5001 changes given, expected 1 to 5000",
    );
    let request = Configure {
        request_id: "new".into(),
        expected_revision: Some(7),
        changes: vec![set_pool("cned", 1)],
    };
    refused(
        f,
        Command::Configure(request),
        "expected_revision: 7 given, and the budget is at 1; read it again",
    );
}

#[test]
fn fields_of_set_pool() {
    let f = &mut fixture();
    let set = |set| one(Change::SetPool(set));
    refused(
        f,
        set(SetPool {
            name: String::new(),
            ..pool()
        }),
        &format!("changes[0].set_pool.name: \"\" given, {A_NAME}"),
    );
    refused(
        f,
        set(SetPool {
            capacity: MAX_SLOTS + 1,
            ..pool()
        }),
        "changes[0].set_pool.capacity: 1000000000001 given, expected 0 to 1000000000000",
    );
    for ttl_ms in [999, 3_600_001] {
        refused(
            f,
            set(SetPool {
                ttl_ms: Some(ttl_ms),
                ..pool()
            }),
            &format!("changes[0].set_pool.ttl_ms: {ttl_ms} given, expected 1000 to 3600000"),
        );
    }
    refused(
        f,
        set(SetPool {
            drift_ppm: Some(200_001),
            ..pool()
        }),
        "changes[0].set_pool.drift_ppm: 200001 given, expected 0 to 200000",
    );
    refused(
        f,
        set(SetPool {
            capacity: 69,
            ..pool()
        }),
        "pool \"ent\": the nominals of its regions add up to 70, over its capacity of 69",
    );
}

#[test]
fn fields_of_set_region() {
    let f = &mut fixture();
    let set = |set| one(Change::SetRegion(set));
    let path = "changes[0].set_region";
    let cases = [
        (
            SetRegion {
                pool: "\n".into(),
                ..region()
            },
            format!("{path}.pool: \"\\n\" given, {A_NAME}"),
        ),
        (
            SetRegion {
                name: "corse ".into(),
                ..region()
            },
            format!("{path}.name: \"corse \" given, {A_NAME}"),
        ),
        (
            SetRegion {
                nominal: MAX_SLOTS + 1,
                ..region()
            },
            format!("{path}.nominal: 1000000000001 given, expected 0 to 1000000000000"),
        ),
        (
            SetRegion {
                ceiling: Some(MAX_SLOTS + 1),
                ..region()
            },
            format!("{path}.ceiling: 1000000000001 given, expected 0 to 1000000000000"),
        ),
        (
            SetRegion {
                nominal: 5,
                ceiling: Some(4),
                ..region()
            },
            format!("{path}.ceiling: 4 given, expected at least the nominal of 5"),
        ),
        (
            SetRegion {
                weight: 0,
                ..region()
            },
            format!("{path}.weight: 0 given, expected 1 to 1000000"),
        ),
        (
            SetRegion {
                weight: MAX_WEIGHT + 1,
                ..region()
            },
            format!("{path}.weight: 1000001 given, expected 1 to 1000000"),
        ),
        (
            SetRegion {
                pool: "pronote".into(),
                ..region()
            },
            "pool \"pronote\" does not exist".into(),
        ),
        (
            SetRegion {
                nominal: 41,
                ..region()
            },
            "pool \"ent\": the nominals of its regions add up to 101, over its capacity of 100"
                .into(),
        ),
    ];
    for (change, words) in cases {
        refused(f, set(change), &words);
    }
}

#[test]
fn what_can_not_be_removed() {
    let f = &mut fixture();
    let pool = |name: &str| one(Change::RemovePool { name: name.into() });
    let region = |pool: &str, name: &str| {
        let (pool, name) = (pool.into(), name.into());
        one(Change::RemoveRegion { pool, name })
    };
    refused(
        f,
        pool(""),
        &format!("changes[0].remove_pool.name: \"\" given, {A_NAME}"),
    );
    refused(f, pool("pronote"), "pool \"pronote\" does not exist");
    refused(
        f,
        pool("ent"),
        "pool \"ent\" has 50 slots out; set its capacity and nominals to 0, wait until they have drained, then remove it",
    );
    for (given, field) in [(("", "x"), "pool"), (("x", ""), "name")] {
        let words = format!("changes[0].remove_region.{field}: \"\" given, {A_NAME}");
        refused(f, region(given.0, given.1), &words);
    }
    refused(
        f,
        region("pronote", "corse"),
        "pool \"pronote\" does not exist",
    );
    refused(
        f,
        region("ent", "mayotte"),
        "region \"mayotte\" does not exist in pool \"ent\"",
    );
    refused(
        f,
        region("ent", "normandie"),
        "region \"normandie\" of pool \"ent\" has 50 slots out; set its nominal and ceiling to 0, wait until they have drained, then remove it",
    );
}

/// The changes before the one that is refused are not made either.
#[test]
fn all_or_nothing() {
    let f = &mut fixture();
    let changes = vec![
        set_pool("cned", 5),
        set_region("corse", 0, None, 9),
        set_region("corse", 0, None, 0),
    ];
    refused(
        f,
        common::configure("new", changes),
        "changes[2].set_region.weight: 0 given, expected 1 to 1000000",
    );
}

#[test]
fn bounds_of_pools_and_regions() {
    let f = &mut fixture();
    let pools = (0..MAX_POOLS - 1).map(|i| set_pool(&format!("p{i}"), 1));
    run(
        &mut f.state,
        NOW,
        common::configure("pools", pools.collect()),
    )
    .unwrap();
    refused(f, one(set_pool("more", 1)), "pools: the most is 1024");

    let regions = (0..MAX_REGIONS_PER_POOL - 2).map(|i| set_region(&format!("r{i}"), 0, None, 1));
    run(
        &mut f.state,
        NOW,
        common::configure("regions", regions.collect()),
    )
    .unwrap();
    refused(
        f,
        one(set_region("more", 0, None, 1)),
        "regions of pool \"ent\": the most is 4096",
    );
    // What counts is what the changes lead to.
    let (pool, name) = ("ent".into(), "r0".into());
    let swap = vec![
        set_region("more", 0, None, 1),
        Change::RemoveRegion { pool, name },
    ];
    run(&mut f.state, NOW, common::configure("swap", swap)).unwrap();
}
