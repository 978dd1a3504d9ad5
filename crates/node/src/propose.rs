//! Proposals in groups: what comes while earlier groups are on their way goes into the next.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use quota::limits::{MAX_COMMANDS, MAX_COMMANDS_BYTES};
use quota::{Batch, Command, Outcome, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::machine::Applied;
use crate::types::{LeaderId, Outcomes, Proposal, Raft, TypeConfig};

/// Groups on their way at a time. More of them are smaller, and each costs a write on every node.
const GROUPS_AHEAD: usize = 4;
/// Entries on their way at a time where nothing is grouped.
const SINGLES_AHEAD: usize = 256;
/// How long the outcome of a proposal is waited for.
pub(crate) const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long a new leader may take to apply what its predecessors left.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// How often a leader looks whether time alone has something to change.
const TICK: Duration = Duration::from_millis(50);
/// When to come again to a node that is too busy.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// Another node leads, or none. Nothing was proposed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, and where it is.
        leader: Option<(u64, String)>,
    },
    /// Too much waits already. Nothing was proposed.
    #[error("too busy; come again in {retry_after:?}")]
    Busy {
        /// When to come again.
        retry_after: Duration,
    },
    /// It may have been carried out, or not; a retry is safe.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// This node is stopping or has stopped.
    #[error("{0}")]
    Stopped(String),
}

impl From<ForwardToLeader<TypeConfig>> for ProposeError {
    fn from(forward: ForwardToLeader<TypeConfig>) -> Self {
        let leader = forward.leader_id.zip(forward.leader_node);
        Self::NotLeader {
            leader: leader.map(|(id, node)| (id, node.addr)),
        }
    }
}

type Answer = oneshot::Sender<Result<Vec<Outcome>, ProposeError>>;

/// Commands that wait to be proposed, in one entry.
struct Waiting {
    commands: Vec<Command>,
    /// What they take in an entry: at most [`MAX_COMMANDS_BYTES`].
    bytes: usize,
    answer: Answer,
}

/// Who waits for the outcomes of so many commands of an entry.
struct Owed {
    commands: usize,
    answer: Answer,
}

/// Where commands wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Waiting>,
}

impl Proposer {
    /// Starts the task that proposes, `group` commands at a time at most, out of a queue of `queue`.
    pub fn start(
        raft: Raft,
        applied: Applied,
        group: usize,
        queue: usize,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let group = group.clamp(1, MAX_COMMANDS);
        let ahead = match group {
            1 => SINGLES_AHEAD,
            _ => GROUPS_AHEAD,
        };
        let task = Task {
            raft,
            applied,
            clock: Clock::default(),
            group,
            ahead,
            on_their_way: Arc::new(Semaphore::new(ahead)),
        };
        (Self { queue: sender }, tokio::spawn(task.run(receiver)))
    }

