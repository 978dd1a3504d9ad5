//! The stream of a front-end's life: requests come up and are answered as they get done, in any order, and
//! notices go down when the target of one of its leases has changed.
//!
//! Requests that have come by the time that the node looks are carried out in one lot, as a `LeaseBatch` is: the more
//! there are, the less each costs. A node that follows tells of targets as it has applied them.

use std::collections::VecDeque;
use std::time::Duration;

use api::status::{self, Reason};
use api::v1;
use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use prost::Message as _;
use quota::LeaseId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::Context;
use super::watched::Watched;
use crate::gate::shutting_down;

/// Answers that go down together at most.
pub(super) const ANSWERS_AHEAD: usize = 64;
/// Most requests of a lot, and most bytes of it: a leader takes no longer `LeaseBatch` than twice that.
const LOT: usize = 256;
const LOT_BYTES: usize = 32 << 10;
/// Looking takes no more than one part in so many of the stream's time: with very many leases notices come later.
const LOOK_SHARE: u32 = 10;

/// One stream.
pub(super) struct Hold {
    context: Context,
    metadata: MetadataMap,
    requests: Streaming<v1::HoldRequest>,
    /// The front-end may send more.
    reading: bool,
    /// What came with a lot and begins the next: it was too long for that one.
    left_over: Option<v1::HoldRequest>,
    /// Requests at work.
    at_work: usize,
    answers: mpsc::Sender<Result<v1::HoldResponse, Status>>,
    /// What is ready to go down, oldest first. With what is at work at most `hold_in_flight`, and notices
    /// only once it is empty: a front-end that does not read holds nothing up but itself.
    ready: VecDeque<v1::HoldResponse>,
    watched: Watched,
    looking: Option<Looking>,
}

/// A look at all watched leases, under way.
struct Looking {
    /// The lease to go on with.
    next: u64,
    /// How long it has taken so far.
    took: Duration,
}

/// What came of a lot.
struct Done {
    answers: Vec<v1::HoldResponse>,
    /// The leases that were to be given back, by the place of the request.
    returned: Vec<(usize, u64)>,
}

impl Hold {
    pub fn new(
        context: Context,
        mut metadata: MetadataMap,
        requests: Streaming<v1::HoldRequest>,
        answers: mpsc::Sender<Result<v1::HoldResponse, Status>>,
    ) -> Self {
        // A bound on the stream is none on its requests.
        metadata.remove("grpc-timeout");
        let most = usize::try_from(context.limits.hold_leases).unwrap_or(usize::MAX);
        Self {
            context,
            metadata,
            requests,
            reading: true,
            left_over: None,
            at_work: 0,
            answers,
            ready: VecDeque::new(),
            watched: Watched::new(most),
            looking: None,
        }
    }

    /// Serves the stream until the front-end ends it or goes away, or the node stops.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let most = usize::try_from(context.limits.hold_in_flight).unwrap_or(usize::MAX);
        let mut closed = context.gate.closed();
        let mut applied = context.core.applied();
        let answers = self.answers.clone();
        let pause = Duration::from_millis(context.limits.notice_ms);
        let mut look = tokio::time::interval(pause);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = FuturesUnordered::new();
        let mut stopping = false;
        while self.reading || !work.is_empty() || !self.ready.is_empty() {
            let room = most
                .saturating_sub(self.at_work + self.ready.len())
                .min(context.gate.room().max(1))
                .min(LOT);
            tokio::select! {
                lot = self.lot(room), if self.reading && room > 0 => match lot {
                    Ok(lot) if lot.is_empty() => {}
                    Ok(lot) => {
                        self.at_work += lot.len();
                        work.push(serve(context.clone(), self.metadata.clone(), lot));
                    }
                    // The front-end went away, or sent what can't be read, which tonic answers.
                    Err(status) => {
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                },
                Some(done) = work.next(), if !work.is_empty() => self.settle(done),
                place = answers.reserve(), if !self.ready.is_empty() => {
                    let mut place = place.ok();
                    if place.is_none() {
                        return;
                    }
                    while let Some(here) = place {
                        let Some(answer) = self.ready.pop_front() else {
                            break;
                        };
                        here.send(Ok(answer));
                        place = answers.try_reserve().ok();
                    }
                }
                () = answers.closed() => return,
                _ = look.tick(), if self.looking.is_none() && !self.watched.is_empty() => {
                    // Nothing can have changed but by an entry that was applied.
                    if applied.has_changed().unwrap_or(false) {
                        applied.mark_unchanged();
                        self.looking = Some(Looking { next: 0, took: Duration::ZERO });
                    }
                }
                () = std::future::ready(()), if self.looking.is_some() && self.ready.is_empty() => {
                    if let Some(took) = self.look() {
                        look.reset_after(pause.max(took * (LOOK_SHARE - 1)));
                    }
                    tokio::task::yield_now().await;
                }
                () = async { let _ = closed.wait_for(|closed| *closed).await; }, if !stopping => {
                    stopping = true;
                    self.reading = false;
                }
            }
        }
        if stopping {
            let _ = answers.send(Err(shutting_down())).await;
        }
    }

