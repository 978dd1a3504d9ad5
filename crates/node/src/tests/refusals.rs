//! What a member refuses, and what stops it.

use api::v1;
use api::v1::peer_service_client::PeerServiceClient;
use bytes::Bytes;
use prost::Message as _;
use store::{Options, Store};
use tonic::{Code, Request, Status};

use super::*;
use crate::core::StartError;

async fn ask_vote(address: &str, metadata: &[(&'static str, &'static str)]) -> Status {
    let mut client = PeerServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let mut request = Request::new(v1::VoteRequest {
        ballot: Some(v1::Ballot {
            term: 1_000,
            node_id: 7,
            committed: false,
        }),
        last: None,
        transfer: true,
    });
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    client.vote(request).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_others_are_refused() {
    let cluster = Cluster::founded(1, |_| ()).await;
    let term = cluster.core(1).status().term;
    let address = cluster.address(1);
    let none = ask_vote(&address, &[]).await;
    assert_eq!(none.code(), Code::InvalidArgument);
    assert_eq!(none.message(), "metadata preau-node: not given");
    let other_node = ask_vote(&address, &[("preau-node", "2")]).await;
    assert_eq!(other_node.code(), Code::FailedPrecondition);
    assert!(other_node.message().contains("this is node 1, not node 2"));
    let other_cluster = [
        ("preau-node", "1"),
        ("preau-role", "voter"),
        ("preau-cluster", "theirs"),
    ];
    let other_cluster = ask_vote(&address, &other_cluster).await;
    assert_eq!(other_cluster.code(), Code::FailedPrecondition);
    let said = other_cluster.message();
    assert!(said.contains("node 1 belongs to cluster"), "{said}");
    assert!(said.contains("not to cluster \"theirs\""), "{said}");
    assert_eq!(cluster.core(1).status().term, term);
    assert_eq!(cluster.core(1).stopped().borrow().clone(), None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_at_a_time_is_refused_at_once() {
    let cluster = Cluster::founded(1, |config| {
        config.limits.in_flight = 4;
        config.limits.group_commands = 1;
    })
    .await;
    assert!(cluster.propose(budget()).await.is_ok());
    let core = cluster.core(1);
    let all = (0..2_000).map(|at| core.propose(take(&format!("h{at}"), 1)));
    let answers = futures_util::future::join_all(all).await;
    let busy = ProposeError::Busy {
        retry_after: Duration::from_millis(50),
    };
    let refused = answers.iter().filter(|a| **a == Err(busy.clone())).count();
    let done = answers
        .iter()
        .filter(|a| a.as_ref().is_ok_and(granted))
        .count();
    assert_eq!(refused + done, answers.len());
    assert!(refused > 0 && done > 0, "{refused} {done}");
    let leases = core.with_state(|state| state.pool("ent").unwrap().leases);
    assert_eq!(leases, done as u64);
    let too_long = Command::RemoveHolder(quota::RemoveHolder {
        request_id: "r".into(),
        holder: "h".repeat(3 << 20),
        pool: None,
    });
    let refusal = core
        .propose(too_long)
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("bytes of one command"), "{refusal}");
    cluster.stop().await;
}

/// Leases end by time alone, and a cluster with nothing to do writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn time_passes_and_idle_clusters_are_idle() {
    let cluster = Cluster::founded(1, |_| ()).await;
    let mut configure = budget();
    if let Command::Configure(configure) = &mut configure
        && let Change::SetPool(pool) = &mut configure.changes[0]
    {
        pool.ttl_ms = Some(1_000);
    }
    assert!(cluster.propose(configure).await.is_ok());
    let start = Instant::now();
    assert!(granted(&cluster.propose(take("h", 1)).await));
    let core = cluster.core(1);
    let held = || core.with_state(|state| state.pool("ent").unwrap().held);
    assert_eq!(held(), 10);
    eventually("the lease to run out", || async {
        (held() == 0).then_some(())
    })
    .await;
    assert!(
        start.elapsed() >= Duration::from_millis(999),
        "{:?}",
        start.elapsed()
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = core.status().last_log_index;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(core.status().last_log_index, last);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_killed_and_start_again() {
    let mut cluster = Cluster::founded(3, |config| {
        config.raft.snapshot_every = 100;
        config.raft.keep_entries = 10;
    })
    .await;
    assert!(cluster.propose(budget()).await.is_ok());
    for holder in 0..250 {
        assert!(granted(
            &cluster.propose(take(&format!("h{holder}"), 1)).await
        ));
    }
    let start = Instant::now();
    let time_ms = cluster.core(1).status().cluster_time_ms;
    let mut configs = Vec::new();
    for id in 1..=3 {
        configs.push(cluster.take(id).kill().await);
    }
    for config in configs {
        cluster.start(config).await;
    }
    assert!(granted(&cluster.propose(take("h0", 2)).await));
    let leader = cluster.leader().await;
    cluster.core(leader).read_barrier().await.unwrap();
    let core = cluster.core(leader);
    assert_eq!(
        core.with_state(|state| state.pool("ent").unwrap().held),
        2_500
    );
    let passed = core.status().cluster_time_ms - time_ms;
    assert!(
        u128::from(passed) <= start.elapsed().as_millis(),
        "{passed}"
    );
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_no_batch_stops_the_member() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let id = v1::LogId {
        term: 1,
        node_id: 1,
        index: 0,
    };
    let entry = v1::Entry {
        id: Some(id),
        payload: Some(v1::entry::Payload::Batch(Bytes::from_static(
            b"\x01nonsense",
        ))),
    };
    let (written, done) = std::sync::mpsc::channel();
    let record = entry.encode_to_vec().into();
    store.append(0, vec![record], Box::new(move |r| written.send(r).unwrap()));
    done.recv().unwrap().unwrap();
    store.save_committed(id.encode_to_vec().into()).unwrap();
    store.close();

    let config = Config::new(1, dir.path(), SocketAddr::from(([127, 0, 0, 1], 0)));
    let store = Core::open(&config).await.unwrap();
    match Core::start(store, &config, Way::default())
        .await
        .map(|_| ())
    {
        Err(StartError::Stored(why)) => {
            assert!(
                why.contains("entry T1-N1.0 can't be applied: batch is damaged"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_store_ends_says_so() {
    let cluster = Cluster::founded(1, |_| ()).await;
    assert!(cluster.propose(budget()).await.is_ok());
    let core = cluster.core(1);
    core.inner.store.close();
    let answer = core.propose(take("h", 1)).await;
    let lost = matches!(
        answer,
        Err(ProposeError::Unknown(_) | ProposeError::Stopped(_))
    );
    assert!(lost, "{answer:?}");
    let mut stopped = core.stopped();
    let why = stopped
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(why.contains("the store is closed"), "{why}");
    assert!(why.contains("start the node again"), "{why}");
}
