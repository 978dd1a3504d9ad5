//! What the other nodes ask of this one.

use std::sync::Arc;
use std::time::Duration;

use api::v1;
use api::v1::peer_service_server::{PeerService, PeerServiceServer};
use futures_util::{Stream, StreamExt as _, stream};
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use quota::State;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

use crate::blocking::blocking;
use crate::machine::SnapshotData;
use crate::types::{
    Disk, Raft, Snapshot, SnapshotMeta, Vote, append_from, appended_to, log_id_from, log_id_to,
    meta_from, until, vote_from, vote_to,
};

/// The metadata key of the caller's cluster id.
pub(crate) const CLUSTER: &str = "preau-cluster";
/// The metadata key of the id of the node that is meant.
pub(crate) const NODE: &str = "preau-node";
/// The metadata key of a [`Role`].
pub(crate) const ROLE: &str = "preau-role";
/// Most bytes of a message between nodes: an entry of the largest batch, and room for its frame.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;
/// Most bytes of a snapshot.
const MAX_SNAPSHOT: u64 = 1 << 30;
/// How long a follower that is to take a snapshot may take to finish what it is at.
const QUIET_WITHIN: Duration = Duration::from_secs(5);
/// What is being written when a snapshot comes is on the disk after this long, in all likelihood.
const FLUSHED_WITHIN: Duration = Duration::from_millis(500);

/// What the called node is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A member with a vote.
    Voter,
    /// A member without a vote, or one that is to be.
    Learner,
    /// To be one of the first members of a new cluster.
    Founder,
    /// Not known yet: it is only asked who it is.
    Stranger,
}

impl Role {
    const ALL: [Self; 4] = [Self::Voter, Self::Learner, Self::Founder, Self::Stranger];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Founder => "founder",
            Self::Stranger => "stranger",
        }
    }
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer {
    raft: Raft,
    store: Disk,
    /// Appends hold it shared while they are handed over; a snapshot holds it alone, see `quiet`.
    gate: Arc<RwLock<()>>,
    stopped: watch::Sender<Option<String>>,
}

impl Peer {
    pub fn new(raft: Raft, store: Disk, stopped: watch::Sender<Option<String>>) -> Self {
        Self {
            raft,
            store,
            gate: Arc::default(),
            stopped,
        }
    }

    pub fn into_service(self) -> PeerServiceServer<Self> {
        PeerServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Lets in who means this node and its cluster. A node without a cluster takes that of whoever makes
    /// it a founder or a learner.
    async fn admit(&self, metadata: &MetadataMap) -> Result<Role, Status> {
        let said = |key| {
            let value = metadata.get(key).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| Status::invalid_argument(format!("metadata {key}: not given")))
        };
        let (id, meant) = (self.store.node_id(), said(NODE)?);
        if meant != id.to_string() {
            return Err(Status::failed_precondition(format!(
                "this is node {id}, not node {meant}; correct the address of node {meant}"
            )));
        }
        let named = said(ROLE)?;
        let role = Role::ALL.into_iter().find(|role| role.as_str() == named);
        let role = role
            .ok_or_else(|| Status::invalid_argument(format!("metadata {ROLE}: {named:?} given")))?;
        let cluster = said(CLUSTER)?;
        match self.store.cluster_id() {
            _ if role == Role::Stranger => {}
            Some(own) if own == cluster => {}
            Some(own) => {
                return Err(Status::failed_precondition(format!(
                    "node {id} belongs to cluster {own}, not to cluster {cluster:?}; stop it and empty its data \
                     directory if it is to change clusters"
                )));
            }
            None if cluster.is_empty() => {
                return Err(Status::failed_precondition(
                    "neither node belongs to a cluster; run `preau init`",
                ));
            }
            None if role == Role::Voter => return Err(self.wiped(cluster)),
            None => {
                let (store, cluster) = (self.store.clone(), cluster.to_owned());
                blocking(move || Ok(store.set_cluster_id(&cluster)?))
                    .await
                    .map_err(|e| Status::unavailable(e.to_string()))?;
            }
        }
        Ok(role)
    }

