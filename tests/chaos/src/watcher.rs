//! Looks at every node all the time: who leads, what is held where.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::v1;
use check::history::{Leads, Record, Stored};
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::cluster::status;
use crate::doors::Doors;
use crate::record::Recorder;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was seen.
pub struct Watcher {
    recorder: Arc<Recorder>,
    doors: Arc<Doors>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The highest term in which a node was seen to lead, and the node.
    leader: Option<(u64, u64)>,
    /// The highest entry that each node is known to hold.
    stored: BTreeMap<u64, u64>,
}

impl Watcher {
    pub fn new(recorder: Arc<Recorder>, doors: Arc<Doors>) -> Self {
        Self {
            recorder,
            doors,
            seen: Mutex::default(),
        }
    }

    /// Looks for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut leads = BTreeMap::new();
        loop {
            sleep(LOOK_EVERY).await;
            let looks = self.doors.nodes().into_iter().map(|id| {
                let this = Arc::clone(&self);
                async move { status(&this.doors, id).await.ok() }
            });
            for status in join_all(looks).await.into_iter().flatten() {
                if status.role() == v1::NodeRole::Leader {
                    let (term, node) = (status.term, status.node_id);
                    if leads.insert(term, node) != Some(node) {
                        let at_ns = self.recorder.now();
                        self.recorder
                            .push(Record::Leads(Leads { at_ns, node, term }));
                    }
                    self.leads(&status);
                }
            }
        }
    }

    /// A leader knows what the others hold. What is committed besides no later leader takes away.
    fn leads(&self, status: &v1::StatusResponse) {
        let mut seen = self.seen();
        seen.leader = seen.leader.max(Some((status.term, status.node_id)));
        for member in &status.members {
            let index = member.matched_index().min(status.committed_index);
            let before = seen.stored.entry(member.node_id).or_default();
            if index > *before {
                *before = index;
                let at_ns = self.recorder.now();
                // By index alone: of which term the entry is does not show.
                self.recorder.push(Record::Stored(Stored {
                    at_ns,
                    node: member.node_id,
                    index,
                    term: 0,
                    vote: 0,
                }));
            }
        }
    }

    /// The node that led when last seen.
    pub fn leader(&self) -> Option<u64> {
        self.seen().leader.map(|(_, node)| node)
    }

    /// The highest entry that a node is known to hold.
    pub fn stored(&self, id: u64) -> u64 {
        self.seen().stored.get(&id).copied().unwrap_or(0)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
