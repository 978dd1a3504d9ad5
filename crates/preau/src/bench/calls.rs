//! The two ways to make a holder's calls: one by one, or over long streams that many holders share.

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1;
use api::v1::hold_request::Request as Up;
use api::v1::hold_response::Response as Down;
use api::v1::lease_service_client::LeaseServiceClient;
use client::Nodes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long one call may take in all, tries on other nodes included.
const WITHIN: Duration = Duration::from_secs(5);
/// A stream on which a request waits this long for its answer is given up for another.
const STREAM_PATIENCE: Duration = Duration::from_secs(3);
/// Requests on their way to a stream.
const QUEUE: usize = 1_024;

/// What a holder asks.
#[derive(Debug, Clone)]
pub enum Request {
    Take(v1::LeaseRequest),
    Renew(v1::RenewRequest),
    Report(v1::ReportRequest),
    Return(v1::ReturnRequest),
}

/// What it is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Granted(v1::Grant),
    Returned { slots: u64 },
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    pub code: Code,
    pub reason: Option<String>,
    pub message: String,
    retry_after: Option<Duration>,
}

impl Failed {
    /// Whether the same request may yet succeed, and after which pause.
    pub fn retry(&self) -> Option<Duration> {
        let may_succeed = match self.code {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => true,
            Code::ResourceExhausted => self.retry_after.is_some(),
            _ => false,
        };
        may_succeed.then(|| self.retry_after.unwrap_or(Duration::from_millis(20)))
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self {
            code: status.code(),
            reason: client::reason(&status),
            message: status.message().to_owned(),
            retry_after: client::retry_after(&status),
        }
    }
}

impl From<v1::HoldFailure> for Failed {
    fn from(failure: v1::HoldFailure) -> Self {
        Self {
            code: Code::from(failure.code),
            reason: Some(failure.reason).filter(|reason| !reason.is_empty()),
            message: failure.message,
            retry_after: match failure.retry_after_ms {
                0 => None,
                ms => Some(Duration::from_millis(ms)),
            },
        }
    }
}

/// A way to make calls. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Way {
    /// A call of its own for each request.
    Calls(Nodes),
    /// A stream that other holders use too.
    Stream(mpsc::Sender<Waiting>),
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Answer, Failed>>,
    since: Instant,
}

impl Way {
    /// A new stream to whichever node takes it. It goes on, on other nodes where one fails, for as long
    /// as anybody has this way.
    pub fn stream(nodes: Nodes) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tokio::spawn(keep_stream(nodes, requests));
        Self::Stream(queue)
    }

    /// Makes one request.
    pub async fn send(&self, request: Request) -> Result<Answer, Failed> {
        match self {
            Self::Calls(nodes) => Ok(nodes
                .call(WITHIN, |channel| call(channel, request.clone()))
                .await?),
            Self::Stream(queue) => {
                let (answer, answered) = oneshot::channel();
                let waiting = Waiting {
                    request,
                    answer,
                    since: Instant::now(),
                };
                let gone = || Status::cancelled("the stream has ended");
                queue.send(waiting).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            }
        }
    }
}

async fn call(channel: Channel, request: Request) -> Result<Answer, Status> {
    let mut client = LeaseServiceClient::new(channel);
    match request {
        Request::Take(take) => granted(client.lease(take).await?.into_inner().grant),
        Request::Renew(renew) => granted(client.renew(renew).await?.into_inner().grant),
        Request::Report(report) => granted(client.report(report).await?.into_inner().grant),
        Request::Return(give_back) => {
            let slots = client.r#return(give_back).await?.into_inner().returned;
            Ok(Answer::Returned { slots })
        }
    }
}

fn granted(grant: Option<v1::Grant>) -> Result<Answer, Status> {
    grant
        .map(Answer::Granted)
        .ok_or_else(|| Status::data_loss("the answer carries no grant"))
}

/// Requests on a stream that are not answered yet, by tag.
#[derive(Debug, Default)]
struct Open {
    waiting: BTreeMap<u64, Waiting>,
    last_tag: u64,
}

