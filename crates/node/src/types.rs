//! openraft's types as this node uses them, and their form on the wire and on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use api::v1;
use bytes::Bytes;
use openraft::alias::{
    LeaderIdOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf, WatchReceiverOf,
};
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::vote::RaftVote as _;
use openraft::{BasicNode, EntryPayload};
use prost::Message as _;
use quota::Outcome;
use store::Storage;

openraft::declare_raft_types!(
    /// What openraft is told of this node's types; those not named are openraft's own.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Outcomes,
);

/// What the node keeps.
pub(crate) type Disk = Arc<dyn Storage>;

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LeaderId = LeaderIdOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, BasicNode>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = SnapshotOf<TypeConfig, crate::machine::SnapshotData>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;
pub(crate) type MetricsWatch = WatchReceiverOf<TypeConfig, Metrics>;

/// Waits until Raft stands so; `false` where it has ended before.
pub(crate) async fn until(raft: &Raft, so: impl Fn(&Metrics) -> bool) -> bool {
    let mut metrics = raft.metrics();
    loop {
        if so(&metrics.borrow_and_update()) {
            return true;
        }
        if metrics.changed().await.is_err() {
            return false;
        }
    }
}

/// An encoded batch.
#[derive(Clone, PartialEq)]
pub(crate) struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One outcome for each command of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outcomes(pub Vec<Outcome>);

/// Bytes or a message that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Malformed {
    what: &'static str,
    why: String,
}

impl Malformed {
    fn new(what: &'static str, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { what, why }
    }

    fn missing(what: &'static str) -> Self {
        Self::new(what, "is missing")
    }
}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn log_id_to(id: &LogId) -> v1::LogId {
    v1::LogId {
        term: id.leader_id.term,
        node_id: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id_from(id: v1::LogId) -> LogId {
    let leader_id = LeaderId {
        term: id.term,
        node_id: id.node_id,
    };
    LogId::new(leader_id, id.index)
}

pub(crate) fn vote_to(vote: &Vote) -> v1::Ballot {
    v1::Ballot {
        term: vote.leader_id().term,
        node_id: vote.leader_id().node_id,
        committed: vote.is_committed(),
    }
}

pub(crate) fn vote_from(ballot: Option<v1::Ballot>) -> Result<Vote, Malformed> {
    let ballot = ballot.ok_or(Malformed::missing("ballot"))?;
    let leader_id = LeaderId {
        term: ballot.term,
        node_id: ballot.node_id,
    };
    Ok(Vote::from_leader_id(leader_id, ballot.committed))
}

/// Reads what the log keeps of a vote, a log id or an entry.
pub(crate) fn decode<M: prost::Message + Default>(
    what: &'static str,
    bytes: Bytes,
) -> Result<M, Malformed> {
    M::decode(bytes).map_err(|e| Malformed::new(what, e))
}

pub(crate) fn entry_to(entry: &Entry) -> v1::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(Proposal(batch)) => Some(v1::entry::Payload::Batch(batch.clone())),
        EntryPayload::Membership(membership) => {
            Some(v1::entry::Payload::Membership(membership_to(membership)))
        }
    };
    v1::Entry {
        id: Some(log_id_to(&entry.log_id)),
        payload,
    }
}

pub(crate) fn entry_from(entry: v1::Entry) -> Result<Entry, Malformed> {
    let log_id = log_id_from(entry.id.ok_or(Malformed::missing("entry.id"))?);
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(v1::entry::Payload::Batch(batch)) => EntryPayload::Normal(Proposal(batch)),
        Some(v1::entry::Payload::Membership(membership)) => {
            EntryPayload::Membership(membership_from(membership)?)
        }
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    entry_to(entry).encode_to_vec().into()
}

pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, Malformed> {
    entry_from(decode("entry", bytes)?)
}

fn membership_to(membership: &Membership) -> v1::Membership {
    let voter_sets = membership.get_joint_config().iter().map(|set| {
        let node_ids = set.iter().copied().collect();
        v1::VoterSet { node_ids }
    });
    let nodes = membership.nodes().map(|(&node_id, node)| v1::PeerNode {
        node_id,
        address: node.addr.clone(),
    });
    v1::Membership {
        voter_sets: voter_sets.collect(),
        nodes: nodes.collect(),
    }
}

fn membership_from(from: v1::Membership) -> Result<Membership, Malformed> {
    let sets = from
        .voter_sets
        .into_iter()
        .map(|set| set.node_ids.into_iter().collect::<BTreeSet<u64>>())
        .collect::<Vec<_>>();
    let nodes = from
        .nodes
        .into_iter()
        .map(|node| (node.node_id, BasicNode::new(node.address)))
        .collect::<BTreeMap<u64, BasicNode>>();
    if sets.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(sets, nodes).map_err(|e| Malformed::new("membership", e))
}

