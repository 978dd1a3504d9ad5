//! Who belongs to the cluster, and who leads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{BasicNode, ChangeMembers};
use tokio::sync::MutexGuard;

use crate::blocking::blocking;
use crate::config::check_address;
use crate::core::Core;
use crate::propose::ProposeError;
use crate::types::{Metrics, TypeConfig, until};

/// Most members of a cluster.
pub(crate) const MAX_MEMBERS: usize = 32;
/// Entries that a node may lack and still count as caught up.
const CAUGHT_UP: u64 = 1_000;
/// How long a change of the members may take.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// How long a new leader may take to lead.
const LEAD_WITHIN: Duration = Duration::from_secs(4);
/// How long a leader that stops waits for another to lead.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(1_500);

/// Why the members did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemberError {
    /// Another node leads, or none. Nothing has changed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, and where it is.
        leader: Option<(u64, String)>,
    },
    /// A value can't be. Nothing has changed.
    #[error("{field}: {value} given, expected {expected}")]
    Invalid {
        /// The field.
        field: String,
        /// What was given.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// No such member. Nothing has changed.
    #[error("node {0} is not a member")]
    NoSuchMember(u64),
    /// The cluster or a node is not in a state for it. Nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// A node can't be reached. Nothing has changed.
    #[error("{0}")]
    Unreachable(String),
    /// It may have changed, or may yet.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// This node is stopping or has stopped.
    #[error("{0}")]
    Stopped(String),
}

impl From<ClientWriteError<TypeConfig>> for MemberError {
    fn from(error: ClientWriteError<TypeConfig>) -> Self {
        match error {
            ClientWriteError::ForwardToLeader(forward) => ProposeError::from(forward).into(),
            ClientWriteError::LogEntryDiscarded(_) => Self::Unknown(error.to_string()),
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
                Self::busy()
            }
            ClientWriteError::ChangeMembershipError(error) => Self::Refused(error.to_string()),
            ClientWriteError::PreconditionFailed(error) => Self::Refused(error.to_string()),
        }
    }
}

impl From<RaftError<TypeConfig, ClientWriteError<TypeConfig>>> for MemberError {
    fn from(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        match error {
            RaftError::APIError(error) => error.into(),
            RaftError::Fatal(fatal) => Self::Stopped(fatal.to_string()),
        }
    }
}

impl From<ProposeError> for MemberError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Self::NotLeader { leader },
            ProposeError::Stopped(why) => Self::Stopped(why),
            error @ (ProposeError::Busy { .. } | ProposeError::Unknown(_)) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

impl MemberError {
    fn busy() -> Self {
        Self::Refused("the members are changing already; wait until that is done".into())
    }

    fn invalid(field: impl Into<String>, value: impl ToString, expected: &str) -> Self {
        Self::Invalid {
            field: field.into(),
            value: value.to_string(),
            expected: expected.into(),
        }
    }
}

fn checked_address(field: &str, address: &str) -> Result<(), MemberError> {
    check_address(field, address).map_err(|error| MemberError::Invalid {
        field: error.field,
        value: error.value,
        expected: error.expected,
    })
}

