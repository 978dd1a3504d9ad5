//! Who leads a cluster, as seen from outside: asked of every node, and believed by the highest term.

use std::time::{Duration, Instant};

use api::v1;
use client::Nodes;

use super::{LOOK_WITHIN, unusable};
use crate::cluster;
use crate::failure::Failure;

/// The pause between two looks while there is no leader.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Follows who leads.
#[derive(Debug)]
pub struct Leaders {
    nodes: Vec<(String, Nodes)>,
    seen: Option<Leader>,
    changes: u64,
}

/// A leader and its term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The term in which it leads.
    pub term: u64,
    /// Which node it is.
    pub node_id: u64,
    /// Where it is reached; empty where no member list says it.
    pub address: String,
    /// The last entry that was applied, as the node said that knows most.
    pub applied: u64,
}

impl Leaders {
    /// Will ask the nodes at these addresses.
    pub fn new(addresses: &[String]) -> Result<Self, Failure> {
        let nodes = addresses
            .iter()
            .map(|address| Ok((address.clone(), Nodes::new([address]).map_err(unusable)?)))
            .collect::<Result<_, Failure>>()?;
        Ok(Self {
            nodes,
            seen: None,
            changes: 0,
        })
    }

    /// The leader seen last.
    pub fn seen(&self) -> Option<&Leader> {
        self.seen.as_ref()
    }

    /// How often it has changed since the first look.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Asks every node. Those that don't answer in a second are passed over.
    pub async fn look(&mut self) {
        let mut answers = tokio::task::JoinSet::new();
        for (_, nodes) in &self.nodes {
            let nodes = nodes.clone();
            answers.spawn(async move { ask(&nodes).await });
        }
        let mut best: Option<Leader> = None;
        while let Some(answer) = answers.join_next().await {
            let Ok(Some(leader)) = answer else { continue };
            best = Some(match best {
                None => leader,
                Some(known) => {
                    let applied = known.applied.max(leader.applied);
                    let newer = if leader.term > known.term {
                        leader
                    } else {
                        known
                    };
                    Leader { applied, ..newer }
                }
            });
        }
        if let Some(now) = best {
            self.note(now);
        }
    }

    fn note(&mut self, now: Leader) {
        match &self.seen {
            // A node that was cut off may still believe in an older one.
            Some(before) if now.term < before.term => return,
            Some(before) if (now.term, now.node_id) != (before.term, before.node_id) => {
                self.changes += 1;
            }
            _ => {}
        }
        self.seen = Some(now);
    }

    /// Waits until somebody leads.
    pub async fn wait(&mut self, within: Duration) -> Result<(), Failure> {
        let end = Instant::now() + within;
        loop {
            self.look().await;
            if self.seen.is_some() {
                return Ok(());
            }
            if Instant::now() >= end {
                let addresses: Vec<_> = self.nodes.iter().map(|(a, _)| a.as_str()).collect();
                return Err(Failure::unreachable(format!(
                    "no leader within {within:.0?} at {}: check that a majority of the nodes run",
                    addresses.join(", ")
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Who leads in the eyes of one node, if anybody.
async fn ask(nodes: &Nodes) -> Option<Leader> {
    let status = nodes
        .call(LOOK_WITHIN, |channel| async {
            let request = v1::StatusRequest {};
            Ok(cluster::cluster(channel)
                .status(request)
                .await?
                .into_inner())
        })
        .await
        .ok()?;
    (status.leader_id != 0).then(|| Leader {
        term: status.term,
        node_id: status.leader_id,
        address: status
            .members
            .iter()
            .find(|member| member.node_id == status.leader_id)
            .map(|member| member.address.clone())
            .unwrap_or_default(),
        applied: status.applied_index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_change_once_and_believes_the_higher_term() {
        let mut leaders = Leaders::new(&["127.0.0.1:4501".into()]).unwrap();
        let leader = |term, node_id| Leader {
            term,
            node_id,
            address: String::new(),
            applied: 0,
        };
        for (term, node_id, changes, seen) in [
            (1, 1, 0, 1),
            (1, 1, 0, 1),
            (2, 3, 1, 3),
            (1, 1, 1, 3),
            (3, 3, 2, 3),
        ] {
            leaders.note(leader(term, node_id));
            assert_eq!(leaders.changes(), changes);
            assert_eq!(leaders.seen().map(|l| l.node_id), Some(seen));
        }
    }
}