    /// A voter that has forgotten its votes could vote twice in one term, and elect two leaders. It stops.
    fn wiped(&self, cluster: &str) -> Status {
        let id = self.store.node_id();
        let message = format!(
            "node {id} is a voter of cluster {cluster}, but its data directory is empty: it has forgotten how it \
             voted and must not vote again. Run `preau member remove {id}`, start the node under a new id, then run \
             `preau member add` and `preau member promote` for that one"
        );
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert_with(|| message.clone());
            first
        });
        Status::failed_precondition(message)
    }

    /// Waits until all that was handed to openraft before is written and applied. The gate is held alone.
    ///
    /// openraft forgets the log below a snapshot when it takes it in, and installs it once what is queued
    /// before it is done. Entries that are applied in between would be looked up in vain, and openraft
    /// would panic (its issue 2116): so nothing is left to be done in between.
    async fn quiet(&self) -> Result<(), Status> {
        let last = self
            .raft
            .with_raft_state(|state| state.log_ids.last().copied())
            .await
            .map_err(stopped)?;
        // Not all of these get to say what is written: nothing may have been, since the start.
        let mut log = self.raft.watch_log_progress();
        let written = log.wait_until(|at| at.as_ref().and_then(|at| at.last_log_id) >= last);
        let _ = tokio::time::timeout(FLUSHED_WITHIN, written).await;
        let applied = until(&self.raft, |m| m.last_applied == m.local_committed);
        match tokio::time::timeout(QUIET_WITHIN, applied).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Status::unavailable("raft has stopped")),
            Err(_) => Err(Status::unavailable(
                "busy with the entries before the snapshot",
            )),
        }
    }

    async fn install(&self, vote: Vote, snapshot: Snapshot) -> Result<Vote, Status> {
        let upto = snapshot.meta.last_log_id;
        let gate = match tokio::time::timeout(QUIET_WITHIN, self.gate.write()).await {
            Ok(gate) => gate,
            Err(_) => return Err(Status::unavailable("busy with the entries before")),
        };
        self.quiet().await?;
        let taken = until(&self.raft, |m| m.last_log_index >= upto.map(|id| id.index));
        let install = self.raft.install_full_snapshot(vote, snapshot);
        tokio::pin!(install);
        let response = tokio::select! {
            response = &mut install => response,
            _ = taken => {
                // Taken in: what comes now is queued behind it.
                drop(gate);
                install.await
            }
        };
        Ok(response.map_err(stopped)?.vote)
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped: {error}"))
}

