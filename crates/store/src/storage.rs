//! What a node needs of a store, so that a simulation can put another in its place.

use std::ops::Range;

use bytes::Bytes;

use crate::{Bounds, Done, Failure, OnFailure, Snapshots, Store};

/// The log, vote and snapshots of one node; [`Store`] says what each must do.
#[allow(missing_docs)]
pub trait Storage: Send + Sync + 'static {
    fn node_id(&self) -> u64;
    fn cluster_id(&self) -> Option<String>;
    fn set_cluster_id(&self, id: &str) -> Result<(), Failure>;
    fn bounds(&self) -> Bounds;
    fn append(&self, first: u64, records: Vec<Bytes>, done: Done);
    fn truncate_after(&self, last: Option<u64>, done: Done);
    fn purge(&self, upto: u64, note: Bytes, done: Done);
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Bytes>, Failure>;
    fn vote(&self) -> Option<Bytes>;
    fn save_vote(&self, vote: Bytes, done: Done);
    fn committed(&self) -> Option<Bytes>;
    fn save_committed(&self, committed: Bytes) -> Result<(), Failure>;
    fn disk_bytes(&self) -> u64;
    fn failure(&self) -> Option<Failure>;
    fn on_failure(&self, f: OnFailure);
    fn snapshots(&self) -> &Snapshots;
    fn close(&self);
}

macro_rules! as_store {
    ($($name:ident($($arg:ident: $of:ty),*) $(-> $answer:ty)?;)*) => {
        impl Storage for Store {
            $(fn $name(&self, $($arg: $of),*) $(-> $answer)? {
                Store::$name(self, $($arg),*)
            })*
        }
    };
}

as_store! {
    node_id() -> u64;
    cluster_id() -> Option<String>;
    set_cluster_id(id: &str) -> Result<(), Failure>;
    bounds() -> Bounds;
    append(first: u64, records: Vec<Bytes>, done: Done);
    truncate_after(last: Option<u64>, done: Done);
    purge(upto: u64, note: Bytes, done: Done);
    read(range: Range<u64>, max_bytes: usize) -> Result<Vec<Bytes>, Failure>;
    vote() -> Option<Bytes>;
    save_vote(vote: Bytes, done: Done);
    committed() -> Option<Bytes>;
    save_committed(committed: Bytes) -> Result<(), Failure>;
    disk_bytes() -> u64;
    failure() -> Option<Failure>;
    on_failure(f: OnFailure);
    snapshots() -> &Snapshots;
    close();
}
