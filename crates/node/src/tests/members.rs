use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::membership::MemberError;

/// Snapshots and purges that come often enough to be seen here.
fn often(config: &mut Config) {
    config.raft.snapshot_every = 100;
    config.raft.keep_entries = 50;
}

/// Leases taken without a pause by some holders at a time, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(cores: Vec<Core>, holders: usize) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let tasks = (0..holders).map(|at| {
            let (cores, stop, done) = (cores.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let holder = format!("load-{at}-{number}");
                    for core in cores.iter().cycle() {
                        match core.propose(take(&holder, 1)).await {
                            Ok(outcome) => {
                                assert!(granted(&outcome), "{outcome:?}");
                                break;
                            }
                            Err(_) if stop.load(Ordering::Relaxed) => return acknowledged,
                            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    acknowledged.push(holder);
                }
                acknowledged
            })
        });
        let tasks = tasks.collect();
        Self { stop, done, tasks }
    }

    async fn reaches(&self, count: u64) {
        let reached = || async { (self.done.load(Ordering::Relaxed) >= count).then_some(()) };
        eventually("the load to go on", reached).await;
    }

    /// Whom a lease was acknowledged to.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut holders = Vec::new();
        for task in self.tasks {
            holders.extend(task.await.unwrap());
        }
        holders
    }
}

fn has_all(core: &Core, holders: &[String]) {
    core.with_state(|state| {
        for holder in holders {
            let leases = state.leases("ent", None, Some(holder), None, 10);
            assert_eq!(leases.len(), 1, "{holder}: {leases:?}");
        }
    });
}