pub(crate) fn meta_to(meta: &SnapshotMeta) -> v1::SnapshotMeta {
    let membership = v1::StoredMembership {
        log_id: meta.last_membership.log_id().as_ref().map(log_id_to),
        membership: Some(membership_to(meta.last_membership.membership())),
    };
    let snapshot_id = meta.last_log_id.map_or(String::new(), |id| {
        format!(
            "{}-{}-{}",
            id.leader_id.term, id.leader_id.node_id, id.index
        )
    });
    v1::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(log_id_to),
        membership: Some(membership),
        snapshot_id,
    }
}

pub(crate) fn meta_from(meta: v1::SnapshotMeta) -> Result<SnapshotMeta, Malformed> {
    let stored = meta
        .membership
        .ok_or(Malformed::missing("meta.membership"))?;
    let membership = membership_from(stored.membership.unwrap_or_default())?;
    Ok(SnapshotMeta {
        last_log_id: meta.last.map(log_id_from),
        last_membership: StoredMembership::new(stored.log_id.map(log_id_from), membership),
    })
}

pub(crate) fn append_to(request: AppendEntriesRequest<TypeConfig>) -> v1::AppendRequest {
    v1::AppendRequest {
        ballot: Some(vote_to(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to),
        entries: request.entries.iter().map(entry_to).collect(),
        committed: request.leader_commit.as_ref().map(log_id_to),
    }
}

pub(crate) fn append_from(
    request: v1::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let entries: Result<Vec<Entry>, _> = request.entries.into_iter().map(entry_from).collect();
    let request = AppendEntriesRequest::<TypeConfig> {
        vote: vote_from(request.ballot)?,
        prev_log_id: request.previous.map(log_id_from),
        entries: entries?,
        leader_commit: request.committed.map(log_id_from),
    };
    let mut before = request.prev_log_id.map(|id| id.index);
    for entry in &request.entries {
        let expected = before.map_or(Some(0), |before| before.checked_add(1));
        if Some(entry.log_id.index) != expected {
            let expected = expected.map_or("none".into(), |expected| expected.to_string());
            let why = format!("index {} where {expected} was due", entry.log_id.index);
            return Err(Malformed::new("entries", why));
        }
        before = expected;
    }
    Ok(request)
}

pub(crate) fn appended_to(result: StreamAppendResult<TypeConfig>) -> v1::AppendResponse {
    use v1::append_response::Outcome;
    let outcome = match result {
        Ok(upto) => Outcome::Appended(v1::Appended {
            upto: upto.as_ref().map(log_id_to),
        }),
        Err(StreamAppendError::Conflict(previous)) => Outcome::Conflict(v1::Conflict {
            previous: Some(log_id_to(&previous)),
        }),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::Higher(vote_to(&vote)),
    };
    v1::AppendResponse {
        outcome: Some(outcome),
    }
}

pub(crate) fn appended_from(
    response: v1::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, Malformed> {
    use v1::append_response::Outcome;
    Ok(
        match response.outcome.ok_or(Malformed::missing("outcome"))? {
            Outcome::Appended(appended) => Ok(appended.upto.map(log_id_from)),
            Outcome::Partial(upto) => Ok(Some(log_id_from(upto))),
            Outcome::Conflict(conflict) => {
                let previous = conflict.previous.ok_or(Malformed::missing("previous"))?;
                Err(StreamAppendError::Conflict(log_id_from(previous)))
            }
            Outcome::Higher(ballot) => Err(StreamAppendError::HigherVote(vote_from(Some(ballot))?)),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(previous: u64, entry: u64) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
        let id = |index| v1::LogId {
            term: 1,
            node_id: 1,
            index,
        };
        append_from(v1::AppendRequest {
            ballot: Some(v1::Ballot::default()),
            previous: Some(id(previous)),
            entries: vec![v1::Entry {
                id: Some(id(entry)),
                payload: None,
            }],
            committed: None,
        })
    }

    #[test]
    fn entries_follow_on_what_is_before_them() {
        assert!(append(4, 5).is_ok());
        let why = append(4, 6).unwrap_err().to_string();
        assert_eq!(why, "entries: index 6 where 5 was due");
        let why = append(u64::MAX, 0).unwrap_err().to_string();
        assert_eq!(why, "entries: index 0 where none was due");
    }
}