fn malformed(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

type Gate = Option<OwnedRwLockReadGuard<()>>;

#[tonic::async_trait]
impl PeerService for Peer {
    type AppendStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::AppendResponse, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.admit(request.metadata()).await?;
        let state = (request.into_inner(), Arc::clone(&self.gate), Gate::None);
        // openraft asks for the next one once it has the last: until then the gate is held.
        let requests = stream::unfold(state, |(mut requests, gate, held)| async move {
            drop(held);
            let request = match requests.message().await {
                Ok(request) => request?,
                Err(status) => {
                    tracing::debug!(%status, "a stream of appends broke");
                    return None;
                }
            };
            let request = append_from(request)
                .inspect_err(|error| tracing::error!(%error, "an append was refused"))
                .ok()?;
            let held = Arc::clone(&gate).read_owned().await;
            Some((request, (requests, gate, Some(held))))
        });
        let answers = self.raft.stream_append(requests);
        let answers = answers.map(|answer| answer.map(appended_to).map_err(stopped));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        self.admit(request.metadata()).await?;
        let request = request.into_inner();
        let vote = vote_from(request.ballot).map_err(malformed)?;
        let mut rpc = VoteRequest::new(vote, request.last.map(log_id_from));
        rpc.leadership_transfer = request.transfer;
        let answer = self.raft.vote(rpc).await.map_err(stopped)?;
        Ok(Response::new(v1::VoteResponse {
            ballot: Some(vote_to(&answer.vote)),
            last: answer.last_log_id.as_ref().map(log_id_to),
            granted: answer.vote_granted,
        }))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::PreVoteRequest>,
    ) -> Result<Response<v1::PreVoteResponse>, Status> {
        let role = self.admit(request.metadata()).await?;
        let request = request.into_inner();
        let vote = match role {
            Role::Stranger | Role::Founder => Vote::new(0, self.store.node_id()),
            Role::Voter | Role::Learner => vote_from(request.ballot).map_err(malformed)?,
        };
        let rpc = VoteRequest::new(vote, request.last.map(log_id_from));
        let answer = self.raft.pre_vote(rpc).await.map_err(stopped)?;
        let mut response = Response::new(v1::PreVoteResponse {
            ballot: Some(vote_to(&answer.vote)),
            last: answer.last_log_id.as_ref().map(log_id_to),
            granted: answer.vote_granted,
        });
        let metadata = response.metadata_mut();
        metadata.insert(NODE, MetadataValue::from(self.store.node_id()));
        let cluster = self.store.cluster_id().unwrap_or_default();
        if let Ok(cluster) = MetadataValue::try_from(cluster) {
            metadata.insert(CLUSTER, cluster);
        }
        Ok(response)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::InstallSnapshotRequest>>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        self.admit(request.metadata()).await?;
        let (vote, meta, body) = receive(request.into_inner()).await?;
        let read = blocking(move || match State::restore(&body) {
            Ok(state) => Ok(SnapshotData::Received(Box::new(state), body)),
            Err(error) => Err(std::io::Error::other(error)),
        });
        let snapshot = read.await.map_err(|e| Status::data_loss(e.to_string()))?;
        let vote = self.install(vote, Snapshot { meta, snapshot }).await?;
        Ok(Response::new(v1::InstallSnapshotResponse {
            ballot: Some(vote_to(&vote)),
        }))
    }

    async fn take_lead(
        &self,
        request: Request<v1::TakeLeadRequest>,
    ) -> Result<Response<v1::TakeLeadResponse>, Status> {
        self.admit(request.metadata()).await?;
        let request = request.into_inner();
        let from = vote_from(request.from).map_err(malformed)?;
        let last = request.last.map(log_id_from);
        let rpc = TransferLeaderRequest::new(from, request.to, last);
        let answer = self.raft.handle_transfer_leader(rpc).await;
        match answer.map_err(stopped)? {
            Ok(()) => Ok(Response::new(v1::TakeLeadResponse {})),
            Err(refused) => Err(Status::failed_precondition(refused.to_string())),
        }
    }
}

/// Receives a snapshot, of the length that its header says.
async fn receive(
    mut parts: Streaming<v1::InstallSnapshotRequest>,
) -> Result<(Vote, SnapshotMeta, Vec<u8>), Status> {
    use v1::install_snapshot_request::Part;
    let first = parts.message().await?.and_then(|request| request.part);
    let Some(Part::Header(header)) = first else {
        return Err(Status::invalid_argument(
            "a snapshot begins with its header",
        ));
    };
    let vote = vote_from(header.ballot).map_err(malformed)?;
    let meta = meta_from(header.meta.unwrap_or_default()).map_err(malformed)?;
    if header.length > MAX_SNAPSHOT {
        return Err(Status::invalid_argument(format!(
            "length: {} given, expected at most {MAX_SNAPSHOT}",
            header.length
        )));
    }
    let mut body = Vec::new();
    while let Some(request) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = request.part else {
            return Err(Status::invalid_argument("chunks follow a header"));
        };
        if body.len() + chunk.len() > header.length as usize {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    if body.len() as u64 != header.length {
        return Err(Status::data_loss(format!(
            "the snapshot is not of the {} bytes announced",
            header.length
        )));
    }
    Ok((vote, meta, body))
}