impl Core {
    /// Makes a new cluster of `members`, each an id and an address, with this node among them. Each must
    /// be up and belong to no cluster.
    ///
    /// # Errors
    /// Where a value or a node is not as it must be. A founding that got part of the way can be repeated
    /// on the same node.
    pub async fn init(&self, members: Vec<(u64, String)>) -> Result<(), MemberError> {
        let _changing = self.change_members()?;
        let inner = &self.inner;
        let me = inner.store.node_id();
        let nodes = founders(me, &members)?;
        let initialized = inner.raft.is_initialized().await;
        if initialized.map_err(|e| MemberError::Stopped(e.to_string()))? {
            let cluster = inner.store.cluster_id().unwrap_or_default();
            return Err(MemberError::Refused(format!(
                "node {me} belongs to cluster {cluster} already; a cluster is made once"
            )));
        }
        // One that was begun here is gone on with.
        let begun = inner.store.cluster_id();
        let cluster = match &begun {
            Some(cluster) => cluster.clone(),
            None => new_cluster_id()?,
        };
        let others = || nodes.iter().filter(|(id, _)| **id != me);
        let ready = others().map(|(&id, node)| self.expect_free(id, &node.addr, begun.as_deref()));
        try_join_all(ready).await?;
        let store = inner.store.clone();
        let own = cluster.clone();
        blocking(move || Ok(store.set_cluster_id(&own)?))
            .await
            .map_err(|e| MemberError::Stopped(e.to_string()))?;
        for (&id, node) in others() {
            let founded = inner.peers.client(id, &node.addr).found(&cluster).await;
            founded.map_err(|status| {
                let why = status.message();
                MemberError::Unreachable(format!(
                    "node {id} at {}: {why}; correct that and run the same again",
                    node.addr
                ))
            })?;
        }
        match inner.raft.initialize(nodes).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(error))) => {
                Err(MemberError::Refused(error.to_string()))
            }
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
                Err(MemberError::Refused(error.to_string()))
            }
            Err(RaftError::Fatal(fatal)) => Err(MemberError::Stopped(fatal.to_string())),
        }
    }

    /// Adds a node as a learner, which gets the log and has no vote yet. Adding it again changes nothing.
    ///
    /// # Errors
    /// Where it can't be reached, is another one, or belongs to another cluster.
    pub async fn add_learner(&self, node_id: u64, address: String) -> Result<(), MemberError> {
        let _changing = self.change_members()?;
        let members = self.leading()?.membership_config;
        if node_id == 0 {
            return Err(MemberError::invalid("node_id", 0, "at least 1"));
        }
        checked_address("address", &address)?;
        for (&id, node) in members.nodes() {
            match (id == node_id, node.addr == address) {
                (true, true) => return Ok(()),
                (true, false) => {
                    return Err(MemberError::Refused(format!(
                        "node {id} is a member already, at {}; remove it first, or give the new node an id that was \
                         never used",
                        node.addr
                    )));
                }
                (false, true) => {
                    return Err(MemberError::Refused(format!(
                        "address {address} is that of node {id}"
                    )));
                }
                (false, false) => {}
            }
        }
        if members.nodes().count() >= MAX_MEMBERS {
            return Err(MemberError::Refused(format!(
                "the cluster has {MAX_MEMBERS} members, which is the most"
            )));
        }
        let own = self.inner.store.cluster_id();
        self.expect_free(node_id, &address, own.as_deref()).await?;
        let node = BasicNode::new(address);
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node_id, node)])))
            .await
    }

    /// Makes a learner a voter. A voter stays one.
    ///
    /// # Errors
    /// Where it is no member, or has not caught up.
    pub async fn promote(&self, node_id: u64) -> Result<(), MemberError> {
        let _changing = self.change_members()?;
        let metrics = self.leading()?;
        let members = &metrics.membership_config;
        if members.get_node(&node_id).is_none() {
            return Err(MemberError::NoSuchMember(node_id));
        }
        if members.voter_ids().any(|id| id == node_id) {
            return Ok(());
        }
        let lag = lag(&metrics, node_id);
        if lag.is_none_or(|lag| lag > CAUGHT_UP) {
            let behind = lag.map_or("has not answered yet".into(), |lag| {
                format!("lacks {lag} entries")
            });
            return Err(MemberError::Refused(format!(
                "node {node_id} {behind}, and may lack {CAUGHT_UP} to become a voter; wait until it has caught up"
            )));
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node_id])))
            .await
    }

    /// Removes a node, voter or learner. A leader that removes itself hands leadership over.
    ///
    /// # Errors
    /// Where it is no member, or the only voter.
    pub async fn remove(&self, node_id: u64) -> Result<(), MemberError> {
        let _changing = self.change_members()?;
        let members = self.leading()?.membership_config;
        if members.get_node(&node_id).is_none() {
            return Err(MemberError::NoSuchMember(node_id));
        }
        let ids = BTreeSet::from([node_id]);
        if !members.voter_ids().any(|id| id == node_id) {
            return self.change(ChangeMembers::RemoveNodes(ids)).await;
        }
        if members.voter_ids().all(|id| id == node_id) {
            return Err(MemberError::Refused(format!(
                "node {node_id} is the only voter; add and promote another one first"
            )));
        }
        self.change(ChangeMembers::RemoveVoters(ids)).await
    }

    /// Hands leadership to the voter `to`, or with 0 to the one that is furthest; returns who leads then.
    ///
    /// # Errors
    /// Where it is no voter, is behind, or does not take it.
    pub async fn transfer(&self, to: u64) -> Result<u64, MemberError> {
        let _changing = self.change_members()?;
        let metrics = self.leading()?;
        let me = metrics.id;
        let members = &metrics.membership_config;
        let to = match to {
            0 => successor(&metrics).ok_or_else(|| {
                MemberError::Refused("there is no other voter that has caught up".into())
            })?,
            to if members.get_node(&to).is_none() => return Err(MemberError::NoSuchMember(to)),
            to if !members.voter_ids().any(|id| id == to) => {
                return Err(MemberError::Refused(format!(
                    "node {to} has no vote; promote it first"
                )));
            }
            to => to,
        };
        if to == me {
            return Ok(me);
        }
        if lag(&metrics, to).is_none_or(|lag| lag > CAUGHT_UP) {
            return Err(MemberError::Refused(format!(
                "node {to} has not caught up; wait until it has"
            )));
        }
        self.give_lead(to).await?;
        Ok(to)
    }

    /// Where this node leads and another could: hands leadership over, before the node stops. It is tried
    /// once: the others can elect a leader without this one's help.
    pub(crate) async fn hand_over(&self) {
        let given = async {
            let Some(to) = self.leading().ok().as_ref().and_then(successor) else {
                return;
            };
            match tokio::time::timeout(HAND_OVER_WITHIN, self.give_lead(to)).await {
                Ok(Ok(())) => tracing::info!(to, "leadership handed over"),
                Ok(Err(error)) => tracing::warn!(%error, "leadership was not handed over"),
                Err(_) => tracing::warn!(to, "leadership was not handed over in time"),
            }
        };
        self.inner.handed_over.get_or_init(|| given).await;
    }

    async fn give_lead(&self, to: u64) -> Result<(), MemberError> {
        let raft = &self.inner.raft;
        let asked = raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| MemberError::Stopped(fatal.to_string()))?;
        let taken = until(raft, |metrics| metrics.current_leader == Some(to));
        match tokio::time::timeout(LEAD_WITHIN, taken).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(MemberError::Stopped("raft has stopped".into())),
            Err(_) => Err(MemberError::Unknown(format!(
                "node {to} does not lead after {LEAD_WITHIN:?}"
            ))),
        }
    }

    fn change_members(&self) -> Result<MutexGuard<'_, ()>, MemberError> {
        let changing = self.inner.changing.try_lock();
        changing.map_err(|_| MemberError::busy())
    }

    /// How Raft stands, where this node leads.
    fn leading(&self) -> Result<Metrics, MemberError> {
        let raft = &self.inner.raft;
        raft.as_leader().map_err(ProposeError::from)?;
        Ok(raft.metrics().borrow_watched().clone())
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), MemberError> {
        let changed = self.inner.raft.change_membership(change, false);
        match tokio::time::timeout(CHANGE_WITHIN, changed).await {
            Ok(changed) => Ok(changed.map(drop)?),
            Err(_) => Err(MemberError::Unknown(format!(
                "no quorum has taken the change after {CHANGE_WITHIN:?}"
            ))),
        }
    }

    /// Checks that the node at `address` is `node_id`, and belongs to no cluster but `own`.
    async fn expect_free(
        &self,
        node_id: u64,
        address: &str,
        own: Option<&str>,
    ) -> Result<(), MemberError> {
        let client = self.inner.peers.client(node_id, address);
        let said = client.introduce().await.map_err(|status| {
            let why = status.message();
            match status.code() {
                tonic::Code::FailedPrecondition => {
                    MemberError::Refused(format!("at {address}: {why}"))
                }
                _ => MemberError::Unreachable(format!(
                    "node {node_id} at {address} does not answer: {why}; see that it runs and that this node can \
                     reach it"
                )),
            }
        })?;
        if said.node_id != node_id {
            return Err(MemberError::Refused(format!(
                "at {address} is node {}, not node {node_id}",
                said.node_id
            )));
        }
        if !said.cluster.is_empty() && own != Some(&said.cluster) {
            return Err(MemberError::Refused(format!(
                "node {node_id} at {address} belongs to cluster {}; stop it and empty its data directory if it is \
                 to change clusters",
                said.cluster
            )));
        }
        if said.cluster.is_empty() && said.has_history {
            return Err(MemberError::Refused(format!(
                "node {node_id} at {address} has a log but no cluster; empty its data directory"
            )));
        }
        Ok(())
    }
}

