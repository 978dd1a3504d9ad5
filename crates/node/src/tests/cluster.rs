use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_agree_and_survive_their_leader() {
    let mut cluster = Cluster::founded(3, |_| ()).await;
    assert!(cluster.propose(budget()).await.is_ok());
    for holder in 0..20 {
        assert!(granted(
            &cluster.propose(take(&format!("h{holder}"), 1)).await
        ));
    }
    cluster.agree().await;
    let first = cluster.leader().await;
    let other = first % 3 + 1;
    let refused = cluster.core(other).propose(take("h0", 2)).await;
    let leader = Some((first, cluster.address(first)));
    assert_eq!(refused, Err(ProposeError::NotLeader { leader }));

    let config = cluster.take(first).kill().await;
    let start = Instant::now();
    assert!(granted(&cluster.propose(take("h0", 2)).await));
    let gap = start.elapsed();
    assert!(gap < Duration::from_secs(15), "{gap:?}");
    let second = cluster.leader().await;
    assert_ne!(second, first);
    cluster.core(second).read_barrier().await.unwrap();
    let held = cluster
        .core(second)
        .with_state(|state| state.pool("ent").unwrap().held);
    assert_eq!(held, 200);

    cluster.start(config).await;
    cluster.agree().await;
    assert_eq!(
        snapshot(cluster.core(first)),
        snapshot(cluster.core(second))
    );
    cluster.stop().await;
}