    /// The next request, and those that have come with it: up to `most` in all, and none at the end.
    async fn lot(&mut self, most: usize) -> Result<Vec<v1::HoldRequest>, Status> {
        let (mut lot, mut bytes) = (Vec::new(), 0);
        let mut next = match self.left_over.take() {
            Some(request) => Some(request),
            None => self.requests.message().await?,
        };
        // Nothing is waited for from here on, so that nothing is lost where another branch is quicker.
        while let Some(request) = next {
            bytes += request.encoded_len();
            if bytes > LOT_BYTES && !lot.is_empty() {
                self.left_over = Some(request);
                return Ok(lot);
            }
            lot.push(request);
            if lot.len() >= most {
                return Ok(lot);
            }
            match self.requests.message().now_or_never() {
                Some(message) => next = message?,
                None => return Ok(lot),
            }
        }
        self.reading = false;
        Ok(lot)
    }

    fn settle(&mut self, done: Done) {
        self.at_work = self.at_work.saturating_sub(done.answers.len());
        let leads = self.context.core.leader().is_some_and(|l| l.is_me);
        for (place, lease) in done.returned {
            let answer = done.answers.get(place).and_then(|a| a.response.as_ref());
            if matches!(answer, Some(Answer::Returned(_))) {
                self.watched.forget(lease);
            }
        }
        for answer in &done.answers {
            let grant = match &answer.response {
                Some(Answer::Grant(grant)) => Some(grant),
                Some(Answer::Reported(reported)) => reported.grant.as_ref(),
                _ => None,
            };
            if let Some(grant) = grant {
                self.watched.told(grant.lease_id, grant.target, leads);
            }
        }
        self.ready.extend(done.answers);
    }

    /// Looks at the targets of some of the stream's leases, and tells of those that have changed. Once all have been
    /// looked at, it gives how long that took.
    fn look(&mut self) -> Option<Duration> {
        let Looking { next, took } = self.looking.take()?;
        let began = Instant::now();
        let watched = &mut self.watched;
        let looked = self
            .context
            .core
            .with_state(|state| watched.look(next, |lease| state.lease_target(LeaseId(lease))));
        for (lease_id, target) in looked.news {
            let notice = v1::TargetNotice { lease_id, target };
            self.ready.push_back(v1::HoldResponse {
                tag: 0,
                response: Some(Answer::Notice(notice)),
            });
        }
        let took = took + began.elapsed();
        if let Some(next) = looked.next {
            self.looking = Some(Looking { next, took });
            return None;
        }
        Some(took)
    }
}

/// Carries a lot out, and gives an answer to each of its requests.
async fn serve(context: Context, metadata: MetadataMap, lot: Vec<v1::HoldRequest>) -> Done {
    let tags: Vec<u64> = lot.iter().map(|request| request.tag).collect();
    let returns = |(place, request): (usize, &v1::HoldRequest)| match &request.request {
        Some(Asked::Return(give)) => Some((place, give.lease_id)),
        _ => None,
    };
    let returned = lot.iter().enumerate().filter_map(returns).collect();
    let answered = async {
        let requests = u32::try_from(lot.len()).unwrap_or(u32::MAX);
        let call = context.gate.enter_with(&metadata, requests)?;
        let batch = v1::LeaseBatchRequest { requests: lot };
        let answers = context.batch(&call, batch).await?.responses;
        if answers.len() != tags.len() {
            let what = "the leader answered other requests than those that were made";
            return Err(Reason::Internal.because(what).into());
        }
        Ok(answers)
    };
    let answers = answered.await.unwrap_or_else(|status: Status| {
        let failure = Answer::Failure(status::failure(&status));
        let failed = |&tag: &u64| v1::HoldResponse {
            tag,
            response: Some(failure.clone()),
        };
        tags.iter().map(failed).collect()
    });
    Done { answers, returned }
}
