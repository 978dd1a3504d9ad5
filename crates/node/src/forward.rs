//! The way to the leader, for calls that come to a node that follows.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};

use api::status::Reason;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::core::Leader;
use crate::gate::{Call, FORWARDED};
use crate::network::Way;
use crate::tls::{endpoint, root};

/// Connections to the leader, which calls take turns on.
const CONNECTIONS: usize = 2;

/// Connections to whoever leads, opened when they are needed.
#[derive(Debug)]
pub(crate) struct Forward {
    way: Way,
    pool: Mutex<Pool>,
}

/// Connections to one node. Those to the leader before are dropped, and end with the calls on them.
#[derive(Debug, Default)]
struct Pool {
    address: String,
    channels: Vec<Channel>,
    turn: usize,
}

impl Forward {
    pub fn new(way: Way) -> Self {
        Self {
            way,
            pool: Mutex::default(),
        }
    }

    /// A connection to the leader.
    pub fn channel(&self, leader: &Leader) -> Result<Channel, Status> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.address != leader.address || pool.channels.is_empty() {
            let endpoint = endpoint(&leader.address, &self.way.tls)
                .map_err(|why| unreachable(leader, &why.to_string()))?;
            pool.address.clone_from(&leader.address);
            pool.channels = (0..CONNECTIONS)
                .map(|_| self.way.channel(&endpoint))
                .collect();
        }
        pool.turn = (pool.turn + 1) % CONNECTIONS;
        Ok(pool.channels[pool.turn].clone())
    }
}

/// The same request, with what is left of its time, marked so that it goes one hop only.
pub(crate) fn onward<T>(call: &Call, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(call.deadline.saturating_duration_since(Instant::now()));
    request
        .metadata_mut()
        .insert(FORWARDED, MetadataValue::from_static("1"));
    request
}

/// What the caller is told of a forwarded call that failed: the leader's own words, or that it gave none.
pub(crate) fn failed(leader: &Leader, status: Status) -> Status {
    // Only what is made on this side of the connection has a source.
    match status.source() {
        Some(source) => unreachable(leader, &root(source)),
        None => Status::with_details(
            status.code(),
            status.message(),
            status.details().to_vec().into(),
        ),
    }
}

fn unreachable(leader: &Leader, why: &str) -> Status {
    let Leader {
        node_id, address, ..
    } = leader;
    Reason::LeaderUnreachable
        .because(format!(
            "the leader, node {node_id} at {address}, gave no answer: {why}; send the request again"
        ))
        .with("leader_id", node_id)
        .into()
}
