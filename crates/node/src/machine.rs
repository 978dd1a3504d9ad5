//! The state machine as openraft drives it: batches applied in memory, snapshots in files.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::{Stream, TryStreamExt as _};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use prost::Message as _;
use quota::{Batch, State};
use store::SnapshotWriter;
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::types::{
    Disk, LogId, Outcomes, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, decode,
    meta_from, meta_to,
};

/// What this node has applied. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct Applied {
    shared: Arc<Shared>,
}

struct Shared {
    applied: RwLock<State>,
    /// Held apart: who asks how far it is waits for no batch.
    last: RwLock<Last>,
    index: watch::Sender<u64>,
}

#[derive(Clone, Default)]
struct Last {
    log_id: Option<LogId>,
    membership: StoredMembership,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Applied {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                applied: RwLock::default(),
                last: RwLock::default(),
                index: watch::channel(0).0,
            }),
        }
    }

    /// Reads the state. Nothing is applied meanwhile, so `f` is to be short.
    pub fn with_state<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        f(&read(&self.shared.applied))
    }

    /// The last entry applied.
    pub fn last(&self) -> Option<LogId> {
        read(&self.shared.last).log_id
    }

    /// The index of the last entry applied, as it changes.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.shared.index.subscribe()
    }

    fn reached(&self, log_id: LogId, membership: Option<StoredMembership>) {
        let mut last = write(&self.shared.last);
        last.log_id = Some(log_id);
        if let Some(membership) = membership {
            last.membership = membership;
        }
        drop(last);
        self.shared.index.send_replace(log_id.index);
    }
}

/// The state machine.
pub(crate) struct Machine {
    applied: Applied,
    store: Disk,
}

/// A snapshot's body.
pub(crate) enum SnapshotData {
    /// In its file.
    Stored(store::Snapshot),
    /// As it came from the leader: read, and not yet in a file.
    Received(Box<State>, Vec<u8>),
}

impl Machine {
    pub fn new(store: Disk) -> Self {
        Self {
            applied: Applied::new(),
            store,
        }
    }

    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let last = read(&self.applied.shared.last).clone();
        Ok((last.log_id, last.membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let (mut outcomes, mut membership) = (Outcomes::default(), None);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Proposal(bytes)) => {
                    let batch = Batch::decode(&bytes).map_err(|error| {
                        damaged(format!("entry {} can't be applied: {error}", entry.log_id))
                    })?;
                    outcomes.0 = write(&self.applied.shared.applied).apply(&batch);
                }
                EntryPayload::Membership(members) => {
                    membership = Some(StoredMembership::new(Some(entry.log_id), members));
                }
            }
            self.applied.reached(entry.log_id, membership);
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
        }
        Ok(())
    }

    /// Encodes the state before the next entry is applied, so that a snapshot is never ahead of what
    /// openraft knows to be applied; readers go on meanwhile. The file is begun here too: snapshots are
    /// numbered in this order, and the newest must be the furthest.
    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let last = read(&self.applied.shared.last).clone();
        let meta = SnapshotMeta {
            last_log_id: last.log_id,
            last_membership: last.membership,
        };
        let (applied, store) = (self.applied.clone(), self.store.clone());
        let header = meta_to(&meta).encode_to_vec();
        let begun = blocking(move || {
            let writer = store.snapshots().begin(header.into())?;
            Ok((writer, applied.with_state(State::snapshot)))
        });
        Builder {
            meta,
            begun: Some(begun.await),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (store, header) = (self.store.clone(), meta_to(meta).encode_to_vec());
        let state = blocking(move || {
            let (state, body) = match snapshot {
                SnapshotData::Received(state, body) => (state, body),
                SnapshotData::Stored(file) => {
                    let body = file.read_all()?;
                    let state = State::restore(&body);
                    let state = state
                        .map_err(|error| damaged(format!("{}: {error}", file.path.display())))?;
                    if store.snapshots().latest() == Some(file) {
                        return Ok(Box::new(state));
                    }
                    (Box::new(state), body)
                }
            };
            let mut writer = store.snapshots().begin(header.into())?;
            writer.write(&body)?;
            writer.finish()?;
            Ok(state)
        });
        let state = *state.await?;
        if !mutation::on("snapshot-ignored") {
            *write(&self.applied.shared.applied) = state;
        }
        if let Some(log_id) = meta.last_log_id {
            let membership = meta.last_membership.clone();
            self.applied.reached(log_id, Some(membership));
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.store.snapshots().latest().map(stored).transpose()
    }
}

fn stored(file: store::Snapshot) -> Result<Snapshot, io::Error> {
    let meta = meta_from(decode("snapshot", file.meta.clone())?)?;
    Ok(Snapshot {
        meta,
        snapshot: SnapshotData::Stored(file),
    })
}

/// Writes a snapshot that is already encoded.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    begun: Option<Result<(SnapshotWriter, Vec<u8>), io::Error>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let begun = self.begun.take();
        let (mut writer, body) = begun.unwrap_or_else(|| Err(io::Error::other("built already")))?;
        let file = blocking(move || {
            writer.write(&body)?;
            Ok(writer.finish()?)
        });
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: SnapshotData::Stored(file.await?),
        })
    }
}
