//! Linearizable reads by read index: whoever comes while one round is on its way shares the next.

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::propose::{KNOWN_WITHIN, ProposeError, stopping};
use crate::types::Raft;

/// Readers that wait at a time.
const MAX_READERS: usize = 65_536;
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

type Reader = oneshot::Sender<Result<(), ProposeError>>;

/// Where readers wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Barrier {
    readers: mpsc::Sender<Reader>,
}

impl Barrier {
    /// Starts the task that asks around. It ends with the last clone.
    pub fn start(raft: Raft) -> (Self, tokio::task::JoinHandle<()>) {
        let (readers, mut queue) = mpsc::channel::<Reader>(MAX_READERS);
        let task = tokio::spawn(async move {
            let mut waiting = Vec::new();
            while queue.recv_many(&mut waiting, MAX_READERS).await > 0 {
                let passed = round(&raft).await;
                for reader in waiting.drain(..) {
                    let _ = reader.send(passed.clone());
                }
            }
        });
        (Self { readers }, task)
    }

    /// Returns once this node has applied all that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// Where this node does not lead, or no quorum says that it does.
    pub async fn pass(&self) -> Result<(), ProposeError> {
        let (reader, passed) = oneshot::channel();
        let queued = self.readers.try_send(reader);
        queued.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy {
                retry_after: RETRY_AFTER,
            },
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        passed.await.unwrap_or_else(|_| Err(stopping()))
    }
}

async fn round(raft: &Raft) -> Result<(), ProposeError> {
    let passed = raft.ensure_linearizable(ReadPolicy::ReadIndex);
    match tokio::time::timeout(KNOWN_WITHIN, passed).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
            Err(forward.into())
        }
        Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
            let why = "no quorum says that this node still leads";
            Err(ProposeError::Unknown(why.into()))
        }
        Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Stopped(fatal.to_string())),
    }
}
