//! Many requests in one call.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use api::v1;
use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use common::{Cluster, assert_refused, take};
use tonic::{Code, Status};

/// Tags that are not the places, so that neither is taken for the other.
fn batch(requests: Vec<Option<Asked>>) -> v1::LeaseBatchRequest {
    let tagged = (100..).zip(requests);
    v1::LeaseBatchRequest {
        requests: tagged
            .map(|(tag, request)| v1::HoldRequest { tag, request })
            .collect(),
    }
}

async fn ask(cluster: &Cluster, at: usize, requests: Vec<Option<Asked>>) -> Vec<Answer> {
    let asked = cluster.leases(at).lease_batch(batch(requests)).await;
    let responses = asked.expect("answers").into_inner().responses;
    let tags: Vec<u64> = responses.iter().map(|response| response.tag).collect();
    assert!((100..).zip(&tags).all(|(due, &tag)| due == tag), "{tags:?}");
    let answers = responses.into_iter().map(|response| response.response);
    answers.map(|answer| answer.expect("an answer")).collect()
}

fn renew(lease_id: u64, seq: u64, wanted: u64) -> Option<Asked> {
    Some(Asked::Renew(v1::RenewRequest {
        lease_id,
        seq,
        kept: 5,
        wanted,
    }))
}

fn granted(answer: &Answer) -> &v1::Grant {
    match answer {
        Answer::Grant(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn failed(answer: &Answer) -> (Code, &str, &str) {
    match answer {
        Answer::Failure(failure) => (
            Code::from_i32(failure.code),
            &failure.reason,
            &failure.message,
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_carried_out_or_refused_by_itself() {
    let cluster = Cluster::start(3).await;
    cluster.make_pool().await;
    for at in [cluster.follower().await, cluster.leader().await] {
        let lease = |holder: &str, wanted| {
            let holder = format!("{holder}-{at}");
            Some(Asked::Lease(take(&holder, 1, wanted)))
        };
        let mut bad = take("portal", 0, 1);
        bad.holder = format!("bad-{at}");
        let first = vec![
            lease("a", 10),
            None,
            Some(Asked::Lease(bad)),
            renew(999_999, 1, 1),
            lease("b", 20),
        ];
        let answers = ask(&cluster, at, first.clone()).await;
        let (a, b) = (granted(&answers[0]), granted(&answers[4]));
        assert_eq!((a.slots, b.slots), (10, 20));
        let nothing = "request: nothing given, expected one of lease, renew, report and return";
        assert_eq!(
            failed(&answers[1]),
            (Code::InvalidArgument, "INVALID_FIELD", nothing)
        );
        let zero = "seq: 0 given, expected at least 1";
        assert_eq!(
            failed(&answers[2]),
            (Code::InvalidArgument, "INVALID_FIELD", zero)
        );
        assert_eq!(failed(&answers[3]).1, "NO_SUCH_LEASE");
        assert_eq!(ask(&cluster, at, first).await, answers, "again");

        // In their order, and what others were answered of a request overtaken stays so.
        let (a, b) = (a.lease_id, b.lease_id);
        let report = v1::ReportRequest {
            lease_id: b,
            seq: 2,
            kept: 20,
            in_use: 3,
            exact_until_s: u32::MAX,
            ..v1::ReportRequest::default()
        };
        let returns = v1::ReturnRequest {
            lease_id: b,
            seq: 3,
        };
        let second = vec![
            renew(a, 2, 7),
            renew(a, 4, 8),
            renew(a, 3, 9),
            Some(Asked::Report(report)),
            Some(Asked::Return(returns)),
        ];
        let answers = ask(&cluster, at, second).await;
        assert_eq!(granted(&answers[0]).slots, 7);
        assert_eq!(granted(&answers[1]).slots, 8);
        assert_eq!(failed(&answers[2]).1, "STALE_SEQ");
        match &answers[3..] {
            [Answer::Reported(reported), Answer::Returned(returned)] => {
                assert!(reported.rules.is_some());
                assert_eq!(returned.returned, 20);
            }
            other => panic!("{other:?}"),
        }
        let returns = v1::ReturnRequest {
            lease_id: a,
            seq: 5,
        };
        ask(&cluster, at, vec![Some(Asked::Return(returns))]).await;
    }
    assert_eq!(ask(&cluster, 0, Vec::new()).await, []);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_takes_as_many_places_as_it_has_requests() {
    let cluster = Cluster::start_with(1, |config| config.limits.in_flight = 4).await;
    cluster.make_pool().await;
    let requests = |count: u64| {
        let names = (0..count).map(|at| format!("portal-{at}"));
        batch(
            names
                .map(|name| Some(Asked::Lease(take(&name, 1, 1))))
                .collect(),
        )
    };
    let ask = async |count| -> Result<usize, Status> {
        let answers = cluster.leases(0).lease_batch(requests(count)).await;
        answers.map(|answers| answers.into_inner().responses.len())
    };
    assert_eq!(ask(4).await.expect("room"), 4);
    let busy = "4 requests are at work, as many as may be (limits.in_flight)";
    assert_refused(ask(5).await, Code::ResourceExhausted, "TOO_BUSY", busy);
    let many = "requests: 1025 given, expected at most 1024";
    assert_refused(
        ask(1_025).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        many,
    );
    cluster.shutdown().await;
}
