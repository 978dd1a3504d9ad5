//! The stream of a front-end's life.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use std::collections::BTreeMap;

use api::v1;
use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use common::{Cluster, PATIENCE, reason, take};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

struct Stream {
    up: mpsc::Sender<v1::HoldRequest>,
    down: Streaming<v1::HoldResponse>,
}

impl Stream {
    async fn open(cluster: &Cluster, at: usize) -> Self {
        let (up, requests) = mpsc::channel(64);
        let down = cluster.leases(at).hold(ReceiverStream::new(requests)).await;
        Self {
            up,
            down: down.expect("a stream").into_inner(),
        }
    }

    async fn ask(&self, tag: u64, request: Asked) {
        let request = Some(request);
        self.up
            .send(v1::HoldRequest { tag, request })
            .await
            .expect("the stream is open");
    }

    async fn next(&mut self) -> Result<Option<v1::HoldResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.down.message())
            .await
            .expect("an answer in time")
    }

    /// The next answer that is no notice, and its tag.
    async fn answer(&mut self) -> (u64, Answer) {
        loop {
            let message = self
                .next()
                .await
                .expect("the stream goes on")
                .expect("no end yet");
            match message.response.expect("a response") {
                Answer::Notice(_) => {}
                answer => return (message.tag, answer),
            }
        }
    }

    async fn grant(&mut self) -> v1::Grant {
        match self.answer().await {
            (_, Answer::Grant(grant)) => grant,
            other => panic!("no grant: {other:?}"),
        }
    }

    /// The next notice of a lease.
    async fn notice(&mut self, lease: u64) -> u64 {
        loop {
            let message = self
                .next()
                .await
                .expect("the stream goes on")
                .expect("no end yet");
            if let Some(Answer::Notice(notice)) = message.response
                && notice.lease_id == lease
            {
                assert_eq!(message.tag, 0);
                return notice.target;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_holders_share_a_stream_on_any_node() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for at in 0..3 {
        let mut stream = Stream::open(&cluster, at).await;
        for holder in 0..20 {
            let request = take(&format!("portal-{at}-{holder}"), 1, 1);
            stream.ask(100 + holder, Asked::Lease(request)).await;
        }
        let mut leases = BTreeMap::new();
        while leases.len() < 20 {
            match stream.answer().await {
                (tag, Answer::Grant(grant)) => {
                    assert_eq!(grant.slots, 1);
                    assert_eq!(leases.insert(tag, grant.lease_id), None);
                }
                other => panic!("no grant: {other:?}"),
            }
        }
        assert_eq!(
            leases.keys().copied().collect::<Vec<_>>(),
            (100..120).collect::<Vec<_>>()
        );
        for (&tag, &lease_id) in &leases {
            stream
                .ask(tag, Asked::Return(v1::ReturnRequest { lease_id, seq: 2 }))
                .await;
        }
        for _ in 0..20 {
            let (_, answer) = stream.answer().await;
            assert_eq!(answer, Answer::Returned(v1::ReturnResponse { returned: 1 }));
        }
        // The front-end ends it, and so does the node.
        let Stream { up, mut down } = stream;
        drop(up);
        let end = tokio::time::timeout(PATIENCE, down.message())
            .await
            .expect("in time");
        assert_eq!(end.expect("a good end"), None);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_request_does_not_end_the_stream() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for at in [cluster.leader().await, cluster.follower().await] {
        let mut stream = Stream::open(&cluster, at).await;
        let mut wrong = take("portal", 1, 1);
        wrong.pool = "x".into();
        stream.ask(7, Asked::Lease(wrong)).await;
        let failure = v1::HoldFailure {
            code: Code::NotFound.into(),
            message: "pool \"x\" does not exist".into(),
            reason: "NO_SUCH_POOL".into(),
            retry_after_ms: 0,
            current_epoch: 0,
        };
        assert_eq!(stream.answer().await, (7, Answer::Failure(failure)));
        let empty = v1::HoldRequest {
            tag: 8,
            request: None,
        };
        stream.up.send(empty).await.expect("the stream is open");
        match stream.answer().await {
            (8, Answer::Failure(failure)) => assert_eq!(
                failure.message,
                "request: nothing given, expected one of lease, renew, report and return"
            ),
            other => panic!("no failure: {other:?}"),
        }
        let mut take = take("portal", 1, 1);
        take.epoch = 9;
        stream.ask(9, Asked::Lease(take.clone())).await;
        stream.grant().await;
        take.epoch = 4;
        stream.ask(10, Asked::Lease(take)).await;
        match stream.answer().await {
            (10, Answer::Failure(failure)) => {
                assert_eq!(
                    (failure.reason.as_str(), failure.current_epoch),
                    ("STALE_EPOCH", 9)
                );
            }
            other => panic!("no failure: {other:?}"),
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_comes_at_once_each_request_has_its_own_answer() {
    const REQUESTS: u64 = 400;
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for at in [cluster.leader().await, cluster.follower().await] {
        let mut stream = Stream::open(&cluster, at).await;
        let up = stream.up.clone();
        let asking = tokio::spawn(async move {
            for tag in 1..=REQUESTS {
                let mut request = take(&format!("{at}-{tag}"), 1, 0);
                if tag % 3 == 0 {
                    // Of such names few have room in one lot.
                    request.pool = "x".repeat(10_000);
                }
                let request = Some(Asked::Lease(request));
                let sent = up.send(v1::HoldRequest { tag, request }).await;
                sent.expect("the stream is open");
            }
        });
        let mut answered = BTreeMap::new();
        while answered.len() < REQUESTS as usize {
            let (tag, answer) = stream.answer().await;
            let good = match answer {
                Answer::Grant(_) => true,
                Answer::Failure(failure) => {
                    assert_eq!(failure.reason, "INVALID_FIELD", "{failure:?}");
                    false
                }
                other => panic!("an answer to something else: {other:?}"),
            };
            assert_eq!(answered.insert(tag, good), None, "{tag} twice");
        }
        let expected = (1..=REQUESTS).map(|tag| (tag, tag % 3 != 0));
        assert!(answered.into_iter().eq(expected));
        asking.await.expect("all sent");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_node_takes_on_little_a_stream_still_gets_on() {
    let cluster = Cluster::start_with(1, |config| config.limits.in_flight = 2).await;
    cluster.make_pool().await;
    let mut stream = Stream::open(&cluster, 0).await;
    let mut waiting: Vec<u64> = (1..=50).collect();
    while !waiting.is_empty() {
        for &tag in &waiting {
            let request = take(&format!("portal-{tag}"), 1, 0);
            stream.ask(tag, Asked::Lease(request)).await;
        }
        let before = waiting.len();
        for _ in 0..before {
            match stream.answer().await {
                (tag, Answer::Grant(_)) => waiting.retain(|&other| other != tag),
                (_, Answer::Failure(failure)) => assert_eq!(failure.reason, "TOO_BUSY"),
                other => panic!("an answer to something else: {other:?}"),
            }
        }
        assert!(waiting.len() < before, "nobody was served");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_target_is_told_on_any_node() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for (round, at) in [cluster.leader().await, cluster.follower().await]
        .into_iter()
        .enumerate()
    {
        let mut stream = Stream::open(&cluster, at).await;
        let mut borrower = take(&format!("borrower-{round}"), 1, 100);
        borrower.region = "bretagne".into();
        stream.ask(1, Asked::Lease(borrower)).await;
        let mut grant = stream.grant().await;
        assert_eq!((grant.slots, grant.target), (100, 100));
        if round == 1 {
            // A node that follows tells of what changes once it has seen the lease itself.
            tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
        }

        // The owner of the nominal comes back for it, through another node.
        let owner = take(&format!("owner-{round}"), 1, 40);
        let mut other = cluster.leases((at + 1) % 3);
        let owned = other
            .lease(owner)
            .await
            .expect("a lease")
            .into_inner()
            .grant
            .expect("a grant");
        assert_eq!((owned.slots, owned.target), (0, 40));
        assert_eq!(stream.notice(grant.lease_id).await, 60);

        // The borrower confirms, and the owner has its own.
        let renew = v1::RenewRequest {
            lease_id: grant.lease_id,
            seq: 2,
            kept: 60,
            wanted: 100,
        };
        stream.ask(2, Asked::Renew(renew)).await;
        grant = stream.grant().await;
        assert_eq!((grant.slots, grant.target), (60, 60));
        let renew = v1::RenewRequest {
            lease_id: owned.lease_id,
            seq: 2,
            kept: 0,
            wanted: 40,
        };
        let owned = other
            .renew(renew)
            .await
            .expect("kept")
            .into_inner()
            .grant
            .expect("a grant");
        assert_eq!(owned.slots, 40);

        let give = v1::ReturnRequest {
            lease_id: owned.lease_id,
            seq: 3,
        };
        other.r#return(give).await.expect("returned");
        assert_eq!(stream.notice(grant.lease_id).await, 100);
        let give = v1::ReturnRequest {
            lease_id: grant.lease_id,
            seq: 3,
        };
        stream.ask(3, Asked::Return(give)).await;
        assert_eq!(
            stream.answer().await.1,
            Answer::Returned(v1::ReturnResponse { returned: 60 })
        );
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_that_does_not_read_holds_up_nobody_but_itself() {
    let cluster = Cluster::start_with(1, |config| config.limits.hold_in_flight = 4).await;
    cluster.make_pool().await;
    let (up, requests) = mpsc::channel(1);
    let mut client = cluster.leases(0);
    let _unread = client
        .hold(ReceiverStream::new(requests))
        .await
        .expect("a stream");
    let ask = async {
        for seq in 1..=100_000_u64 {
            let request = Some(Asked::Lease(take("silent", seq, 1)));
            if up
                .send(v1::HoldRequest { tag: seq, request })
                .await
                .is_err()
            {
                return;
            }
        }
    };
    // It comes to a stop, as far as the connection's buffers reach; the others are served.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), ask).await;
    let grant = cluster
        .leases(0)
        .lease(take("other", 1, 1))
        .await
        .expect("a lease");
    assert_eq!(grant.into_inner().grant.expect("a grant").slots, 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_tells_its_streams() {
    let mut cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    let leader = cluster.leader().await;
    let mut stream = Stream::open(&cluster, leader).await;
    stream.ask(1, Asked::Lease(take("portal", 1, 10))).await;
    let grant = stream.grant().await;
    let (stopped, end) = tokio::join!(cluster.stop(leader), async {
        loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended as if the front-end had ended it"),
                Err(status) => return status,
            }
        }
    });
    let () = stopped;
    assert_eq!(
        (end.code(), reason(&end).as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    // Elsewhere the lease goes on.
    let next = cluster.follower().await;
    let mut stream = Stream::open(&cluster, next).await;
    let renew = v1::RenewRequest {
        lease_id: grant.lease_id,
        seq: 2,
        kept: 10,
        wanted: 10,
    };
    stream.ask(2, Asked::Renew(renew)).await;
    assert_eq!(stream.grant().await.slots, 10);
    cluster.shutdown().await;
}