impl Open {
    fn add(&mut self, waiting: Waiting) -> v1::HoldRequest {
        self.last_tag += 1;
        let request = tagged(self.last_tag, &waiting.request);
        self.waiting.insert(self.last_tag, waiting);
        request
    }

    /// Hands an answer to whoever waits for it. A notice is nobody's.
    fn settle(&mut self, response: v1::HoldResponse) {
        let Some(waiting) = self.waiting.remove(&response.tag) else {
            return;
        };
        let answer = match response.response {
            Some(Down::Grant(grant)) => Ok(Answer::Granted(grant)),
            Some(Down::Returned(returned)) => Ok(Answer::Returned {
                slots: returned.returned,
            }),
            Some(Down::Failure(failure)) => Err(failure.into()),
            Some(Down::Reported(reported)) => granted(reported.grant).map_err(Into::into),
            Some(Down::Notice(_)) | None => {
                Err(Status::data_loss("the answer carries nothing that was asked for").into())
            }
        };
        // A holder that has given up hears nothing, and needs to hear nothing.
        let _ = waiting.answer.send(answer);
    }

    fn fail(&mut self, status: &Status) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            let _ = waiting.answer.send(Err(status.clone().into()));
        }
    }

    /// When the request that has waited longest has waited too long.
    fn patience_ends(&self) -> Instant {
        let oldest = self.waiting.values().map(|waiting| waiting.since).min();
        oldest.unwrap_or_else(Instant::now) + STREAM_PATIENCE
    }
}

fn tagged(tag: u64, request: &Request) -> v1::HoldRequest {
    let request = match request.clone() {
        Request::Take(take) => Up::Lease(take),
        Request::Renew(renew) => Up::Renew(renew),
        Request::Report(report) => Up::Report(report),
        Request::Return(give_back) => Up::Return(give_back),
    };
    v1::HoldRequest {
        tag,
        request: Some(request),
    }
}

/// Keeps a stream open. Where it breaks, whoever waits on it is told so and may ask again: every request
/// says who it is, and has one effect.
async fn keep_stream(nodes: Nodes, mut requests: mpsc::Receiver<Waiting>) {
    let mut open = Open::default();
    // No stream without a first request: an idle one would only take a place on the node.
    while let Some(first) = requests.recv().await {
        let first = open.add(first);
        let opened = nodes.call(WITHIN, |channel| {
            let first = first.clone();
            async move {
                let (up, body) = mpsc::channel(QUEUE);
                // There is room: the channel is new.
                let _ = up.try_send(first);
                let stream = LeaseServiceClient::new(channel)
                    .hold(ReceiverStream::new(body))
                    .await?;
                Ok((up, stream.into_inner()))
            }
        });
        let broken = match opened.await {
            Ok((up, down)) => carry(&mut requests, &mut open, &up, down).await,
            Err(status) => status,
        };
        open.fail(&broken);
    }
}

/// Carries requests up and answers down until the stream breaks, and says how.
async fn carry(
    requests: &mut mpsc::Receiver<Waiting>,
    open: &mut Open,
    up: &mpsc::Sender<v1::HoldRequest>,
    mut down: Streaming<v1::HoldResponse>,
) -> Status {
    let mut look = tokio::time::interval(STREAM_PATIENCE / 4);
    loop {
        tokio::select! {
            request = requests.recv(), if up.capacity() > 0 => {
                let Some(request) = request else {
                    return Status::cancelled("nobody uses the stream any more");
                };
                if up.try_send(open.add(request)).is_err() {
                    return Status::unavailable("the node closed the stream");
                }
            }
            response = down.message() => match response {
                Ok(Some(response)) => open.settle(response),
                Ok(None) => return Status::unavailable("the node closed the stream"),
                Err(status) => return status,
            },
            _ = look.tick() => {
                if !open.waiting.is_empty() && open.patience_ends() < Instant::now() {
                    return Status::deadline_exceeded("a request on the stream is not answered");
                }
            }
        }
    }
}
