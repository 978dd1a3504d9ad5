//! How the pool stands and who leads, asked of the cluster again and again.

use std::time::Duration;

use api::v1;
use client::Nodes;
use tokio::sync::mpsc;
use tonic::Status;

use crate::cluster;
use crate::failure::Failure;
use crate::local::leader::Leaders;

/// How often the cluster is asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long it may take to answer.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// What one look found.
pub struct Look {
    /// The pool and its regions.
    pub seen: Result<v1::InspectResponse, Status>,
    /// Who leads; 0 where nobody is known to.
    pub leader: u64,
    /// How often it has changed since the start.
    pub leader_changes: u64,
    /// Log entries applied.
    pub entries: u64,
}

/// Looks at the pool and at who leads, in a task of its own: the load does not wait for it.
pub struct Looks(mpsc::Receiver<Look>);

impl Looks {
    /// Begins to look.
    pub fn start(addresses: &[String], nodes: Nodes, pool: String) -> Result<Self, Failure> {
        let mut leaders = Leaders::new(addresses)?;
        let (looks, received) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(LOOK_EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                leaders.look().await;
                let look = Look {
                    seen: inspect(&nodes, &pool).await,
                    leader: leaders.seen().map_or(0, |leader| leader.node_id),
                    leader_changes: leaders.changes(),
                    entries: leaders.seen().map_or(0, |leader| leader.applied),
                };
                // Nobody looks any more: the run has ended.
                if looks.send(look).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self(received))
    }

    /// What the next look finds.
    pub async fn next(&mut self) -> Option<Look> {
        self.0.recv().await
    }
}

async fn inspect(nodes: &Nodes, pool: &str) -> Result<v1::InspectResponse, Status> {
    let request = v1::InspectRequest {
        pool: pool.to_owned(),
        region: String::new(),
        stale: false,
    };
    nodes
        .call(LOOK_WITHIN, |channel| {
            let request = request.clone();
            async move { Ok(cluster::lease(channel).inspect(request).await?.into_inner()) }
        })
        .await
}
