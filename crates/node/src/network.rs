//! The way to the other nodes: three connections to each, so that neither a full log stream nor a
//! snapshot holds up a heartbeat or a vote.

use std::collections::HashMap;
use std::future::Future;
use std::io::Read as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use api::connect::{self, Dial};
use api::v1;
use api::v1::peer_service_client::PeerServiceClient;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use openraft::async_runtime::WatchReceiver as _;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::blocking::blocking;
use crate::machine::SnapshotData;
use crate::peer::{CLUSTER, MAX_MESSAGE, NODE, ROLE, Role};
use crate::tls::endpoint;
use crate::types::{
    Disk, MetricsWatch, Snapshot, TypeConfig, Vote, append_to, appended_from, log_id_from,
    log_id_to, meta_to, vote_from, vote_to,
};

/// A connection that is not there after this long is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a peer is asked whether it still lives, and how long it may take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));
/// How long a peer may take to answer one request, or to open a stream.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a whole snapshot may take.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);
/// Bytes of one chunk of a snapshot, and chunks read ahead.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_AHEAD: usize = 2;

/// TLS towards the other nodes, where there is any.
pub(crate) type PeerTls = Option<ClientTlsConfig>;

/// How the other nodes are reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    pub tls: PeerTls,
    /// Another network than the machine's.
    pub dial: Option<Arc<dyn Dial>>,
}

impl Way {
    /// A connection, made when it is first used.
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        connect::channel(endpoint, self.dial.as_ref())
    }
}

/// All other nodes. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    store: Disk,
    way: Way,
    connections: Mutex<HashMap<String, Connections>>,
    metrics: OnceLock<MetricsWatch>,
}

#[derive(Clone)]
struct Connections {
    log: Channel,
    control: Channel,
    snapshot: Channel,
}

impl Peers {
    pub fn new(store: Disk, way: Way) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                way,
                connections: Mutex::default(),
                metrics: OnceLock::new(),
            }),
        }
    }

    /// Where to look up who has a vote.
    pub fn watch(&self, metrics: MetricsWatch) {
        let _ = self.shared.metrics.set(metrics);
    }

    /// A client for the node at `address`. Nothing is connected yet.
    pub fn client(&self, target: u64, address: &str) -> Client {
        let mut known = self
            .shared
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connections = match known.get(address) {
            Some(connections) => Ok(connections.clone()),
            None => self.connect(address).inspect(|connections| {
                known.insert(address.into(), connections.clone());
            }),
        };
        Client {
            peers: self.clone(),
            target,
            connections,
            beats: false,
        }
    }

    /// Forgets the connections to addresses that nobody has any more.
    pub fn keep(&self, addresses: impl Fn(&str) -> bool) {
        self.shared
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|address, _| addresses(address));
    }

    fn connect(&self, address: &str) -> Result<Connections, String> {
        // A peer that is gone is to be noticed sooner than others.
        let way = &self.shared.way;
        let endpoint = endpoint(address, &way.tls)
            .map_err(|error| format!("{address}: {error}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1);
        Ok(Connections {
            log: way.channel(&endpoint),
            control: way.channel(&endpoint),
            snapshot: way.channel(&endpoint),
        })
    }

    /// What this node is to `target`: as the members stand.
    fn role(&self, target: u64) -> Role {
        let voter = self.shared.metrics.get().is_none_or(|metrics| {
            let members = &metrics.borrow_watched().membership_config;
            members.voter_ids().any(|id| id == target)
        });
        if voter { Role::Voter } else { Role::Learner }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Client {
        self.client(target, &node.addr)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &BasicNode) -> Client {
        let mut client = self.client(target, &node.addr);
        client.beats = true;
        client
    }
}

/// One other node.
pub(crate) struct Client {
    peers: Peers,
    target: u64,
    connections: Result<Connections, String>,
    /// Whether its appends are heartbeats.
    beats: bool,
}

/// What a node says of itself to whoever wants it in a cluster.
pub(crate) struct Introduction {
    /// Its id.
    pub node_id: u64,
    /// Its cluster, where it has one.
    pub cluster: String,
    /// Whether it has a log or has voted.
    pub has_history: bool,
}

fn unreachable(error: impl ToString) -> Unreachable<TypeConfig> {
    Unreachable::from_string(error)
}

fn failed(status: Status) -> RPCError<TypeConfig> {
    RPCError::Unreachable(unreachable(status.message()))
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {limit:?}"
        ))),
    }
}

impl Client {
    fn service(
        &self,
        connection: fn(&Connections) -> &Channel,
    ) -> Result<PeerServiceClient<Channel>, Status> {
        match &self.connections {
            Ok(connections) => Ok(PeerServiceClient::new(connection(connections).clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)),
            Err(why) => Err(Status::unavailable(why.clone())),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let cluster = self.peers.shared.store.cluster_id().unwrap_or_default();
        self.request_as(message, self.peers.role(self.target), &cluster)
    }

    fn request_as<T>(&self, message: T, role: Role, cluster: &str) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Ok(cluster) = MetadataValue::try_from(cluster) {
            metadata.insert(CLUSTER, cluster);
        }
        metadata.insert(NODE, MetadataValue::from(self.target));
        metadata.insert(ROLE, MetadataValue::from_static(role.as_str()));
        request
    }

    /// Asks the node who it is; it need not be in this cluster.
    pub async fn introduce(&self) -> Result<Introduction, Status> {
        self.greet(Role::Stranger, "").await
    }

