//! Nodes that go and come back: requests have one effect, and nothing acknowledged is lost.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use std::time::Duration;

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use common::{Cluster, PATIENCE, reason, take};
use tokio::time::Instant;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_elsewhere_gets_the_same_answer() {
    let mut cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let request = take("portal", 1, 10);
    let granted = cluster
        .leases(leader)
        .lease(request.clone())
        .await
        .expect("a lease")
        .into_inner();
    let configure = v1::ConfigureRequest {
        changes: vec![v1::Change {
            change: Some(v1::change::Change::SetPool(v1::SetPool {
                name: "ent".into(),
                capacity: 90,
                ttl_ms: None,
                drift_ppm: None,
            })),
        }],
        expected_revision: 1,
        request_id: "lower".into(),
    };
    let configured = cluster.budget(leader).configure(configure.clone()).await;
    let configured = configured.expect("configured").into_inner();
    let before = cluster.budget_now(leader).await;
    cluster.stop(leader).await;

    let next = cluster.leader().await;
    assert_ne!(next, leader);
    for at in cluster.up() {
        let again = cluster
            .leases(at)
            .lease(request.clone())
            .await
            .expect("the same")
            .into_inner();
        assert_eq!(again, granted);
        let again = cluster
            .budget(at)
            .configure(configure.clone())
            .await
            .expect("the same");
        assert_eq!(again.into_inner(), configured);
        assert_eq!(cluster.budget_now(at).await, before);
    }

    // The node that was away has all of it again.
    cluster.restart(leader).await;
    cluster.leader().await;
    assert_eq!(cluster.budget_now(leader).await, before);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_all_stop() {
    let mut cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for i in 0..10 {
        cluster
            .leases(i % 3)
            .lease(take(&format!("portal-{i}"), 1, 3))
            .await
            .expect("a lease");
    }
    let before = cluster.budget_now(0).await;
    assert_eq!(before.1.leases.len(), 10);
    for at in 0..3 {
        cluster.stop(at).await;
    }
    for at in 0..3 {
        cluster.restart(at).await;
    }
    cluster.leader().await;
    assert_eq!(cluster.budget_now(0).await, before);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_and_finishes_what_is_at_work() {
    let mut cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let nodes = client::Nodes::new((0..3).map(|at| cluster.address(at))).expect("addresses");
    let mut workers = Vec::new();
    for worker in 0..8 {
        let nodes = nodes.clone();
        workers.push(tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            for seq in 1..=100 {
                let began = Instant::now();
                let request = take(&format!("portal-{worker}"), seq, 1);
                let answer = nodes.call(PATIENCE, |channel| {
                    let mut client = LeaseServiceClient::new(channel);
                    let request = request.clone();
                    async move { client.lease(request).await }
                });
                let grant = answer
                    .await
                    .expect("an answer")
                    .into_inner()
                    .grant
                    .expect("a grant");
                assert_eq!(grant.slots, 1);
                longest = longest.max(began.elapsed());
            }
            longest
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.stop(leader).await;
    for worker in workers {
        let longest = worker.await.expect("no worker fails");
        assert!(longest < PATIENCE, "{longest:?}");
    }
    let listed = cluster.budget_now(cluster.up()[0]).await.1.leases;
    assert_eq!(listed.len(), 8);
    assert!(
        listed
            .iter()
            .all(|lease| lease.seq == 100 && lease.slots == 1),
        "{listed:?}"
    );
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_transferred_and_members_come_and_go() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let to = cluster.follower().await as u64 + 1;
    // Asked of any node, the leader included. It waits for a voter that has caught up.
    let end = Instant::now() + PATIENCE;
    let moved = loop {
        let request = v1::TransferLeaderRequest { node_id: to };
        match cluster.cluster(leader).transfer_leader(request).await {
            Ok(moved) => break moved,
            Err(status) => {
                assert_eq!(reason(&status), "MEMBERSHIP_REFUSED", "{status:?}");
                assert!(Instant::now() < end, "{status:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    assert_eq!(moved.into_inner().leader_id, to);
    assert_eq!(cluster.leader().await as u64 + 1, to);

    let follower = cluster.follower().await;
    let again = v1::InitRequest {
        members: cluster.members(),
    };
    let status = cluster
        .cluster(follower)
        .init(again)
        .await
        .expect_err("it has a cluster");
    assert_eq!(reason(&status), "MEMBERSHIP_REFUSED");

    let added = Cluster::start_apart(4, |_| {}).await;
    let member = v1::MemberAddress {
        node_id: 4,
        address: added.address(3).to_owned(),
    };
    let mut client = cluster.cluster(follower);
    let add = v1::AddMemberRequest {
        member: Some(member),
    };
    client.add_member(add.clone()).await.expect("a learner");
    client
        .add_member(add)
        .await
        .expect("a retry has one effect");
    let end = Instant::now() + PATIENCE;
    loop {
        match client
            .promote_member(v1::PromoteMemberRequest { node_id: 4 })
            .await
        {
            Ok(_) => break,
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
                assert_eq!(reason(&status), "MEMBERSHIP_REFUSED");
                assert!(Instant::now() < end, "{status:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let removed = v1::RemoveMemberRequest {
        node_id: leader as u64 + 1,
    };
    client.remove_member(removed).await.expect("removed");
    let expected: Vec<u64> = (1..=4).filter(|id| *id != leader as u64 + 1).collect();
    let mut client = cluster.cluster(to as usize - 1);
    loop {
        let status = client.status(v1::StatusRequest {}).await.expect("a status");
        let members = status.into_inner().members;
        if members
            .iter()
            .map(|m| m.node_id)
            .eq(expected.iter().copied())
        {
            assert!(members.iter().all(|m| m.voter), "{members:?}");
            break;
        }
        assert!(Instant::now() < end, "not removed: {members:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The new member serves as any other does.
    let grant = added
        .leases(3)
        .lease(take("portal", 1, 10))
        .await
        .expect("a lease")
        .into_inner();
    assert_eq!(grant.grant.expect("a grant").slots, 10);
    cluster.shutdown().await;
    added.shutdown().await;
}
