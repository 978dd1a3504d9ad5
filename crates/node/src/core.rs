//! A Raft member without its front: what is proposed, read, changed and known here.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api::v1::peer_service_server::PeerServiceServer;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Instant as _, ServerState, SnapshotPolicy, StepDownPolicy};
use quota::{Command, Outcome, State};
use store::{OpenError, Options, Store};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::task::JoinHandle;

use crate::barrier::Barrier;
use crate::blocking::blocking;
use crate::config::{Config, RaftConfig};
use crate::log::Log;
use crate::machine::{Applied, Machine};
use crate::network::{Peers, Way};
use crate::peer::Peer;
use crate::propose::{ProposeError, Proposer, stopping};
use crate::types::{Disk, Metrics, Raft};
use crate::upkeep;

/// How long a node that stops waits for the proposals on their way.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);
/// Entries in one append: their bytes are bounded too.
const MAX_APPEND_ENTRIES: u64 = 1_024;

/// Why a member can't start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in it can't be taken up.
    #[error("what is stored can't be taken up: {0}")]
    Stored(String),
    /// The configuration makes no sense to Raft.
    #[error("raft: {0}")]
    Config(String),
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its id.
    pub node_id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it is this node.
    pub is_me: bool,
}

/// How this node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreStatus {
    pub node_id: u64,
    pub cluster_id: Option<String>,
    pub role: Role,
    pub term: u64,
    pub leader_id: Option<u64>,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
    pub disk_bytes: u64,
    pub cluster_time_ms: u64,
    /// By id.
    pub members: Vec<MemberStatus>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    Follower,
    Candidate,
    Learner,
    /// It belongs to no cluster yet.
    Uninitialized,
}

/// A member, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberStatus {
    pub node_id: u64,
    pub address: String,
    pub voter: bool,
    /// The last index known to be on its disk; the leader knows.
    pub matched_index: Option<u64>,
    /// Milliseconds since it answered; the leader knows.
    pub last_seen_ms: Option<u64>,
}

/// A Raft member. Cheap to clone; clones are the same member.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub raft: Raft,
    pub store: Disk,
    pub peers: Peers,
    /// Held while the members change, by this node's wish.
    pub changing: Mutex<()>,
    /// Set once leadership was handed over, or could not be.
    pub handed_over: OnceCell<()>,
    applied: Applied,
    peer: Peer,
    work: RwLock<Option<Work>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    leader: watch::Sender<Option<Leader>>,
    stopped: watch::Sender<Option<String>>,
}

/// Where requests go in; gone once the node stops.
#[derive(Clone)]
struct Work {
    proposer: Proposer,
    barrier: Barrier,
}

impl Core {
    /// Opens the data directory.
    ///
    /// # Errors
    /// Where it can't be used.
    pub async fn open(config: &Config) -> Result<Disk, StartError> {
        let (dir, node_id) = (config.data_dir.clone(), config.node_id);
        let opened =
            tokio::task::spawn_blocking(move || Store::open(&dir, node_id, Options::default()));
        let opened = opened
            .await
            .map_err(|e| StartError::Stored(e.to_string()))?;
        Ok(Arc::new(opened?))
    }

    /// Takes up what is stored, and joins in.
    ///
    /// # Errors
    /// Where what is stored can't be used; the store is closed then.
    pub async fn start(store: Disk, config: &Config, way: Way) -> Result<Self, StartError> {
        let started = Self::over(store.clone(), config, way).await;
        if started.is_err() {
            store.close();
        }
        started
    }

