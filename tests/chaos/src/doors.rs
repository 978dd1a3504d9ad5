//! The ways to the nodes, and what the end of a call means for the history.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use check::history::{Answer, Refused};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How long one try may take.
pub const PATIENCE: Duration = Duration::from_millis(1_500);
const KEEPALIVE: Duration = Duration::from_secs(1);

/// One connection to each node, whether it runs or not.
#[derive(Default)]
pub struct Doors(Mutex<BTreeMap<u64, (String, Channel)>>);

impl Doors {
    /// A node is at this address.
    pub fn add(&self, node: u64, address: &str) -> Result<(), String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| format!("{address}: {e}"))?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let door = (address.to_owned(), endpoint.connect_lazy());
        self.lock().insert(node, door);
        Ok(())
    }

    /// A node is no more.
    pub fn remove(&self, node: u64) {
        self.lock().remove(&node);
    }

    /// The nodes that there are.
    pub fn nodes(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    /// Where all nodes are.
    pub fn addresses(&self) -> Vec<String> {
        let doors = self.lock();
        doors.values().map(|(address, _)| address.clone()).collect()
    }

    /// The way to one node.
    pub fn to(&self, node: u64) -> Option<Channel> {
        self.lock().get(&node).map(|(_, channel)| channel.clone())
    }

    /// The way to some node.
    pub fn any(&self, rng: &mut fastrand::Rng) -> Option<Channel> {
        rng.choice(self.nodes()).and_then(|node| self.to(node))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (String, Channel)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that says how long it may take.
pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// Makes a call, and gives it up after [`PATIENCE`].
pub async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(ended) => ended.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// What a call that failed is in the history: anything that does not surely mean that nothing was done is
/// an unknown outcome.
pub fn failed(status: &Status) -> Answer {
    let message = status.message().to_owned();
    let reason = client::reason(status).unwrap_or_default();
    match (status.code(), reason.as_str()) {
        (_, "SHUTTING_DOWN" | "TOO_BUSY" | "NOT_LEADER" | "NO_CLUSTER") => {
            Answer::Failed(format!("{reason}: {message}"))
        }
        (
            Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::ResourceExhausted,
            reason,
        ) if !reason.is_empty() => Answer::Refused(Refused {
            reason: reason.to_owned(),
            message,
        }),
        (code, _) => Answer::Unknown(format!("{code:?} {reason}: {message}")),
    }
}

/// Whether the answer is final, so that a retry gets no other.
pub fn is_final(answer: &Answer) -> bool {
    !matches!(answer, Answer::Unknown(_) | Answer::Failed(_))
}