    /// Proposes a command, and gives what came of it.
    ///
    /// # Errors
    /// Where it was not proposed, or its outcome is not known.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let bytes = command.encoded_len();
        if bytes > MAX_COMMANDS_BYTES {
            return Ok(Err(Refusal::TooMany {
                what: "bytes of one command".into(),
                most: MAX_COMMANDS_BYTES as u64,
            }));
        }
        let outcomes = self.queue(vec![command], bytes)?;
        let outcomes = outcomes.await.unwrap_or_else(|_| Err(stopping()))?;
        let outcome = outcomes.into_iter().next();
        outcome.ok_or_else(|| ProposeError::Unknown("there was no answer".into()))
    }

    /// Proposes commands in their order, together where they fit into one entry, and gives what came of each.
    ///
    /// # Errors
    /// Where not all were proposed, or the outcome of one is not known.
    pub async fn propose_all(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, ProposeError> {
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut answers = Vec::new();
        let (mut part, mut bytes) = (Vec::new(), 0);
        for command in commands {
            let more = command.encoded_len();
            if bytes + more > MAX_COMMANDS_BYTES || part.len() >= MAX_COMMANDS {
                answers.push(self.queue(std::mem::take(&mut part), bytes)?);
                bytes = 0;
            }
            bytes += more;
            part.push(command);
        }
        if !part.is_empty() {
            answers.push(self.queue(part, bytes)?);
        }
        for answer in answers {
            outcomes.extend(answer.await.unwrap_or_else(|_| Err(stopping()))?);
        }
        Ok(outcomes)
    }

    fn queue(
        &self,
        commands: Vec<Command>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<Vec<Outcome>, ProposeError>>, ProposeError> {
        let (answer, outcomes) = oneshot::channel();
        let waiting = Waiting {
            commands,
            bytes,
            answer,
        };
        match self.queue.try_send(waiting) {
            Ok(()) => Ok(outcomes),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ProposeError::Busy {
                retry_after: RETRY_AFTER,
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
        }
    }
}

pub(crate) fn stopping() -> ProposeError {
    ProposeError::Stopped("the node is stopping".into())
}

struct Task {
    raft: Raft,
    applied: Applied,
    clock: Clock,
    group: usize,
    ahead: usize,
    on_their_way: Arc<Semaphore>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let on_their_way = Arc::clone(&self.on_their_way);
            let Ok(permit) = on_their_way.acquire_owned().await else {
                return;
            };
            tokio::select! {
                biased;
                received = queue.recv_many(&mut waiting, self.group) => {
                    if received == 0 {
                        break;
                    }
                    self.propose(&mut waiting, permit).await;
                }
                _ = tick.tick() => self.let_time_pass(permit).await,
            }
        }
        // Those on their way end by themselves.
        let all = u32::try_from(self.ahead).unwrap_or(u32::MAX);
        let _ = self.on_their_way.acquire_many(all).await;
    }

    /// Proposes all that waits, as one entry where it fits.
    async fn propose(&mut self, waiting: &mut Vec<Waiting>, permit: OwnedSemaphorePermit) {
        let (leader, time_ms) = match self.ready().await {
            Ok(ready) => ready,
            Err(error) => return refuse(waiting, &error),
        };
        let (permit, mut bytes) = (Arc::new(permit), 0);
        let (mut commands, mut owed) = (Vec::new(), Vec::new());
        for next in waiting.drain(..) {
            // Nobody may be waiting any more for those that were long in the queue.
            if next.answer.is_closed() {
                continue;
            }
            let fits = bytes + next.bytes <= MAX_COMMANDS_BYTES
                && commands.len() + next.commands.len() <= self.group;
            if !fits && !commands.is_empty() {
                let commands = std::mem::take(&mut commands);
                let batch = Batch { time_ms, commands };
                let owed = std::mem::take(&mut owed);
                self.send(leader, &batch, owed, Arc::clone(&permit)).await;
                bytes = 0;
            }
            bytes += next.bytes;
            owed.push(Owed {
                commands: next.commands.len(),
                answer: next.answer,
            });
            commands.extend(next.commands);
        }
        if !commands.is_empty() {
            let batch = Batch { time_ms, commands };
            self.send(leader, &batch, owed, permit).await;
        }
    }

    /// Proposes that time has passed, where this node leads and that alone changes something.
    async fn let_time_pass(&mut self, permit: OwnedSemaphorePermit) {
        if self.on_their_way.available_permits() + 1 < self.ahead {
            return;
        }
        let Ok(leader) = self.raft.as_leader() else {
            return;
        };
        let leader = *leader.leader_id();
        let Some(time_ms) = self.stamp(leader) else {
            return;
        };
        let due = |state: &quota::State| state.next_event_ms(time_ms).is_some();
        if self.applied.with_state(due) {
            let commands = Vec::new();
            let batch = Batch { time_ms, commands };
            self.send(leader, &batch, Vec::new(), Arc::new(permit))
                .await;
        }
    }

    fn stamp(&mut self, leader: LeaderId) -> Option<u64> {
        let applied = &self.applied;
        let reached = || (applied.last(), applied.with_state(quota::State::now_ms));
        if mutation::on("wall-clock") {
            return u64::try_from(crate::due::wall_s()).ok().map(|s| s * 1_000);
        }
        self.clock.stamp(leader, reached, Instant::now)
    }

    /// The leadership of this node and the time in it. A new leader waits until it has applied all that
    /// came before.
    async fn ready(&mut self) -> Result<(LeaderId, u64), ProposeError> {
        let mut index = self.applied.index();
        let until = Instant::now() + READY_WITHIN;
        loop {
            index.borrow_and_update();
            let leader = *self.raft.as_leader()?.leader_id();
            if let Some(time_ms) = self.stamp(leader) {
                return Ok((leader, time_ms));
            }
            // Whether it still leads is looked at again, even if nothing is applied.
            let again = tokio::time::timeout(TICK, index.changed()).await;
            if matches!(again, Ok(Err(_))) {
                return Err(stopping());
            }
            if Instant::now() >= until {
                return Err(ProposeError::Busy {
                    retry_after: RETRY_AFTER,
                });
            }
        }
    }

    async fn send(
        &self,
        leader: LeaderId,
        batch: &Batch,
        owed: Vec<Owed>,
        permit: Arc<OwnedSemaphorePermit>,
    ) {
        let batch = match batch.encode() {
            Ok(batch) => batch,
            Err(error) => return unknown(owed, &error.to_string()),
        };
        let (responder, result) = ProgressResponder::complete_only();
        // Only under the leadership that it was stamped for.
        let write = self.raft.write(Proposal(batch.into()));
        let sent = write.responder(responder).with_leader(leader).await;
        if let Err(fatal) = sent {
            return fail(owed, &ProposeError::Stopped(fatal.to_string()));
        }
        tokio::spawn(async move {
            match tokio::time::timeout(KNOWN_WITHIN, result).await {
                Ok(Ok(result)) => settle(result, owed),
                Ok(Err(_)) => unknown(owed, "raft has stopped"),
                Err(_) => unknown(owed, "no quorum has written it yet"),
            }
            drop(permit);
        });
    }
}

fn refuse(waiting: &mut Vec<Waiting>, error: &ProposeError) {
    for Waiting { answer, .. } in waiting.drain(..) {
        let _ = answer.send(Err(error.clone()));
    }
}

fn fail(owed: Vec<Owed>, error: &ProposeError) {
    for Owed { answer, .. } in owed {
        let _ = answer.send(Err(error.clone()));
    }
}

fn unknown(owed: Vec<Owed>, why: &str) {
    fail(owed, &ProposeError::Unknown(why.into()));
}

fn settle(result: ClientWriteResult<TypeConfig>, owed: Vec<Owed>) {
    match result {
        Ok(response) => {
            let Outcomes(outcomes) = response.data;
            if outcomes.len() != owed.iter().map(|owed| owed.commands).sum::<usize>() {
                return unknown(owed, "the answers are not those of the commands");
            }
            let mut outcomes = outcomes.into_iter();
            for Owed { commands, answer } in owed {
                let _ = answer.send(Ok(outcomes.by_ref().take(commands).collect()));
            }
        }
        Err(ClientWriteError::ForwardToLeader(forward)) => fail(owed, &forward.into()),
        Err(error) => unknown(owed, &error.to_string()),
    }
}
