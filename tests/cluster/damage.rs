//! A byte rots on the disk of a node that is stopped.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::{Cluster, eventually, files};
use crate::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_is_damaged_says_so_and_does_not_start() {
    let mut cluster = Cluster::start(&[]).await;
    let load = Load::start(&cluster, 2);
    load.check(&cluster).await;
    sleep(Duration::from_millis(300)).await;
    let damaged = if cluster.leader().await == 3 { 2 } else { 3 };
    assert!(cluster.terminate(damaged).await.success());

    // A byte in the midst of an entry: part of the name of a holder that took a lease.
    let name = b"bench-17";
    let mut flipped = None;
    for file in files(&cluster.data(damaged).join("log")) {
        let mut bytes = std::fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes[at] ^= 0x01;
            std::fs::write(&file, bytes).unwrap();
            flipped = Some(file);
            break;
        }
    }
    let file = flipped.expect("an entry that names the holder");

    cluster.spawn(damaged);
    let status = cluster.ended(damaged).await;
    assert_eq!(status.code(), Some(1), "{status}");
    let said = cluster.said(damaged);
    let last = said.lines().last().unwrap();
    println!("{last}");
    for part in [
        file.parent().unwrap().to_str().unwrap(),
        "is damaged",
        "under a new node id",
    ] {
        assert!(last.contains(part), "{part:?} is missing: {said}");
    }

    // The others go on.
    eventually("a lease", || async {
        let ran = cluster.preau(&["pool", "set", "other", "--capacity", "5"]);
        ran.status
            .success()
            .then_some(())
            .ok_or(crate::harness::said(&ran))
    })
    .await;
}
