//! Over loopback, with a server that answers by what it is asked.

use std::net::SocketAddr;

use api::v1;
use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use api::v1::lease_service_client::LeaseServiceClient;
use api::v1::lease_service_server::{LeaseService, LeaseServiceServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Connection;

/// Calls that the server takes at a time.
const AT_A_TIME: u32 = 8;

/// Grants what is wanted, by the number of the request.
pub struct Grants;

fn granted(seq: u64, slots: u64) -> v1::Grant {
    v1::Grant {
        lease_id: seq,
        slots,
        ..v1::Grant::default()
    }
}

/// An answer to a request; to one that gives a lease back, that there is none.
fn answer(request: v1::HoldRequest) -> v1::HoldResponse {
    let response = match request.request {
        Some(Asked::Lease(lease)) => Answer::Grant(granted(lease.seq, lease.wanted)),
        Some(Asked::Renew(renew)) => Answer::Grant(granted(renew.seq, renew.wanted)),
        _ => Answer::Failure(v1::HoldFailure {
            reason: "NO_LEASE".into(),
            message: "there is none".into(),
            ..v1::HoldFailure::default()
        }),
    };
    v1::HoldResponse {
        tag: request.tag,
        response: Some(response),
    }
}

#[tonic::async_trait]
impl LeaseService for Grants {
    async fn lease(
        &self,
        request: Request<v1::LeaseRequest>,
    ) -> Result<Response<v1::LeaseResponse>, Status> {
        let lease = request.into_inner();
        let grant = Some(granted(lease.seq, lease.wanted));
        Ok(Response::new(v1::LeaseResponse { grant }))
    }

    async fn renew(
        &self,
        _: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        std::future::pending().await
    }

    async fn report(
        &self,
        _: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        Err(Status::unimplemented("report"))
    }

    async fn r#return(
        &self,
        _: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::ReturnResponse>, Status> {
        Err(Status::not_found("there is none"))
    }

    async fn lease_batch(
        &self,
        request: Request<v1::LeaseBatchRequest>,
    ) -> Result<Response<v1::LeaseBatchResponse>, Status> {
        let responses = request.into_inner().requests.into_iter().map(answer);
        let responses = responses.collect();
        Ok(Response::new(v1::LeaseBatchResponse { responses }))
    }

    async fn inspect(
        &self,
        _: Request<v1::InspectRequest>,
    ) -> Result<Response<v1::InspectResponse>, Status> {
        Err(Status::unimplemented("inspect"))
    }

    type HoldStream = ReceiverStream<Result<v1::HoldResponse, Status>>;

    /// Answers requests two by two, the later one first, after a notice each time; and breaks off at one that is about
    /// nothing.
    async fn hold(
        &self,
        request: Request<Streaming<v1::HoldRequest>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let mut requests = request.into_inner();
        let (down, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut waiting = None;
            while let Ok(Some(request)) = requests.message().await {
                if request.request.is_none() {
                    let _ = down.send(Err(Status::aborted("about nothing"))).await;
                    break;
                }
                let Some(earlier) = waiting.take() else {
                    waiting = Some(request);
                    continue;
                };
                let notice = v1::HoldResponse {
                    tag: 0,
                    response: Some(Answer::Notice(v1::TargetNotice::default())),
                };
                for response in [notice, answer(request), answer(earlier)] {
                    let _ = down.send(Ok(response)).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// Serves [`Grants`] at an address of its own.
pub async fn serve() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .max_concurrent_streams(AT_A_TIME)
        .add_service(LeaseServiceServer::new(Grants))
        .serve_with_incoming(TcpIncoming::from(listener));
    let serving = tokio::spawn(async move { server.await.unwrap() });
    (address, serving)
}

async fn client() -> (LeaseServiceClient<Connection>, JoinHandle<()>) {
    let (address, serving) = serve().await;
    let connection = Connection::open(&address.to_string()).await.unwrap();
    (LeaseServiceClient::new(connection), serving)
}

fn take(seq: u64) -> v1::LeaseRequest {
    v1::LeaseRequest {
        seq,
        wanted: 3,
        ..v1::LeaseRequest::default()
    }
}

fn tagged(tag: u64, request: Asked) -> v1::HoldRequest {
    v1::HoldRequest {
        tag,
        request: Some(request),
    }
}

async fn slots(client: &mut LeaseServiceClient<Connection>, seq: u64) -> u64 {
    let grant = client.lease(take(seq)).await.unwrap().into_inner().grant;
    let grant = grant.unwrap();
    assert_eq!(grant.lease_id, seq);
    grant.slots
}

#[tokio::test]
async fn a_call_is_answered_or_says_why_it_is_not() {
    let (mut client, _) = client().await;
    assert_eq!(slots(&mut client, 1).await, 3);
    let refused = client.r#return(v1::ReturnRequest::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::NotFound, "there is none")
    );
    assert_eq!(slots(&mut client, 2).await, 3);
}

#[tokio::test]
async fn more_calls_than_the_server_takes_wait_for_each_other() {
    let (client, _) = client().await;
    let mut callers = JoinSet::new();
    for number in 1..=10 * u64::from(AT_A_TIME) {
        let mut client = client.clone();
        callers.spawn(async move {
            for turn in 0..20 {
                assert_eq!(slots(&mut client, 1_000 * turn + number).await, 3);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_long_message_goes_both_ways() {
    let (client, _) = client().await;
    let mut client = client.max_decoding_message_size(usize::MAX);
    let requests: Vec<v1::HoldRequest> = (1..=200_000)
        .map(|tag| tagged(tag, Asked::Lease(take(tag))))
        .collect();
    let asked = requests.len();
    let answered = client.lease_batch(v1::LeaseBatchRequest { requests });
    let responses = answered.await.unwrap().into_inner().responses;
    assert_eq!(responses.len(), asked);
    assert!((1..).zip(&responses).all(|(tag, answer)| answer.tag == tag));
}

#[tokio::test]
async fn requests_of_a_stream_go_up_while_answers_come_down() {
    let (mut client, _) = client().await;
    let (up, requests) = mpsc::channel(4);
    let down = client.hold(ReceiverStream::new(requests)).await.unwrap();
    let mut down = down.into_inner();
    for tag in (1..100).step_by(2) {
        for tag in [tag, tag + 1] {
            up.send(tagged(tag, Asked::Lease(take(tag)))).await.unwrap();
        }
        for tag in [0, tag + 1, tag] {
            assert_eq!(down.message().await.unwrap().unwrap().tag, tag);
        }
    }
    up.send(v1::HoldRequest::default()).await.unwrap();
    let broken = down.message().await.unwrap_err();
    assert_eq!(broken.code(), Code::Aborted, "in the trailers");
    assert_eq!(slots(&mut client, 1).await, 3, "another call goes on");
}

#[tokio::test]
async fn a_stream_whose_requests_end_ends() {
    let (mut client, _) = client().await;
    let requests = [1, 2].map(|tag| tagged(tag, Asked::Lease(take(tag))));
    let down = client.hold(tokio_stream::iter(requests)).await.unwrap();
    let mut down = down.into_inner();
    for tag in [0, 2, 1] {
        assert_eq!(down.message().await.unwrap().unwrap().tag, tag);
    }
    assert!(down.message().await.unwrap().is_none());
}

#[tokio::test]
async fn calls_that_are_given_up_leave_room_for_others() {
    let (mut client, _) = client().await;
    for _ in 0..3 * AT_A_TIME {
        let never = client.renew(v1::RenewRequest::default());
        let soon = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, never).await.is_err());
    }
    assert_eq!(slots(&mut client, 1).await, 3);
}

#[tokio::test]
async fn without_a_server_calls_fail() {
    // A runtime of its own for the server: with that its connections end.
    let server = tokio::runtime::Runtime::new().unwrap();
    let (address, _) = server.spawn(serve()).await.unwrap();
    let connection = Connection::open(&address.to_string()).await.unwrap();
    let mut client = LeaseServiceClient::new(connection);
    assert_eq!(slots(&mut client, 1).await, 3);
    let mut waits = client.clone();
    let waits = tokio::spawn(async move { waits.renew(v1::RenewRequest::default()).await });
    tokio::task::yield_now().await;
    server.shutdown_background();
    assert!(waits.await.unwrap().is_err(), "under way");
    assert!(client.lease(take(2)).await.is_err(), "begun later");
    assert!(Connection::open(&address.to_string()).await.is_err());
}