    /// Makes the node a founding member of `cluster`.
    pub async fn found(&self, cluster: &str) -> Result<Introduction, Status> {
        self.greet(Role::Founder, cluster).await
    }

    async fn greet(&self, role: Role, cluster: &str) -> Result<Introduction, Status> {
        let mut service = self.service(|c| &c.control)?;
        // Asks whether it would vote in term 0, which nobody ever would, and takes the answer's metadata.
        let request = self.request_as(v1::PreVoteRequest::default(), role, cluster);
        let answer = within(ANSWER_WITHIN, service.pre_vote(request)).await?;
        let said = |key| {
            let value = answer.metadata().get(key)?;
            value.to_str().ok().map(str::to_owned)
        };
        let node_id = said(NODE).and_then(|id| id.parse().ok());
        let (node_id, cluster) = node_id
            .zip(said(CLUSTER))
            .ok_or_else(|| Status::unimplemented("it answers, but not as a node does"))?;
        let answer = answer.into_inner();
        Ok(Introduction {
            node_id,
            cluster,
            has_history: answer.last.is_some() || answer.ballot.is_some_and(|b| b.term > 0),
        })
    }

    async fn ask_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
    ) -> Result<VoteResponse<TypeConfig>, Status> {
        let request = v1::VoteRequest {
            ballot: Some(vote_to(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(log_id_to),
            transfer: rpc.leadership_transfer,
        };
        let mut service = self.service(|c| &c.control)?;
        let answer = within(ANSWER_WITHIN, service.vote(self.request(request))).await?;
        let answer = answer.into_inner();
        let vote = vote_from(answer.ballot).map_err(|e| Status::internal(e.to_string()))?;
        let last = answer.last.map(log_id_from);
        Ok(VoteResponse::new(vote, last, answer.granted))
    }

    async fn ask_pre_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
    ) -> Result<VoteResponse<TypeConfig>, Status> {
        let request = v1::PreVoteRequest {
            ballot: Some(vote_to(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(log_id_to),
        };
        let mut service = self.service(|c| &c.control)?;
        let answer = within(ANSWER_WITHIN, service.pre_vote(self.request(request))).await?;
        let answer = answer.into_inner();
        let vote = vote_from(answer.ballot).map_err(|e| Status::internal(e.to_string()))?;
        let last = answer.last.map(log_id_from);
        Ok(VoteResponse::new(vote, last, answer.granted))
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> Result<Vote, Status> {
        let SnapshotData::Stored(file) = snapshot.snapshot else {
            return Err(Status::internal("the snapshot is in no file"));
        };
        let header = v1::SnapshotHeader {
            ballot: Some(vote_to(&vote)),
            meta: Some(meta_to(&snapshot.meta)),
            length: file.len,
        };
        let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
        let reader = tokio::spawn(read_chunks(file, chunks));
        let header = stream::iter([v1::install_snapshot_request::Part::Header(header)]);
        let parts = header
            .chain(ReceiverStream::new(received).map(v1::install_snapshot_request::Part::Chunk))
            .map(|part| v1::InstallSnapshotRequest { part: Some(part) });
        let mut service = self.service(|c| &c.snapshot)?;
        let answer = within(
            SNAPSHOT_WITHIN,
            service.install_snapshot(self.request(parts)),
        );
        let answer = answer.await?.into_inner();
        match reader.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Status::data_loss(error.to_string())),
            Err(error) => return Err(Status::internal(error.to_string())),
        }
        vote_from(answer.ballot).map_err(|e| Status::internal(e.to_string()))
    }
}

async fn read_chunks(file: store::Snapshot, chunks: mpsc::Sender<Bytes>) -> std::io::Result<()> {
    let mut body = blocking(move || Ok(file.open()?)).await?;
    loop {
        let read = blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            body.by_ref()
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk)?;
            Ok((body, chunk))
        });
        let chunk;
        (body, chunk) = read.await?;
        // A receiver that is gone has its own reason.
        if chunk.is_empty() || chunks.send(chunk.into()).await.is_err() {
            return Ok(());
        }
    }
}

type Answers<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let one = Box::pin(stream::once(async { rpc }));
        let mut answers = RaftNetworkV2::stream_append(self, one, option).await?;
        match answers.next().await {
            Some(answer) => Ok(answer?.into()),
            None => Err(failed(Status::unavailable("the stream ended"))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let service = match self.beats {
                true => self.service(|c| &c.control),
                false => self.service(|c| &c.log),
            };
            let mut service = service.map_err(failed)?;
            // openraft waits between failures where its next request is drawn, and nowhere else: to connect
            // before that would be to try again at once, for ever.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as Answers<'s>);
            };
            let input = stream::iter([first]).chain(input);
            let request = self.request(input.map(append_to));
            let answers = within(ANSWER_WITHIN, service.append(request)).await;
            let answers = answers.map_err(failed)?.into_inner().map(|answer| {
                appended_from(answer.map_err(failed)?)
                    .map_err(|e| RPCError::Unreachable(unreachable(e)))
            });
            Ok(Box::pin(answers) as Answers<'s>)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc).await.map_err(failed)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_pre_vote(rpc).await.map_err(failed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(status) => Err(unreachable(status.message()).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = v1::TakeLeadRequest {
            from: Some(vote_to(rpc.from_leader())),
            to: *rpc.to_node_id(),
            last: rpc.last_log_id().map(log_id_to),
        };
        let mut service = self.service(|c| &c.control).map_err(failed)?;
        let answer = within(ANSWER_WITHIN, service.take_lead(self.request(request))).await;
        answer.map_err(failed)?;
        Ok(Ok(()))
    }
}