    async fn over(store: Disk, config: &Config, way: Way) -> Result<Self, StartError> {
        let raft_config = raft_config(&config.raft)?;
        let machine = Machine::new(store.clone());
        let (applied, peers) = (machine.applied(), Peers::new(store.clone(), way));
        let log = Log::new(store.clone());
        let raft = Raft::new(config.node_id, raft_config, peers.clone(), log, machine);
        let raft = raft.await.map_err(|fatal| {
            let failure = store.failure().map(|failure| failure.to_string());
            StartError::Stored(failure.unwrap_or_else(|| fatal.to_string()))
        })?;
        peers.watch(raft.metrics());

        let (stopped, leader) = (watch::channel(None).0, watch::channel(None).0);
        let (group, queue) = (config.limits.group_commands, config.limits.in_flight);
        let (proposer, proposing) = Proposer::start(
            raft.clone(),
            applied.clone(),
            usize::try_from(group).unwrap_or(usize::MAX),
            usize::try_from(queue).unwrap_or(usize::MAX),
        );
        let (barrier, reading) = Barrier::start(raft.clone());
        let tasks = vec![
            proposing,
            reading,
            tokio::spawn(upkeep::snapshots(raft.clone(), config.raft.clone())),
            tokio::spawn(upkeep::watch(
                raft.clone(),
                store.clone(),
                peers.clone(),
                leader.clone(),
                stopped.clone(),
            )),
        ];
        let peer = Peer::new(raft.clone(), store.clone(), stopped.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                raft,
                store,
                peers,
                changing: Mutex::default(),
                handed_over: OnceCell::new(),
                applied,
                peer,
                work: RwLock::new(Some(Work { proposer, barrier })),
                tasks: Mutex::new(tasks),
                leader,
                stopped,
            }),
        })
    }

    /// The service for the other nodes.
    pub fn peer_service(&self) -> PeerServiceServer<Peer> {
        self.inner.peer.clone().into_service()
    }

    fn work(&self) -> Result<Work, ProposeError> {
        let work = self.inner.work.read();
        let work = work.unwrap_or_else(PoisonError::into_inner);
        work.clone().ok_or_else(stopping)
    }

    /// Proposes a command, together with others that come at the time, and gives what came of it.
    ///
    /// # Errors
    /// Where it was not proposed, or its outcome is not known.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        self.work()?.proposer.propose(command).await
    }

    /// Proposes commands in their order, and gives what came of each.
    ///
    /// # Errors
    /// Where not all were proposed, or the outcome of one is not known.
    pub async fn propose_all(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, ProposeError> {
        self.work()?.proposer.propose_all(commands).await
    }

    /// Returns once all that was acknowledged anywhere before the call can be read here.
    ///
    /// # Errors
    /// Where this node does not lead, or no quorum says that it does.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        self.work()?.barrier.pass().await
    }

    /// Reads what this node has applied. Nothing is applied meanwhile, so `f` is to be short.
    pub fn with_state<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        self.inner.applied.with_state(f)
    }

    /// The last entry applied.
    pub fn last_applied(&self) -> Option<crate::types::LogId> {
        self.inner.applied.last()
    }

    /// The index of the last entry applied, as it changes.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.index()
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<Leader> {
        leader(&self.inner.raft.metrics().borrow_watched())
    }

    /// Who leads, as it changes.
    pub fn leaders(&self) -> watch::Receiver<Option<Leader>> {
        self.inner.leader.subscribe()
    }

    /// How this node stands.
    pub fn status(&self) -> CoreStatus {
        let inner = &self.inner;
        let metrics = inner.raft.metrics().borrow_watched().clone();
        let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        let members = &metrics.membership_config;
        let role = match metrics.state {
            _ if members.nodes().next().is_none() => Role::Uninitialized,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner | ServerState::Shutdown => Role::Learner,
        };
        CoreStatus {
            node_id: metrics.id,
            cluster_id: inner.store.cluster_id(),
            role,
            term: metrics.current_term,
            leader_id: metrics.current_leader,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index(metrics.cluster_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: index(metrics.snapshot),
            purged_index: index(metrics.purged),
            disk_bytes: inner.store.disk_bytes(),
            cluster_time_ms: inner.applied.with_state(State::now_ms),
            members: member_statuses(&metrics),
        }
    }

    /// Why this node has stopped by itself, and what to do.
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.inner.stopped.subscribe()
    }

    /// Hands leadership over, finishes what is on its way, and closes the data directory. What comes
    /// afterwards is refused.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        let work = inner
            .work
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if work.is_none() {
            return;
        }
        drop(work);
        let mut tasks = inner.tasks.lock().await;
        // The proposer ends once all that it had is answered.
        if let Some(proposing) = tasks.first_mut() {
            let _ = tokio::time::timeout(DRAIN_WITHIN, proposing).await;
        }
        self.hand_over().await;
        if let Err(error) = inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end well");
        }
        for task in tasks.drain(..) {
            task.abort();
        }
        let store = inner.store.clone();
        let closed = blocking(move || {
            store.close();
            Ok(())
        });
        let _ = closed.await;
    }
}

pub(crate) fn leader(metrics: &Metrics) -> Option<Leader> {
    let node_id = metrics.current_leader?;
    let address = metrics.membership_config.get_node(&node_id)?.addr.clone();
    let is_me = node_id == metrics.id;
    Some(Leader {
        node_id,
        address,
        is_me,
    })
}

fn member_statuses(metrics: &Metrics) -> Vec<MemberStatus> {
    let members = &metrics.membership_config;
    let mut statuses: Vec<MemberStatus> = members
        .nodes()
        .map(|(&node_id, node)| {
            let replicated = metrics.replication.as_ref();
            let answered = metrics.heartbeat.as_ref().and_then(|h| h.get(&node_id));
            let is_me = node_id == metrics.id && metrics.state.is_leader();
            let seen = answered.and_then(|at| at.as_ref());
            MemberStatus {
                node_id,
                address: node.addr.clone(),
                voter: members.voter_ids().any(|id| id == node_id),
                matched_index: replicated
                    .and_then(|r| r.get(&node_id))
                    .and_then(|id| id.as_ref().map(|id| id.index)),
                last_seen_ms: match is_me {
                    true => Some(0),
                    false => seen.map(|at| at.elapsed().as_millis() as u64),
                },
            }
        })
        .collect();
    statuses.sort_by_key(|member| member.node_id);
    statuses
}

/// openraft's configuration. Snapshots and purges are this node's own business, see `upkeep`.
fn raft_config(config: &RaftConfig) -> Result<Arc<openraft::Config>, StartError> {
    // To openraft a follower first waits out the leader's lease, which is as long as its longest election
    // timeout, and then a random timeout: together from `election_min_ms` to `election_max_ms`.
    let longest = config.election_max_ms / 2;
    let shortest = config.election_min_ms.saturating_sub(longest);
    let config = openraft::Config {
        cluster_name: "preau".into(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: shortest.max(config.heartbeat_ms + 1),
        election_timeout_max: longest,
        enable_pre_vote: Some(true),
        max_payload_entries: MAX_APPEND_ENTRIES,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A removed leader hands over at once; without a successor it would leave a gap.
        removed_leader_step_down: StepDownPolicy::After(0),
        // Entries go to followers before they are on this node's disk. A leader that went on in its old term
        // after a crash could give the index of an entry that it lost to another, under the same id.
        enable_leader_restore: Some(false),
        // A learner whose directory was emptied begins anew. A voter in that case refuses by itself.
        allow_log_reversion: Some(true),
        ..openraft::Config::default()
    };
    let config = config.validate();
    Ok(Arc::new(
        config.map_err(|e| StartError::Config(e.to_string()))?,
    ))
}
