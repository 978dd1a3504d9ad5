//! Nodes come and go: a follower that lost its disk, a fourth node under load.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::{Cluster, eventually};
use crate::load::Load;

/// Snapshots often enough for the log's beginning to be gone within seconds.
const PURGE_SOON: &[&str] = &[
    "--raft-snapshot-every",
    "100",
    "--raft-keep-entries",
    "20",
    "--limits-group-commands",
    "8",
];

/// Waits until the beginning of the leader's log is purged, so that a new node needs a snapshot.
async fn purged(cluster: &Cluster) {
    let leader = cluster.leader().await;
    eventually("a purge", || async {
        let status = cluster.status(leader).await.ok_or("no answer")?;
        (status.purged_index > 0)
            .then_some(())
            .ok_or(format!("{status:?}"))
    })
    .await;
}

/// Waits until a node has a snapshot of others' entries, and all that the leader had committed.
async fn caught_up_by_snapshot(cluster: &Cluster, id: u64) {
    let leader = cluster.leader().await;
    let committed = cluster.status(leader).await.unwrap().committed_index;
    let status = eventually("to catch up", || async {
        let status = cluster.status(id).await.ok_or("no answer")?;
        (status.applied_index >= committed)
            .then_some(status.clone())
            .ok_or(format!("{status:?}"))
    })
    .await;
    assert!(status.snapshot_index > 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_catches_up_by_snapshot() {
    let mut cluster = Cluster::start(PURGE_SOON).await;
    let load = Load::start(&cluster, 3);
    sleep(Duration::from_secs(1)).await;
    purged(&cluster).await;
    load.check(&cluster).await;

    let lost = if cluster.leader().await == 3 { 2 } else { 3 };
    cluster.kill(lost);
    cluster.wipe(lost);
    cluster
        .run_eventually(&["member", "remove", &lost.to_string()])
        .await;
    cluster.add(4);
    let member = format!("4={}", cluster.address(4));
    cluster.run_eventually(&["member", "add", &member]).await;
    caught_up_by_snapshot(&cluster, 4).await;
    cluster.run_eventually(&["member", "promote", "4"]).await;

    // It has what the leader has, and its vote counts: with the other follower gone too, the budget can
    // still change.
    let leader = cluster.leader().await;
    let others = cluster
        .running()
        .into_iter()
        .find(|id| ![4, leader].contains(id));
    cluster.kill(others.unwrap());
    cluster
        .run_eventually(&["pool", "set", "bench", "--capacity", "7777"])
        .await;
    eventually("the same pool on both", || async {
        let (here, there) = (
            cluster.pool_at(4, "bench").await?,
            cluster.pool_at(leader, "bench").await?,
        );
        let changed = here
            .status
            .as_ref()
            .is_some_and(|pool| pool.capacity == 7_777);
        (changed && here == there)
            .then_some(())
            .ok_or(format!("{here:?}\n{there:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_joins_and_the_first_is_removed_under_load() {
    let mut cluster = Cluster::start(PURGE_SOON).await;
    let load = Load::start(&cluster, 10);
    sleep(Duration::from_secs(1)).await;
    purged(&cluster).await;
    cluster.add(4);
    let member = format!("4={}", cluster.address(4));
    cluster.run_eventually(&["member", "add", &member]).await;
    caught_up_by_snapshot(&cluster, 4).await;
    cluster.run_eventually(&["member", "promote", "4"]).await;
    cluster.run_eventually(&["member", "remove", "1"]).await;
    cluster.kill(1);
    let service = load.check(&cluster).await;
    println!("node 4 in for node 1: {service}");

    let leader = cluster.leader().await;
    let status = cluster.status(leader).await.unwrap();
    let members: Vec<_> = status
        .members
        .iter()
        .map(|member| (member.node_id, member.voter))
        .collect();
    assert_eq!(members, [(2, true), (3, true), (4, true)]);
}
