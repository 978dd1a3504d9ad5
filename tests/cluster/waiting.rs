//! Operators' words and the calendar, on a cluster whose leader dies.

use std::time::Duration;

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use client::Nodes;
use jiff::Timestamp;
use tokio::time::sleep;

use crate::harness::{Cluster, eventually};

const REASON: &str = "the portal is being repaired; your place is kept";

/// Reports to one node that somebody waits, and gives what it answers.
async fn report(cluster: &Cluster, at: u64, lease_id: u64, seq: u64) -> v1::ReportResponse {
    let request = v1::ReportRequest {
        lease_id,
        seq,
        waiting: vec![v1::Waiting {
            class: "everyone".into(),
            buckets: vec![v1::Bucket {
                second: 0,
                users: 3,
            }],
        }],
        exact_until_s: u32::MAX,
        ..v1::ReportRequest::default()
    };
    Nodes::new([cluster.address(at)])
        .unwrap()
        .call(Duration::from_secs(5), |channel| {
            let request = request.clone();
            async move {
                let mut service = LeaseServiceClient::new(channel);
                Ok(service.report(request).await?.into_inner())
            }
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_with_its_reason_through_any_node() {
    let cluster = Cluster::start(&[]).await;
    cluster.run(&["pool", "set", "ent", "--capacity", "100"]);
    cluster.run(&["region", "set", "ent", "normandie", "--nominal", "50"]);
    let leader = cluster.leader().await;
    let follower = cluster.running().into_iter().find(|&id| id != leader);
    let follower = follower.unwrap();
    let take = v1::LeaseRequest {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: "portal-7".into(),
        epoch: 1,
        seq: 1,
        wanted: 0,
    };
    let grant = cluster
        .nodes()
        .call(Duration::from_secs(5), |channel| {
            let take = take.clone();
            async move {
                let mut service = LeaseServiceClient::new(channel);
                Ok(service.lease(take).await?.into_inner())
            }
        })
        .await
        .unwrap()
        .grant
        .unwrap();

    cluster.run(&["pool", "pause", "ent", "--reason", REASON]);
    let told = report(&cluster, follower, grant.lease_id, 2).await;
    assert_eq!(
        (told.mode(), told.reason.as_str()),
        (v1::Mode::Paused, REASON)
    );
    assert!(!told.open && told.admissions.is_empty(), "{told:?}");
    let rules = told.rules.expect("they are news");
    assert_eq!(rules.classes[0].name, "everyone");
    // The same report again, to another node, has the same answer in all that counts.
    let again = report(&cluster, leader, grant.lease_id, 2).await;
    assert_eq!((again.grant, again.open), (told.grant, told.open));

    cluster.run(&["pool", "open", "ent"]);
    let mut seq = 2;
    let seated = eventually("all are seated", || {
        seq += 1;
        let (cluster, lease_id) = (&cluster, grant.lease_id);
        async move {
            let told = report(cluster, follower, lease_id, seq).await;
            let seated: u64 = told.admissions.iter().map(|admit| admit.users).sum();
            (seated == 3)
                .then_some(told.clone())
                .ok_or(format!("{told:?}"))
        }
    })
    .await;
    assert_eq!(seated.mode(), v1::Mode::Open);
    assert_eq!(seated.admissions[0].class, "everyone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calendar_acts_once_though_the_leader_dies() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.run(&["pool", "set", "ent", "--capacity", "100"]);
    let due_s = Timestamp::now().as_second() + 3;
    let at = Timestamp::from_second(due_s).unwrap();
    let file = cluster.file("budget.toml");
    let text = format!(
        "[[pool]]\nname = \"ent\"\ncapacity = 100\n[[pool.calendar]]\nname = \"cut\"\nat = \"{at}\"\n\
         action = \"capacity\"\ncapacity = 60\n"
    );
    std::fs::write(&file, text).unwrap();
    cluster.run(&["apply", "-f", file.to_str().unwrap()]);

    // The leader dies just before it is due, and comes back when another has seen to it.
    let leader = cluster.leader().await;
    while Timestamp::now().as_second() < due_s - 1 {
        sleep(Duration::from_millis(20)).await;
    }
    cluster.kill(leader);
    let next = cluster.leader().await;
    eventually("the capacity is cut", || async {
        let pool = cluster.pool_at(next, "ent").await?;
        let status = pool.status.as_ref().unwrap();
        (status.capacity == 60)
            .then_some(())
            .ok_or(format!("{pool:?}"))
    })
    .await;
    assert!(Timestamp::now().as_second() >= due_s, "too early");
    let pool = cluster.pool_at(next, "ent").await.unwrap();
    assert_eq!(pool.calendar[0].last_unix_s, Some(due_s));

    // An operator decides otherwise, and is not overruled: not by the node that comes back, and not by
    // another that leads after it.
    cluster.run(&["pool", "capacity", "ent", "80"]);
    cluster.spawn(leader);
    eventually("the node is back", || async {
        let here = cluster.pool_at(leader, "ent").await?;
        let status = here.status.as_ref().unwrap();
        (status.capacity == 80)
            .then_some(())
            .ok_or("not yet".to_owned())
    })
    .await;
    cluster.run_eventually(&["leader", "transfer"]).await;
    cluster.leader().await;
    sleep(Duration::from_secs(1)).await;
    let now = cluster.leader().await;
    let pool = cluster.pool_at(now, "ent").await.unwrap();
    assert_eq!(pool.status.unwrap().capacity, 80);
    assert_eq!(pool.calendar[0].last_unix_s, Some(due_s));
}
