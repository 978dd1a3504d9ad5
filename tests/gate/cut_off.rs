//! No node answers: the lease is used to its end, then the floor, and people are told what is the matter.

use std::time::{Duration, Instant};

use crate::harness::eventually;
use crate::probe::{BROWSER, Visitor};
use crate::site::{POOL, REGION, Site};

/// A lease lasts for ten seconds from the last report, which is made every second or two.
const LASTS: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_used_to_its_end_then_the_floor_and_nobody_is_told_otherwise() {
    let mut site = Site::start(3, 1).await;
    let region = [
        "region",
        "set",
        POOL,
        REGION,
        "--nominal",
        "2",
        "--floor",
        "1",
    ];
    site.cluster.run(&region);
    let port = site.gate(0).port;
    let [mut first, mut second, mut third] = [(); 3].map(|()| Visitor::new(port));
    first.get_in().await;
    // Sessions that begin in the same second are as old as each other.
    tokio::time::sleep(Duration::from_secs(2)).await;
    second.get_in().await;
    for (path, status) in [("/", 303), ("/preau/enter?to=/", 503)] {
        assert_eq!(third.get(path, BROWSER).await.unwrap().status, status);
    }
    assert_eq!(third.state().await, "waiting");

    let cut_off = Instant::now();
    for id in 1..=3 {
        site.cluster.kill(id);
    }
    loop {
        assert_eq!(first.state().await, "seated");
        match second.state().await.as_str() {
            "seated" => tokio::time::sleep(Duration::from_millis(50)).await,
            // The newest: the floor is one.
            "unreachable" => break,
            other => panic!("{other} after {:?}", cut_off.elapsed()),
        }
        assert!(
            cut_off.elapsed() < Duration::from_secs(20),
            "the lease has no end"
        );
    }
    assert!(cut_off.elapsed() > LASTS, "only {:?}", cut_off.elapsed());
    let page = second.get("/", BROWSER).await.unwrap();
    assert_eq!(page.status, 503);
    assert_eq!(first.get("/", BROWSER).await.unwrap().status, 200);
    assert_eq!(third.state().await, "unreachable");

    for id in 1..=3 {
        site.cluster.spawn(id);
    }
    site.cluster.leader().await;
    assert_eq!(first.state().await, "seated");
    // By the ticket that was there before.
    third.get_in().await;
    assert_eq!(first.get("/", BROWSER).await.unwrap().status, 200);
    // Whose session no lease covered any more is told so, and may queue again.
    eventually("the end is told", || async {
        let state = second.clone().state().await;
        (state == "over").then_some(()).ok_or(state)
    })
    .await;
}
