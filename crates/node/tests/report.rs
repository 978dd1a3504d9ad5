//! Reports: who waits, told to any node, and whom to seat.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use std::time::Duration;

use api::v1;
use api::v1::change::Change;
use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use common::{Cluster, assert_refused, take};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

async fn configure(cluster: &Cluster, id: &str, change: Change) {
    let request = v1::ConfigureRequest {
        changes: vec![v1::Change {
            change: Some(change),
        }],
        expected_revision: 0,
        request_id: id.into(),
    };
    let made = cluster
        .budget(cluster.leader().await)
        .configure(request)
        .await;
    made.expect("a change");
}

/// Two classes: teachers first.
async fn set_classes(cluster: &Cluster) {
    let class = |name: &str, first| v1::Class {
        name: name.into(),
        weight: None,
        first,
    };
    let set = v1::SetRules {
        pool: "ent".into(),
        rules: Some(v1::Rules {
            classes: vec![class("teachers", true), class("everyone", false)],
            ..v1::Rules::default()
        }),
    };
    configure(cluster, "classes", Change::SetRules(set)).await;
}

/// A lease that wants nothing yet.
async fn lease(cluster: &Cluster, at: usize, holder: &str) -> u64 {
    let answer = cluster.leases(at).lease(take(holder, 1, 0)).await;
    let grant = answer.expect("a lease").into_inner().grant;
    grant.expect("a grant").lease_id
}

fn waiting(class: &str, second: u32, users: u64) -> v1::Waiting {
    v1::Waiting {
        class: class.into(),
        buckets: vec![v1::Bucket { second, users }],
    }
}

