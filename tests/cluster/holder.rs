//! The front-end's library, on a cluster that fails around it.

use std::time::{Duration, Instant};

use client::Holder;
use tokio::time::sleep;

use crate::harness::{Cluster, eventually};

const TTL: Duration = Duration::from_secs(6);
const SEATS: u64 = 10;
/// How old what [`Holder::status`] says may be.
const STATUS_AGE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_leader_and_stops_in_time() {
    let mut cluster = Cluster::start(&[]).await;
    let ttl = TTL.as_millis().to_string();
    cluster.run(&["pool", "set", "ent", "--capacity", "100", "--ttl-ms", &ttl]);
    cluster.run(&["region", "set", "ent", "normandie", "--nominal", "50"]);
    let holder = Holder::connect(cluster.addresses())
        .pool("ent")
        .region("normandie")
        .name("portal-7")
        .await
        .unwrap();
    let mut seats = Vec::new();
    eventually("seats", || {
        seats.extend(holder.try_seat());
        let enough = seats.len() as u64 == SEATS;
        async move { enough.then_some(()).ok_or("too few".to_owned()) }
    })
    .await;

    // The leader dies: the holder renews with the next one, and no seat is ever without a slot.
    let leader = cluster.leader().await;
    let lease = cluster.leases("ent").await.remove(0);
    cluster.kill(leader);
    let failed_over = async {
        cluster.leader().await;
        eventually("a renewal", || async {
            let now = cluster.leases("ent").await.remove(0);
            (now.lease_id == lease.lease_id && now.seq > lease.seq + 1)
                .then_some(())
                .ok_or(format!("{now:?}"))
        })
        .await;
    };
    tokio::select! {
        () = failed_over => {}
        overdue = holder.overdue() => panic!("{overdue} seats without a slot"),
    }
    assert_eq!(holder.status().in_use, SEATS);
    assert!(holder.status().slots >= SEATS);

    // All die: the holder goes on until its lease has run out, not shorter and not longer.
    for id in cluster.running() {
        cluster.kill(id);
    }
    // An answer that was under way has arrived by then.
    sleep(Duration::from_millis(300)).await;
    let (asked, status) = (Instant::now(), holder.status());
    let latest = asked + status.expires_in;
    let earliest = latest - STATUS_AGE - Duration::from_millis(1);
    assert!(status.expires_in <= TTL.mul_f64(0.99), "{status:?}");
    while Instant::now() < earliest - STATUS_AGE {
        let (seat, at) = (holder.try_seat(), Instant::now());
        if at < earliest {
            assert!(seat.is_some(), "out {:?} early", earliest - at);
        }
        drop(seat);
        sleep(Duration::from_millis(5)).await;
    }
    sleep(latest.saturating_duration_since(Instant::now())).await;
    assert!(holder.try_seat().is_none(), "a seat after the lease's end");
    let overdue = tokio::time::timeout(Duration::from_secs(1), holder.overdue()).await;
    assert_eq!(overdue, Ok(SEATS));
}
