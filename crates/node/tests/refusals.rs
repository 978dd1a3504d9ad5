//! Bad input to every call: the code, the reason and the message, and that nothing has changed.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use api::v1;
use api::v1::change::Change;
use common::{Cluster, assert_refused, take};
use tonic::Code;
use tonic_types::StatusExt as _;

fn changes(changes: impl IntoIterator<Item = Change>) -> v1::ConfigureRequest {
    let changes = changes.into_iter();
    v1::ConfigureRequest {
        changes: changes
            .map(|change| v1::Change {
                change: Some(change),
            })
            .collect(),
        expected_revision: 0,
        request_id: "r".into(),
    }
}

fn pool(capacity: u64) -> v1::SetPool {
    v1::SetPool {
        name: "ent".into(),
        capacity,
        ttl_ms: None,
        drift_ppm: None,
    }
}

fn region(nominal: u64) -> v1::SetRegion {
    v1::SetRegion {
        pool: "ent".into(),
        name: "normandie".into(),
        nominal,
        ceiling: None,
        weight: None,
    }
}

const NAME: &str = "1 to 128 bytes of printable text without white space at either end";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_front_ends() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let follower = cluster.follower().await;
    let mut leases = cluster.leases(follower);
    let held = leases.lease(take("portal", 5, 10)).await.expect("a lease");
    let lease_id = held.into_inner().grant.expect("a grant").lease_id;
    let before = cluster.budget_now(follower).await;

    let bad = |message: &str| message.to_owned();
    for (request, message) in [
        (
            v1::LeaseRequest {
                pool: String::new(),
                ..take("h", 1, 1)
            },
            format!("pool: \"\" given, expected {NAME}"),
        ),
        (
            v1::LeaseRequest {
                region: " x".into(),
                ..take("h", 1, 1)
            },
            format!("region: \" x\" given, expected {NAME}"),
        ),
        (
            take(&"h".repeat(129), 1, 1),
            format!("holder: \"{}\"… given, expected {NAME}", "h".repeat(128)),
        ),
        (
            v1::LeaseRequest {
                epoch: 0,
                ..take("h", 1, 1)
            },
            bad("epoch: 0 given, expected at least 1"),
        ),
        (take("h", 0, 1), bad("seq: 0 given, expected at least 1")),
        (
            take("h", 1, 1_000_000_000_001),
            bad("wanted: 1000000000001 given, expected 0 to 1000000000000"),
        ),
        (
            v1::LeaseRequest {
                region: "bretagne".into(),
                ..take("portal", 6, 1)
            },
            bad(
                "region: \"bretagne\" given, expected the region of the holder's lease, or a higher epoch",
            ),
        ),
    ] {
        let status = leases.lease(request).await.expect_err(&message);
        let violations = status
            .get_details_bad_request()
            .expect("a BadRequest")
            .field_violations;
        assert!(message.starts_with(&violations[0].field));
        assert_refused(
            Err::<(), _>(status),
            Code::InvalidArgument,
            "INVALID_FIELD",
            &message,
        );
    }
    for (request, code, reason, message) in [
        (
            v1::LeaseRequest {
                pool: "x".into(),
                ..take("h", 1, 1)
            },
            Code::NotFound,
            "NO_SUCH_POOL",
            "pool \"x\" does not exist",
        ),
        (
            v1::LeaseRequest {
                region: "x".into(),
                ..take("h", 1, 1)
            },
            Code::NotFound,
            "NO_SUCH_REGION",
            "region \"x\" does not exist in pool \"ent\"",
        ),
        (
            take("portal", 4, 1),
            Code::FailedPrecondition,
            "STALE_SEQ",
            "seq: 4 given, and the holder is at 5; the answer to it is no longer known",
        ),
    ] {
        assert_refused(leases.lease(request).await, code, reason, message);
    }

    let renew = v1::RenewRequest {
        lease_id,
        seq: 6,
        kept: 1,
        wanted: 1,
    };
    assert_refused(
        leases.renew(v1::RenewRequest { kept: 11, ..renew }).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "kept: 11 given, expected at most the 10 slots of the lease",
    );
    assert_refused(
        leases.renew(v1::RenewRequest { seq: 0, ..renew }).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "seq: 0 given, expected at least 1",
    );
    let unknown = "lease 7 is not known: it ended, or never was; take a new one";
    let gone = v1::RenewRequest {
        lease_id: 7,
        ..renew
    };
    assert_refused(
        leases.renew(gone).await,
        Code::NotFound,
        "NO_SUCH_LEASE",
        unknown,
    );
    let give = v1::ReturnRequest {
        lease_id: 7,
        seq: 6,
    };
    assert_refused(
        leases.r#return(give).await,
        Code::NotFound,
        "NO_SUCH_LEASE",
        unknown,
    );
    assert_refused(
        leases
            .r#return(v1::ReturnRequest { lease_id, seq: 5 })
            .await,
        Code::FailedPrecondition,
        "SEQ_REUSED",
        "seq: another kind of request was carried out under this number; use a higher one",
    );
    for stale in [false, true] {
        let inspect = |pool: &str, region: &str| v1::InspectRequest {
            pool: pool.into(),
            region: region.into(),
            stale,
        };
        assert_refused(
            leases.inspect(inspect("x", "")).await,
            Code::NotFound,
            "NO_SUCH_POOL",
            "pool \"x\" does not exist",
        );
        assert_refused(
            leases.inspect(inspect("ent", "x")).await,
            Code::NotFound,
            "NO_SUCH_REGION",
            "region \"x\" does not exist in pool \"ent\"",
        );
    }
    let long = leases
        .lease(take(&"h".repeat(70_000), 1, 1))
        .await
        .expect_err("too long");
    assert_eq!(long.code(), Code::OutOfRange, "{long:?}");

    assert_eq!(cluster.budget_now(follower).await, before);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_operators() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let follower = cluster.follower().await;
    let held = cluster.leases(follower).lease(take("portal", 1, 10)).await;
    held.expect("a lease");
    let mut budget = cluster.budget(follower);
    let before = cluster.budget_now(follower).await;

    let invalid = (Code::InvalidArgument, "INVALID_FIELD");
    let text_64 = "1 to 64 bytes of printable text without white space at either end";
    let named = |id: &str| v1::ConfigureRequest {
        request_id: id.into(),
        ..changes([Change::SetPool(pool(1))])
    };
    let nothing = v1::ConfigureRequest {
        changes: vec![v1::Change { change: None }],
        ..named("r")
    };
    for (request, (code, reason), message) in [
        (
            named(""),
            invalid,
            format!("request_id: \"\" given, expected {text_64}"),
        ),
        (
            changes([]),
            invalid,
            "changes: 0 changes given, expected 1 to 5000".into(),
        ),
        (
            changes(std::iter::repeat_n(Change::SetPool(pool(200)), 5_001)),
            invalid,
            "changes: 5001 changes given, expected 1 to 5000".into(),
        ),
        (
            nothing,
            invalid,
            "changes[0].change: nothing given, expected one of set_pool, remove_pool, set_region, \
             remove_region, set_rules, set_mode, set_capacity, set_zone, set_floor and set_calendar"
                .into(),
        ),
        (
            changes([
                Change::SetPool(pool(500)),
                Change::SetPool(v1::SetPool {
                    ttl_ms: Some(999),
                    ..pool(1)
                }),
            ]),
            invalid,
            "changes[1].set_pool.ttl_ms: 999 given, expected 1000 to 3600000".into(),
        ),
        (
            changes([Change::SetRegion(v1::SetRegion {
                weight: Some(0),
                ..region(1)
            })]),
            invalid,
            "changes[0].set_region.weight: 0 given, expected 1 to 1000000".into(),
        ),
        (
            changes([Change::SetRegion(v1::SetRegion {
                ceiling: Some(4),
                ..region(5)
            })]),
            invalid,
            "changes[0].set_region.ceiling: 4 given, expected at least the nominal of 5".into(),
        ),
        (
            changes([Change::SetPool(pool(500)), Change::SetPool(pool(39))]),
            (Code::FailedPrecondition, "NOMINALS_OVER_CAPACITY"),
            "pool \"ent\": the nominals of its regions add up to 40, over its capacity of 39"
                .into(),
        ),
        (
            changes([Change::RemovePool(v1::RemovePool { name: "ent".into() })]),
            (Code::FailedPrecondition, "IN_USE"),
            "pool \"ent\" has 10 slots out; set its capacity and nominals to 0, wait until they \
             have drained, then remove it"
                .into(),
        ),
        (
            v1::ConfigureRequest {
                expected_revision: 9,
                ..changes([Change::SetPool(pool(500))])
            },
            (Code::Aborted, "REVISION_MISMATCH"),
            "expected_revision: 9 given, and the budget is at 1; read it again".into(),
        ),
    ] {
        assert_refused(budget.configure(request).await, code, reason, &message);
    }

    let holder = |holder: &str, pool: &str| v1::RemoveHolderRequest {
        holder: holder.into(),
        pool: pool.into(),
        request_id: "r".into(),
    };
    assert_refused(
        budget.remove_holder(holder("", "")).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        &format!("holder: \"\" given, expected {NAME}"),
    );
    assert_refused(
        budget.remove_holder(holder("nobody", "")).await,
        Code::NotFound,
        "NO_SUCH_HOLDER",
        "holder \"nobody\" has no lease",
    );
    assert_refused(
        budget.remove_holder(holder("portal", "x")).await,
        Code::NotFound,
        "NO_SUCH_POOL",
        "pool \"x\" does not exist",
    );

    let token = "expected the next_page_token of an answer to the same request, or nothing";
    let list = v1::ListLeasesRequest {
        page_token: "zz".into(),
        ..v1::ListLeasesRequest::default()
    };
    assert_refused(
        budget.list_leases(list).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        &format!("page_token: \"zz\" given, {token}"),
    );
    let list = v1::ListLeasesRequest {
        page_size: 1_001,
        ..v1::ListLeasesRequest::default()
    };
    assert_refused(
        budget.list_leases(list).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "page_size: 1001 given, expected 0 to 1000",
    );
    let list = v1::ListPoolsRequest {
        pool: "x".into(),
        ..v1::ListPoolsRequest::default()
    };
    assert_refused(
        budget.list_pools(list).await,
        Code::NotFound,
        "NO_SUCH_POOL",
        "pool \"x\" does not exist",
    );

    assert_eq!(cluster.budget_now(follower).await, before);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_members() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let me = follower + 1;
    let mut client = cluster.cluster(follower);
    let mut before = client
        .status(v1::StatusRequest {})
        .await
        .expect("a status")
        .into_inner();

    let member = |node_id, address: &str| v1::MemberAddress {
        node_id,
        address: address.into(),
    };
    let add = |member| v1::AddMemberRequest { member };
    let init = |members| v1::InitRequest { members };
    let invalid = (Code::InvalidArgument, "INVALID_FIELD");
    for (request, message) in [
        (
            add(None),
            "member: nothing given, expected a node's id and address",
        ),
        (
            add(Some(member(0, "a:1"))),
            "member.node_id: 0 given, expected at least 1",
        ),
        (
            add(Some(member(4, "nowhere"))),
            "member.address: \"nowhere\" given, expected host:port, such as 10.0.0.1:4501",
        ),
    ] {
        assert_refused(
            client.add_member(request).await,
            invalid.0,
            invalid.1,
            message,
        );
    }
    for (request, message) in [
        (
            init(Vec::new()),
            format!("members: none given, expected node {me}, which is asked, among them"),
        ),
        (
            init((1..=33).map(|i| member(i, &format!("a:{i}"))).collect()),
            "members: 33 given, expected at most 32".into(),
        ),
        (
            init(vec![member(1, "a:1"), member(1, "b:1")]),
            "members[1].node_id: 1 given, expected an id that no other member has".into(),
        ),
        (
            init(vec![member(1, "a:1"), member(2, "a:1")]),
            "members[1].address: \"a:1\" given, expected an address that no other member has"
                .into(),
        ),
        (
            init(vec![member(8, "a:1"), member(9, "b:1")]),
            format!("members: 8, 9 given, expected node {me}, which is asked, among them"),
        ),
    ] {
        assert_refused(client.init(request).await, invalid.0, invalid.1, &message);
    }
    let again = client
        .init(init(cluster.members()))
        .await
        .expect_err("it has a cluster");
    assert_eq!(
        (again.code(), common::reason(&again).as_str()),
        (Code::FailedPrecondition, "MEMBERSHIP_REFUSED")
    );

    for status in [
        client
            .promote_member(v1::PromoteMemberRequest { node_id: 9 })
            .await
            .expect_err("no such"),
        client
            .remove_member(v1::RemoveMemberRequest { node_id: 9 })
            .await
            .expect_err("no such"),
        client
            .transfer_leader(v1::TransferLeaderRequest { node_id: 9 })
            .await
            .expect_err("no such"),
    ] {
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert_eq!(common::reason(&status), "NO_SUCH_MEMBER");
        assert_eq!(common::metadata(&status, "node_id").as_deref(), Some("9"));
        assert!(status.message().contains("node 9"), "{status:?}");
    }

    let mut after = client
        .status(v1::StatusRequest {})
        .await
        .expect("a status")
        .into_inner();
    for status in [&mut before, &mut after] {
        // What time and heartbeats change.
        (status.uptime_ms, status.cluster_time_ms, status.disk_bytes) = (0, 0, 0);
        (
            status.last_log_index,
            status.committed_index,
            status.applied_index,
        ) = (0, 0, 0);
    }
    assert_eq!(after, before);
    cluster.shutdown().await;
}
