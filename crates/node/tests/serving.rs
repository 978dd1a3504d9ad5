//! Any node takes any call, health and reflection answer, and the limits hold.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use std::time::Duration;

use api::v1;
use common::{Cluster, PATIENCE, metadata, reason, take};
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_any_call() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for at in 0..3 {
        let mut leases = cluster.leases(at);
        let holder = format!("portal-{at}");
        let grant = leases
            .lease(take(&holder, 1, 20))
            .await
            .expect("a lease")
            .into_inner();
        let grant = grant.grant.expect("a grant");
        assert_eq!(
            (grant.slots, grant.target, grant.ttl_ms, grant.drift_ppm),
            (20, 20, 60_000, 10_000)
        );
        let renew = v1::RenewRequest {
            lease_id: grant.lease_id,
            seq: 2,
            kept: 15,
            wanted: 18,
        };
        let kept = leases
            .renew(renew)
            .await
            .expect("kept")
            .into_inner()
            .grant
            .expect("a grant");
        assert_eq!((kept.lease_id, kept.slots), (grant.lease_id, 18));

        // What another node answers is as new.
        let inspect = v1::InspectRequest {
            pool: "ent".into(),
            region: "normandie".into(),
            stale: false,
        };
        let other = cluster
            .leases((at + 1) % 3)
            .inspect(inspect)
            .await
            .expect("figures")
            .into_inner();
        let pool = other.pool.expect("the pool");
        assert_eq!((pool.held, pool.leases, pool.over_by), (18, 1, 0));
        assert_eq!(other.regions.len(), 1);
        assert_eq!((other.regions[0].held, other.regions[0].waiting), (18, 0));

        let give = v1::ReturnRequest {
            lease_id: grant.lease_id,
            seq: 3,
        };
        assert_eq!(
            leases
                .r#return(give)
                .await
                .expect("returned")
                .into_inner()
                .returned,
            18
        );
        let again = leases
            .r#return(give)
            .await
            .expect("the same answer")
            .into_inner();
        assert_eq!(again.returned, 18);
    }
    let follower = cluster.follower().await;
    cluster
        .leases(follower)
        .lease(take("portal", 1, 5))
        .await
        .expect("a lease");
    let request = v1::RemoveHolderRequest {
        holder: "portal".into(),
        pool: "ent".into(),
        request_id: "remove".into(),
    };
    for _ in 0..2 {
        let removed = cluster
            .budget(follower)
            .remove_holder(request.clone())
            .await;
        let removed = removed
            .expect("removed, and a retry has the same answer")
            .into_inner();
        assert_eq!((removed.leases, removed.slots), (1, 5));
    }
    let listed = cluster
        .budget(follower)
        .list_leases(v1::ListLeasesRequest::default())
        .await;
    let listed = listed.expect("leases").into_inner().leases;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].state(), v1::LeaseState::Closing);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_forwarded_once_and_stale_reads_not_at_all() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let mut request = Request::new(take("portal", 1, 1));
    request
        .metadata_mut()
        .insert("preau-forwarded", MetadataValue::from_static("1"));
    let status = cluster
        .leases(follower)
        .lease(request)
        .await
        .expect_err("forwarded already");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "NOT_LEADER")
    );
    assert_eq!(
        metadata(&status, "leader_address").as_deref(),
        Some(cluster.address(leader))
    );
    assert_eq!(
        metadata(&status, "leader_id"),
        Some((leader + 1).to_string())
    );

    // A stale read comes from what this node has applied, which soon is the same.
    let end = Instant::now() + PATIENCE;
    let mut budget = cluster.budget(follower);
    loop {
        let list = v1::ListPoolsRequest {
            stale: true,
            ..v1::ListPoolsRequest::default()
        };
        let mut request = Request::new(list);
        request
            .metadata_mut()
            .insert("preau-forwarded", MetadataValue::from_static("1"));
        let pools = budget
            .list_pools(request)
            .await
            .expect("a stale read")
            .into_inner();
        if pools.pools.len() == 1 {
            assert_eq!(pools.revision, 1);
            break;
        }
        assert!(Instant::now() < end, "the follower never got the pool");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_the_leader_and_reflection_knows_the_services() {
    let apart = Cluster::start_apart(1, |_| {}).await;
    let mut health = HealthClient::new(apart.channel(0));
    let mut leases = apart.leases(0);
    for service in ["", "preau.v1.LeaseService", "preau.v1.BudgetService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let status = health
            .check(request)
            .await
            .expect("known")
            .into_inner()
            .status();
        assert_eq!(status, ServingStatus::NotServing, "{service:?}");
    }
    let status = leases
        .lease(take("portal", 1, 1))
        .await
        .expect_err("no cluster");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "NO_CLUSTER")
    );
    let unknown = HealthCheckRequest {
        service: "x".into(),
    };
    assert_eq!(
        health.check(unknown).await.expect_err("unknown").code(),
        Code::NotFound
    );

    let mut changes = health
        .watch(HealthCheckRequest::default())
        .await
        .expect("a watch")
        .into_inner();
    let first = changes
        .message()
        .await
        .expect("a status")
        .expect("the first");
    assert_eq!(first.status(), ServingStatus::NotServing);
    let members = apart.members();
    apart
        .cluster(0)
        .init(v1::InitRequest { members })
        .await
        .expect("a cluster");
    let next = tokio::time::timeout(PATIENCE, changes.message())
        .await
        .expect("in time");
    let next = next.expect("a status").expect("the second");
    assert_eq!(next.status(), ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(apart.channel(0));
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::once(ask))
        .await;
    let answer = answers
        .expect("a stream")
        .into_inner()
        .message()
        .await
        .expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in ["LeaseService", "BudgetService", "ClusterService"] {
        assert!(names.contains(&format!("preau.v1.{name}")), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health".into()), "{names:?}");
    apart.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_is_complete() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        let status = cluster.cluster(leader).status(v1::StatusRequest {}).await;
        let status = status.expect("a status").into_inner();
        let known = |m: &v1::Member| m.matched_index >= Some(status.applied_index);
        if status.members.iter().all(known) {
            break status;
        }
        assert!(Instant::now() < end, "the others don't follow: {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let id = leader as u64 + 1;
    assert_eq!((status.node_id, status.leader_id), (id, id));
    assert_eq!(status.role(), v1::NodeRole::Leader);
    assert!(!status.cluster_id.is_empty());
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert!(status.term > 0 && status.disk_bytes > 0 && status.uptime_ms > 0);
    assert!(status.last_log_index >= status.committed_index);
    assert!(status.committed_index >= status.applied_index && status.applied_index > 0);
    let members: Vec<_> = status
        .members
        .iter()
        .map(|m| (m.node_id, m.address.as_str(), m.voter))
        .collect();
    let expected = [0, 1, 2].map(|at| (at as u64 + 1, cluster.address(at), true));
    assert_eq!(members, expected);
    assert!(
        status
            .members
            .iter()
            .all(|m| m.last_seen_ms.is_some() || m.node_id == id)
    );

    let follower = cluster.follower().await;
    let status = cluster.cluster(follower).status(v1::StatusRequest {}).await;
    let status = status.expect("a status").into_inner();
    assert_eq!(status.role(), v1::NodeRole::Follower);
    assert!(
        status
            .members
            .iter()
            .all(|m| m.matched_index.is_none() && m.last_seen_ms.is_none())
    );
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_calls_end_in_time_and_over_the_bound_they_are_told_to_wait() {
    let mut cluster = Cluster::start_with(3, |config| {
        // Long enough that the leader goes on believing that it leads.
        (config.raft.election_min_ms, config.raft.election_max_ms) = (4_000, 5_000);
        config.limits.in_flight = 2;
        config.limits.hold_streams = 1;
    })
    .await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    for at in (0..3).filter(|&at| at != leader) {
        cluster.stop(at).await;
    }
    // Nothing can be committed any more. These two are at work until their time is up...
    let mut slow = Vec::new();
    for i in 0..2 {
        let mut leases = cluster.leases(leader);
        slow.push(tokio::spawn(async move {
            loop {
                let mut request = Request::new(take(&format!("slow-{i}"), 1, 1));
                request.set_timeout(Duration::from_secs(1));
                match leases.lease(request).await.expect_err("no majority") {
                    // The one below was there first.
                    status if status.code() == Code::ResourceExhausted => {}
                    status => return status,
                }
            }
        }));
    }
    // ...and so a third finds no room, as soon as both are in.
    let end = Instant::now() + PATIENCE;
    let busy = loop {
        let mut request = Request::new(take("busy", 1, 1));
        request.set_timeout(Duration::from_millis(20));
        match cluster
            .leases(leader)
            .lease(request)
            .await
            .expect_err("no majority")
        {
            status if status.code() == Code::ResourceExhausted => break status,
            status => assert!(Instant::now() < end, "never busy: {status:?}"),
        }
    };
    assert_busy(&busy, "in_flight");
    for slow in slow {
        let status = slow.await.expect("a task");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
    }

    let (_one, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut leases = cluster.leases(leader);
    let _first = leases.hold(requests).await.expect("a stream");
    let (_two, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    assert_busy(
        &leases.hold(requests).await.expect_err("one too many"),
        "hold_streams",
    );
    cluster.shutdown().await;
}

#[track_caller]
fn assert_busy(status: &Status, limit: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(status), "TOO_BUSY");
    assert_eq!(metadata(status, "limit").as_deref(), Some(limit));
    let pause = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    assert_eq!(pause, Some(Duration::from_millis(100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let cluster = Cluster::start_with(1, |config| config.limits.connections = 16).await;
    let address = cluster.address(0).to_owned();
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(
            tokio::net::TcpStream::connect(&address)
                .await
                .expect("the kernel accepts"),
        );
    }
    let status = cluster
        .cluster(0)
        .status(v1::StatusRequest {})
        .await
        .expect_err("no room");
    // The connection is gone before the call is: the status is the caller's own.
    assert!(std::error::Error::source(&status).is_some(), "{status:?}");
    drop(idle);
    let end = Instant::now() + PATIENCE;
    while cluster
        .cluster(0)
        .status(v1::StatusRequest {})
        .await
        .is_err()
    {
        assert!(
            Instant::now() < end,
            "the places of closed connections are not free again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.shutdown().await;
}