fn report(lease_id: u64, seq: u64) -> v1::ReportRequest {
    v1::ReportRequest {
        lease_id,
        seq,
        exact_until_s: u32::MAX,
        ..v1::ReportRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_region_seats_by_class_and_a_retry_anywhere_seats_nobody_twice() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    set_classes(&cluster).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (full, late) = (
        lease(&cluster, leader, "full").await,
        lease(&cluster, leader, "late").await,
    );

    // All 100 slots go to 100 pupils at the one, while the region is open.
    let mut all = report(full, 2);
    all.waiting = vec![waiting("everyone", 0, 100)];
    let mut leases = cluster.leases(follower);
    let told = leases.report(all).await.expect("an answer").into_inner();
    let grant = told.grant.expect("a grant");
    assert_eq!((told.open, grant.slots), (true, 100), "{told:?}");
    assert_eq!(told.mode(), v1::Mode::Open);
    let classes = told.rules.expect("news").classes;
    assert_eq!(classes.len(), 2);

    // At the other a pupil and then a teacher come, and there is no room.
    let mut both = report(late, 2);
    both.rules_revision = told.rules_revision;
    both.waiting = vec![waiting("everyone", 1, 5), waiting("teachers", 2, 3)];
    let told = leases
        .report(both.clone())
        .await
        .expect("an answer")
        .into_inner();
    assert!(!told.open && told.admissions.is_empty(), "{told:?}");
    assert_eq!(told.rules, None, "known already");

    // Four sessions end: three teachers are seated, and one pupil.
    let mut fewer = report(full, 3);
    (fewer.kept, fewer.in_use, fewer.left) = (96, 96, 4);
    leases.report(fewer).await.expect("an answer");
    // Sharing is worked out at most so often.
    tokio::time::sleep(Duration::from_millis(150)).await;
    both.seq = 3;
    let told = leases
        .report(both.clone())
        .await
        .expect("an answer")
        .into_inner();
    let admitted: Vec<_> = told
        .admissions
        .iter()
        .map(|admission| (admission.class.as_str(), admission.users))
        .collect();
    assert_eq!(admitted, [("teachers", 3), ("everyone", 1)], "{told:?}");
    let again = cluster
        .leases(leader)
        .report(both)
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(
        (&again.admissions, again.grant),
        (&told.admissions, told.grant)
    );

    // All can read who still waits.
    let inspect = v1::InspectRequest {
        pool: "ent".into(),
        region: "normandie".into(),
        stale: false,
    };
    let read = leases
        .inspect(inspect)
        .await
        .expect("an answer")
        .into_inner();
    let region = &read.regions[0];
    let queues: Vec<_> = region
        .classes
        .iter()
        .map(|c| (c.class.as_str(), c.waiting))
        .collect();
    assert_eq!(queues, [("everyone", 4)]);
    assert!(!region.open);
    let listed = cluster.budget_now(follower).await.1.leases;
    let reported = listed.iter().find(|lease| lease.lease_id == late);
    let reported = reported.expect("it counts").report.expect("it reports");
    assert_eq!(reported.waiting, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_can_not_be_changes_nothing() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let follower = cluster.follower().await;
    let id = lease(&cluster, follower, "portal").await;
    let before = cluster.budget_now(follower).await;
    let mut leases = cluster.leases(follower);
    let invalid = [
        (
            v1::ReportRequest {
                waiting: vec![waiting("pupils", 1, 1)],
                ..report(id, 2)
            },
            "waiting[0].class: \"pupils\" given, expected a class of the pool's rules: [\"everyone\"]",
        ),
        (
            v1::ReportRequest {
                waiting: vec![waiting("everyone", 1, 0)],
                ..report(id, 2)
            },
            "waiting[0].buckets[0].users: 0 given, expected 1 to 4294967295",
        ),
        (
            v1::ReportRequest {
                released: vec![1; 257],
                ..report(id, 2)
            },
            "claims: 257 with released and refused given, expected at most 256 together",
        ),
        (report(id, 0), "seq: 0 given, expected at least 1"),
    ];
    for (request, message) in invalid {
        let answer = leases.report(request).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELD", message);
    }
    for (field, request) in [
        (
            "kept",
            v1::ReportRequest {
                kept: 1,
                ..report(id, 2)
            },
        ),
        (
            "in_use",
            v1::ReportRequest {
                in_use: 1,
                ..report(id, 2)
            },
        ),
        (
            "floor",
            v1::ReportRequest {
                floor: 1,
                ..report(id, 2)
            },
        ),
    ] {
        let status = leases.report(request).await.expect_err(field);
        assert_eq!(
            common::metadata(&status, "field").as_deref(),
            Some(field),
            "{status:?}"
        );
    }
    let unknown = leases.report(report(id + 1_000, 2)).await;
    assert_refused(
        unknown,
        Code::NotFound,
        "NO_SUCH_LEASE",
        &format!(
            "lease {} is not known: it ended, or never was; take a new one",
            id + 1_000
        ),
    );
    assert_eq!(cluster.budget_now(follower).await, before);

    // From its first report on a renewal is refused; another life of the holder begins anew.
    leases.report(report(id, 2)).await.expect("an answer");
    let renew = |seq| v1::RenewRequest {
        lease_id: id,
        seq,
        kept: 0,
        wanted: 0,
    };
    assert_refused(
        leases.renew(renew(3)).await,
        Code::FailedPrecondition,
        "LEASE_REPORTS",
        &format!("lease {id} reports: report again, or take another with a higher epoch"),
    );
    let anew = v1::LeaseRequest {
        epoch: 2,
        ..take("portal", 1, 0)
    };
    let grant = leases.lease(anew).await.expect("a lease").into_inner();
    let plain = v1::RenewRequest {
        lease_id: grant.grant.expect("a grant").lease_id,
        ..renew(2)
    };
    leases.renew(plain).await.expect("a grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_reports_of_any_allowed_size() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    // As many classes as may be, with names as long as may be.
    let names: Vec<String> = (0..16).map(|i| format!("{i:0>128}")).collect();
    let class = |name: &String| v1::Class {
        name: name.clone(),
        weight: Some(1_000_000),
        first: false,
    };
    let set = v1::SetRules {
        pool: "ent".into(),
        rules: Some(v1::Rules {
            classes: names.iter().map(class).collect(),
            ..v1::Rules::default()
        }),
    };
    configure(&cluster, "classes", Change::SetRules(set)).await;
    let follower = cluster.follower().await;
    let id = lease(&cluster, follower, "portal").await;
    let bucket = |n: u32| v1::Bucket {
        second: u32::MAX - 10 + n,
        users: 1_000_000,
    };
    let longest = v1::ReportRequest {
        waiting: names
            .iter()
            .map(|class| v1::Waiting {
                class: class.clone(),
                buckets: (0..8).map(bucket).collect(),
            })
            .collect(),
        left: 1_000_000_000_000,
        claims: (0..256)
            .map(|n| v1::Claim {
                id: u64::MAX - n,
                issuer: u32::MAX,
            })
            .collect(),
        ..report(id, 2)
    };
    let (up, requests) = mpsc::channel(1);
    let stream = cluster
        .leases(follower)
        .hold(ReceiverStream::new(requests))
        .await;
    let mut down = stream.expect("a stream").into_inner();
    let asked = v1::HoldRequest {
        tag: 7,
        request: Some(Asked::Report(longest)),
    };
    up.send(asked).await.expect("the stream is open");
    let answer = down.message().await.expect("an answer").expect("an answer");
    let Some(Answer::Reported(told)) = answer.response else {
        panic!("not reported: {answer:?}");
    };
    assert_eq!((answer.tag, told.claims.len()), (7, 256));
    assert_eq!(told.grant.expect("a grant").lease_id, id);
}
