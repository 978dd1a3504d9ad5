//! What front-ends and operators call. Each call is carried out where the leader is.

mod batch;
mod budget;
mod cluster;
mod hold;
mod lease;
mod page;
mod watched;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::status::{self, Reason};
use api::v1;
use quota::{Command, Reply, State};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub(crate) use budget::Budget;
pub(crate) use cluster::Cluster;
pub(crate) use lease::Leases;

use crate::config::Limits;
use crate::core::{Core, Leader, Role};
use crate::forward::{self, Forward};
use crate::gate::{Call, Gate};
use crate::propose::ProposeError;

/// Most bytes of the leader's answer that a node passes on: of one pool with all of its regions.
const ANSWER_BYTES: usize = 64 << 20;

/// What all services stand on.
#[derive(Clone)]
pub(crate) struct Context(Arc<Shared>);

pub(crate) struct Shared {
    pub core: Core,
    pub gate: Gate,
    pub forward: Forward,
    pub limits: Limits,
    pub started: Instant,
}

impl std::ops::Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Context {
    pub fn new(core: Core, forward: Forward, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            core,
            gate: Gate::new(&limits),
            forward,
            limits,
            started: Instant::now(),
        }))
    }

    /// Carries a call out where the leader is: `here`, or `there` over a connection to it.
    async fn at_leader<M, A, H, T>(
        &self,
        request: Request<M>,
        here: impl FnOnce(Self, M) -> H,
        there: impl FnOnce(Channel, Request<M>) -> T,
    ) -> Result<Response<A>, Status>
    where
        H: Future<Output = Result<A, Status>>,
        T: Future<Output = Result<Response<A>, Status>>,
    {
        let call = self.gate.enter(request.metadata())?;
        self.lead(&call, request.into_inner(), here, there)
            .await
            .map(Response::new)
    }

    /// As [`Context::at_leader`], once the call has been let in.
    async fn lead<M, A, H, T>(
        &self,
        call: &Call,
        message: M,
        here: impl FnOnce(Self, M) -> H,
        there: impl FnOnce(Channel, Request<M>) -> T,
    ) -> Result<A, Status>
    where
        H: Future<Output = Result<A, Status>>,
        T: Future<Output = Result<Response<A>, Status>>,
    {
        match self.core.leader() {
            Some(leader) if leader.is_me => call.within(here(self.clone(), message)).await,
            Some(leader) if call.forwarded => Err(not_leader(&leader)),
            Some(leader) => {
                let channel = self.forward.channel(&leader)?;
                // A call over the network takes room that each call here would have to move about with it.
                let answer = Box::pin(there(channel, forward::onward(call, message)));
                let answer = async { answer.await.map_err(|s| forward::failed(&leader, s)) };
                call.within(answer).await.map(Response::into_inner)
            }
            None => Err(self.no_leader()),
        }
    }

    /// Has a command carried out by all, once its fields are good.
    async fn propose(&self, command: Command) -> Result<Reply, Status> {
        command
            .check()
            .map_err(|refusal| status::refused(&refusal))?;
        match self.core.propose(command).await {
            Ok(outcome) => outcome.map_err(|refusal| status::refused(&refusal)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Waits until what this node has applied is as new as the call.
    async fn barrier(&self) -> Result<(), Status> {
        if mutation::on("stale-reads") {
            return Ok(());
        }
        self.core.read_barrier().await.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: ProposeError) -> Status {
        match error {
            ProposeError::NotLeader {
                leader: Some((node_id, address)),
            } => not_leader(&Leader {
                node_id,
                address,
                is_me: false,
            }),
            ProposeError::NotLeader { leader: None } => self.no_leader(),
            ProposeError::Busy { retry_after } => busy(retry_after),
            ProposeError::Unknown(why) => Reason::OutcomeUnknown.because(why).into(),
            ProposeError::Stopped(why) => Reason::NodeStopped.because(why).into(),
        }
    }

    fn no_leader(&self) -> Status {
        let error = if self.core.status().role == Role::Uninitialized {
            let what = "this node belongs to no cluster yet: make one with preau init, or add it to \
                        one with preau member add";
            Reason::NoCluster.because(what)
        } else {
            let what = "no leader is known: an election is under way, or a majority of the nodes \
                        can't be reached; send the request again";
            Reason::NoLeader.because(what)
        };
        error.into()
    }
}

fn not_leader(leader: &Leader) -> Status {
    let Leader {
        node_id, address, ..
    } = leader;
    Reason::NotLeader
        .because(format!(
            "node {node_id} at {address} leads; send the request there"
        ))
        .with("leader_id", node_id)
        .with("leader_address", address)
        .into()
}

fn busy(retry_after: Duration) -> Status {
    Reason::TooBusy
        .because("as many requests wait for the log as may; send the request again later")
        .with("limit", "in_flight")
        .retry_after(retry_after)
        .into()
}

fn refuse(field: &str, value: impl std::fmt::Display, expected: impl Into<String>) -> Status {
    status::refused(&status::invalid(field, value, expected))
}

/// The regions of a pool, and who waits in them.
fn regions(state: &State, pool: &str) -> Vec<v1::RegionStatus> {
    let rules = state.pool(pool).map(|pool| pool.rules).unwrap_or_default();
    // Both are by name, and of the same regions.
    let queues = state.queues(pool).into_iter().map(Some);
    let queues = queues.chain(std::iter::repeat(None));
    let regions = state.regions(pool).into_iter().zip(queues);
    regions
        .map(|(region, queue)| api::region(region, queue, &rules))
        .collect()
}
