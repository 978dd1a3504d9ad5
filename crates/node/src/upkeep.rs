//! What goes on beside the requests: snapshots, purges, and a look at whether Raft is alive.

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::Fatal;
use tokio::sync::watch;

use crate::config::RaftConfig;
use crate::core::Leader;
use crate::network::Peers;
use crate::types::{Disk, Raft, TypeConfig};

/// Takes a snapshot every so many entries applied, and purges the log well below it.
///
/// Not left to openraft: it forgets log entries when it decides to purge them, and looks entries up when
/// it applies them, so that a purge close to what is being applied can make it panic (its issue 2116).
/// What is purged here is in a snapshot, and so was applied long before.
pub(crate) async fn snapshots(raft: Raft, config: RaftConfig) {
    let mut metrics = raft.metrics();
    let (mut asked_at, mut purged_to) = (0, 0);
    loop {
        let (applied, snapshot, purged) = {
            let metrics = metrics.borrow_and_update();
            let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
            (
                index(metrics.last_applied),
                index(metrics.snapshot),
                index(metrics.purged),
            )
        };
        asked_at = snapshot.max(asked_at);
        // A purge waits while entries are on their way to a follower, perhaps for long, and Raft tells of
        // its figures after every step: asking again at each would keep both busy with nothing else.
        purged_to = match mutation::on("ask-again") {
            true => purged,
            false => purged.max(purged_to),
        };
        let asked = if applied >= asked_at.saturating_add(config.snapshot_every) {
            asked_at = applied;
            raft.trigger().snapshot().await
        } else {
            let upto = snapshot.min(applied).saturating_sub(config.keep_entries);
            // In steps, so that a log at rest is left alone.
            if upto > purged_to && upto - purged_to >= config.snapshot_every.min(upto) {
                purged_to = upto;
                raft.trigger().purge_log(upto).await
            } else {
                Ok(())
            }
        };
        if asked.is_err() || metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Says who leads, and why, once the store or Raft has ended; forgets connections to members that were.
pub(crate) async fn watch(
    raft: Raft,
    store: Disk,
    peers: Peers,
    leader: watch::Sender<Option<Leader>>,
    stopped: watch::Sender<Option<String>>,
) {
    let say = move |stopped: &watch::Sender<Option<String>>, why: String| {
        stopped.send_if_modified(|said| {
            let first = said.is_none();
            said.get_or_insert(why);
            first
        });
    };
    let failed = stopped.clone();
    store.on_failure(Box::new(move |failure| {
        say(&failed, format!("the store has failed: {failure}"));
    }));
    let mut metrics = raft.metrics();
    let mut members = None;
    loop {
        {
            let metrics = metrics.borrow_and_update();
            let leads = crate::core::leader(&metrics);
            leader.send_if_modified(|known| {
                let changed = *known != leads;
                *known = leads;
                changed
            });
            if let Err(fatal) = &metrics.running_state {
                // A store that failed has said more.
                match (fatal, store.failure()) {
                    (Fatal::Stopped, _) => {}
                    (_, Some(failure)) => say(&stopped, format!("the store has failed: {failure}")),
                    (_, None) => say(&stopped, describe(fatal)),
                }
                return;
            }
            let changed = members.as_ref() != Some(metrics.membership_config.log_id());
            if changed {
                members = Some(*metrics.membership_config.log_id());
                let nodes = &metrics.membership_config;
                peers.keep(|address| nodes.nodes().any(|(_, node)| node.addr == address));
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn describe(fatal: &Fatal<TypeConfig>) -> String {
    match fatal {
        Fatal::Panicked => {
            "raft has panicked, which is a defect: start the node again, which takes up \
                            what is stored, and report what was logged before"
                .into()
        }
        fatal => format!(
            "raft has stopped: {fatal}; correct that and start the node again, or remove it from the cluster and \
             let it join anew under a new node id"
        ),
    }
}