fn refused(result: Result<impl std::fmt::Debug, MemberError>) -> String {
    match result {
        Err(MemberError::Refused(why) | MemberError::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A fourth member gets a snapshot, becomes a voter, and the one that led leaves, all under load.
#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_joins_and_the_leader_leaves_under_load() {
    let mut cluster = Cluster::founded(3, often).await;
    assert!(cluster.propose(budget()).await.is_ok());
    cluster.add(4).await;
    let cores = (1..=4).map(|id| cluster.core(id).clone()).collect();
    let load = Load::start(cores, 8);
    load.reaches(1_000).await;
    let purged = || async { (cluster.core(1).status().purged_index > 0).then_some(()) };
    eventually("the log to be purged", purged).await;

    let first = cluster.leader_of(&[1, 2, 3]).await;
    let leader = cluster.core(first).clone();
    leader.add_learner(4, cluster.address(4)).await.unwrap();
    eventually("the learner to catch up", || async {
        leader.promote(4).await.ok()
    })
    .await;
    assert!(cluster.core(4).status().snapshot_index > 0);
    assert!(!cluster.core(4).status().disk_bytes.eq(&0));

    leader.remove(first).await.unwrap();
    let second = eventually("the others to go on", || async {
        let others = (1..=4).filter(|id| *id != first);
        others.into_iter().find(|id| cluster.member(*id).leads())
    })
    .await;
    let members = cluster.core(second).status().members;
    let ids: Vec<u64> = members.iter().map(|member| member.node_id).collect();
    assert_eq!(ids, (1..=4).filter(|id| *id != first).collect::<Vec<_>>());
    assert!(members.iter().all(|member| member.voter));
    let so_far = load.done.load(Ordering::Relaxed);
    load.reaches(so_far + 200).await;
    let holders = load.stop().await;

    let gone = cluster.take(first);
    assert_eq!(gone.core.stopped().borrow().clone(), None);
    gone.stop().await;
    cluster.agree().await;
    for member in cluster.up() {
        assert_eq!(member.core.stopped().borrow().clone(), None);
        has_all(&member.core, &holders);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_gets_a_snapshot_under_load() {
    let mut cluster = Cluster::founded(3, often).await;
    assert!(cluster.propose(budget()).await.is_ok());
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    let config = cluster.take(away).kill().await;
    let cores = cluster.up().map(|member| member.core.clone()).collect();
    let load = Load::start(cores, 8);
    let last = cluster.core(leader).status().last_log_index;
    for _ in 0..3 {
        let so_far = load.done.load(Ordering::Relaxed);
        load.reaches(so_far + 500).await;
    }
    let purged = || async { (cluster.core(leader).status().purged_index > last).then_some(()) };
    eventually("the log to be purged", purged).await;
    cluster.start(config).await;
    let behind = |cluster: &Cluster| {
        let status = cluster.core(leader).status();
        status.last_log_index - cluster.core(away).status().applied_index
    };
    eventually("the follower to catch up", || async {
        (behind(&cluster) < 100).then_some(())
    })
    .await;
    let holders = load.stop().await;
    cluster.agree().await;
    has_all(cluster.core(away), &holders);
    cluster.stop().await;
}

/// A voter with an empty directory could vote twice. It refuses, says what to do, and that works.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_voter_refuses_and_comes_back_under_a_new_id() {
    let mut cluster = Cluster::founded(3, often).await;
    assert!(cluster.propose(budget()).await.is_ok());
    let leader = cluster.leader().await;
    let wiped = leader % 3 + 1;
    let config = cluster.take(wiped).kill().await;
    std::fs::remove_dir_all(&config.data_dir).unwrap();
    cluster.start(config).await;
    let mut stopped = cluster.core(wiped).stopped();
    let why = stopped
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(
        why.contains(&format!("`preau member remove {wiped}`")),
        "{why}"
    );
    assert!(why.contains("has forgotten how it voted"), "{why}");
    assert_eq!(
        cluster.core(wiped).status().role,
        crate::core::Role::Uninitialized
    );
    assert!(cluster.core(leader).propose(take("h", 1)).await.is_ok());

    cluster.take(wiped).stop().await;
    cluster.core(leader).remove(wiped).await.unwrap();
    cluster.add(4).await;
    let address = cluster.address(4);
    cluster
        .core(leader)
        .add_learner(4, address.clone())
        .await
        .unwrap();
    cluster.core(leader).add_learner(4, address).await.unwrap();
    eventually("the new one to catch up", || async {
        cluster.core(leader).promote(4).await.ok()
    })
    .await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_learner_begins_anew() {
    let mut cluster = Cluster::founded(1, |config| {
        often(config);
        config.limits.in_flight = 50_000;
    })
    .await;
    assert!(cluster.propose(budget()).await.is_ok());
    cluster.add(2).await;
    cluster
        .core(1)
        .add_learner(2, cluster.address(2))
        .await
        .unwrap();
    // Enough for a snapshot of several chunks, and enough entries for the log to be purged.
    let core = cluster.core(1).clone();
    let many = (0..30_000).map(|at| core.propose(take(&format!("holder-{at}"), 1)));
    let many = futures_util::future::join_all(many).await;
    assert!(many.iter().all(|one| one.as_ref().is_ok_and(granted)));
    for holder in 0..300 {
        cluster
            .propose(take(&format!("h{holder}"), 1))
            .await
            .unwrap();
    }
    let purged = || async { (core.status().purged_index > 100).then_some(()) };
    eventually("the log to be purged", purged).await;
    assert!(core.inner.store.snapshots().latest().unwrap().len > 1 << 20);
    cluster.agree().await;
    let config = cluster.take(2).kill().await;
    std::fs::remove_dir_all(&config.data_dir).unwrap();
    cluster.start(config).await;
    cluster.agree().await;
    assert!(granted(&cluster.propose(take("h0", 2)).await));
    cluster.agree().await;
    assert_eq!(cluster.core(1).stopped().borrow().clone(), None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over() {
    let mut cluster = Cluster::founded(3, |_| ()).await;
    assert!(cluster.propose(budget()).await.is_ok());
    cluster.agree().await;
    let first = cluster.leader().await;
    let to = first % 3 + 1;
    let start = Instant::now();
    assert_eq!(cluster.core(first).transfer(to).await, Ok(to));
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(cluster.leader().await, to);
    assert!(granted(&cluster.propose(take("h", 1)).await));
    let refused_by = cluster.core(first).transfer(to).await;
    assert!(
        matches!(refused_by, Err(MemberError::NotLeader { leader: Some((id, _)) }) if id == to)
    );
    let missing = cluster.core(to).transfer(9).await;
    assert_eq!(missing, Err(MemberError::NoSuchMember(9)));

    // A member that is asked to stop hands over before.
    let member = cluster.take(to);
    let start = Instant::now();
    let config = member.stop().await;
    let next = cluster.leader().await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_ne!(next, to);
    cluster.start(config).await;
    assert!(granted(&cluster.propose(take("h", 2)).await));
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let cluster = Cluster::unfounded(3, |_| ()).await;
    let core = cluster.core(1).clone();
    let here = |id: u64| (id, cluster.address(id));
    let unfounded = core.propose(budget()).await;
    assert_eq!(unfounded, Err(ProposeError::NotLeader { leader: None }));
    let init = |members: Vec<(u64, String)>| {
        let core = core.clone();
        async move { core.init(members).await.unwrap_err().to_string() }
    };
    assert_eq!(
        init(vec![]).await,
        "members: none given, expected node 1, which is asked, among them"
    );
    assert_eq!(
        init(vec![here(2), here(3)]).await,
        "members: 2, 3 given, expected node 1, which is asked, among them"
    );
    assert_eq!(
        init(vec![here(1), (0, "a:1".into())]).await,
        "members[1].node_id: 0 given, expected at least 1"
    );
    assert_eq!(
        init(vec![here(1), (1, "a:1".into())]).await,
        "members[1].node_id: 1 given, expected an id that no other member has"
    );
    let swapped = init(vec![
        here(1),
        (2, cluster.address(3)),
        (3, cluster.address(2)),
    ])
    .await;
    assert!(swapped.contains("correct the address of node"), "{swapped}");
    let dead = init(vec![here(1), (2, "127.0.0.1:1".into())]).await;
    assert!(
        dead.contains("node 2 at 127.0.0.1:1 does not answer"),
        "{dead}"
    );
    assert_eq!(core.status().cluster_id, None);
    assert_eq!(core.status().role, crate::core::Role::Uninitialized);

    core.init(vec![here(1), here(2)]).await.unwrap();
    let twice = refused(core.init(vec![here(1), here(2)]).await);
    assert!(twice.contains("belongs to cluster"), "{twice}");
    let theirs = refused(cluster.core(3).init(vec![here(3), here(1)]).await);
    assert!(theirs.contains("node 1 at"), "{theirs}");
    assert!(theirs.contains("belongs to cluster"), "{theirs}");

    let leader = cluster.leader_of(&[1, 2]).await;
    let core = cluster.core(leader).clone();
    let other = core.add_learner(leader, "a:1".into()).await;
    assert!(refused(other).contains("is a member already"));
    let taken = core.add_learner(4, cluster.address(leader)).await;
    assert!(refused(taken).contains("is that of node"));
    let bad = core
        .add_learner(4, "a".into())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        bad,
        "address: \"a\" given, expected host:port, such as 10.0.0.1:4501"
    );
    assert_eq!(core.promote(3).await, Err(MemberError::NoSuchMember(3)));
    assert_eq!(core.remove(3).await, Err(MemberError::NoSuchMember(3)));
    assert_eq!(core.status().members.len(), 2);

    // One of another cluster is not taken in.
    cluster.core(3).init(vec![here(3)]).await.unwrap();
    let foreign = refused(core.add_learner(3, cluster.address(3)).await);
    assert!(foreign.contains("node 3 at"), "{foreign}");
    assert!(foreign.contains("belongs to cluster"), "{foreign}");
    let only = cluster.core(3);
    eventually("it to lead", || async {
        cluster.member(3).leads().then_some(())
    })
    .await;
    assert!(refused(only.remove(3).await).contains("is the only voter"));
    cluster.stop().await;
}
