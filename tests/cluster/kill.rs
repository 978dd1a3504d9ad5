//! Nodes die under load, one and all, or are told to stop.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::Cluster;
use crate::load::Load;

/// Long enough for an election or two on a slow machine: the gap is printed, and not the point.
const LONGEST_GAP: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn kill_the_leader_and_lose_nothing() {
    let mut cluster = Cluster::start(&[]).await;
    let load = Load::start(&cluster, 8);
    sleep(Duration::from_millis(2_500)).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    cluster.spawn(leader);
    let service = load.check(&cluster).await;
    println!("leader killed: {service}");
    assert!(service.gap < LONGEST_GAP, "{service}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_all_three_and_lose_nothing() {
    let mut cluster = Cluster::start(&[]).await;
    let load = Load::start(&cluster, 8);
    sleep(Duration::from_millis(2_500)).await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.spawn(id);
    }
    cluster.leader().await;
    let service = load.check(&cluster).await;
    println!("all three killed and started again: {service}");
    assert!(service.gap < LONGEST_GAP, "{service}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over() {
    let mut cluster = Cluster::start(&[]).await;
    let load = Load::start(&cluster, 6);
    sleep(Duration::from_millis(2_500)).await;
    let leader = cluster.leader().await;
    let status = cluster.terminate(leader).await;
    assert!(status.success(), "{status}: {}", cluster.said(leader));
    assert_ne!(cluster.leader().await, leader);
    let service = load.check(&cluster).await;
    println!("leader stopped with SIGTERM: {service}");
    // No silence and election first: on an idle machine it is well below a second.
    assert!(service.gap < Duration::from_secs(3), "{service}");
}