/// Checks the founding members.
fn founders(me: u64, members: &[(u64, String)]) -> Result<BTreeMap<u64, BasicNode>, MemberError> {
    let mut nodes: BTreeMap<u64, BasicNode> = BTreeMap::new();
    for (at, (id, address)) in members.iter().enumerate() {
        let field = |name: &str| format!("members[{at}].{name}");
        if *id == 0 {
            return Err(MemberError::invalid(field("node_id"), id, "at least 1"));
        }
        checked_address(&field("address"), address)?;
        if nodes.values().any(|node| node.addr == *address) {
            let expected = "an address that no other member has";
            return Err(MemberError::invalid(
                field("address"),
                format!("{address:?}"),
                expected,
            ));
        }
        if nodes.insert(*id, BasicNode::new(address)).is_some() {
            let expected = "an id that no other member has";
            return Err(MemberError::invalid(field("node_id"), id, expected));
        }
    }
    if nodes.len() > MAX_MEMBERS {
        let expected = format!("at most {MAX_MEMBERS}");
        return Err(MemberError::invalid("members", nodes.len(), &expected));
    }
    if !nodes.contains_key(&me) {
        let expected = format!("node {me}, which is asked, among them");
        let ids: Vec<String> = nodes.keys().map(u64::to_string).collect();
        let given = if ids.is_empty() {
            "none".into()
        } else {
            ids.join(", ")
        };
        return Err(MemberError::invalid("members", given, &expected));
    }
    Ok(nodes)
}

fn new_cluster_id() -> Result<String, MemberError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| MemberError::Stopped(format!("no randomness from the system: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Entries that a node lacks, as its leader knows.
fn lag(metrics: &Metrics, node_id: u64) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node_id)?.as_ref()?;
    Some(metrics.last_log_index?.saturating_sub(matched.index))
}

/// The other voter that is furthest, where one has caught up.
fn successor(metrics: &Metrics) -> Option<u64> {
    let members = &metrics.membership_config;
    members
        .voter_ids()
        .filter(|&id| id != metrics.id)
        .filter_map(|id| Some((lag(metrics, id)?, id)))
        .filter(|(lag, _)| *lag <= CAUGHT_UP)
        .min()
        .map(|(_, id)| id)
}
