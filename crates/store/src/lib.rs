//! The Raft log, vote and snapshots on sled, durable on the platter.
//!
//! A [`Store`] keeps one node's part of the consensus in one directory:
//!
//! | name | what it is |
//! | --- | --- |
//! | `lock` | held by the process that has the directory open |
//! | `state` | format, node and cluster id, vote, purge point; replaced as a whole |
//! | `progress` | how far the log was durable, and the committed index; may lag by 0.2 s |
//! | `journal` | the latest entries, until the log is durable itself; 4 MiB, made once |
//! | `log/` | the log: sled databases, each a range of indexes, named by its first |
//! | `snapshots/` | the newest two snapshots |
//!
//! One thread writes ([`Store::append`] and its like only queue), and a request is answered when it is
//! durable. Entries are written to the journal, synced and acknowledged; then they are put into the log,
//! which is flushed by sled and synced once for many of them, some 200 KB. What does not fit into the journal
//! is acknowledged once the log is synced. The journal is read only when a store is opened. Nothing here
//! knows what an entry or a vote means.
//!
//! What holds:
//! - What was acknowledged survives the end of the process at any moment, and a power cut, on a disk and a
//!   file system that keep what was synced.
//! - What is opened is whole. All entries are read when a store is opened; damage to what was acknowledged
//!   is an error that names the file. There is one exception: what a power cut tore can't be told from what
//!   the disk damaged among the entries of the last 0.2 s before that power cut.
//! - After a failed write nothing more is written or acknowledged. The process should end, and the next one
//!   find out what reached the disk.
//! - Disk ([`Options::max_log_bytes`]) and memory (the queue, the cached end of the log, what is written to
//!   the journal at a time, and three open databases, of some 10 MiB each) are bounded, however long it runs.

mod directory;
mod failure;
mod files;
mod io;
mod journal;
mod log;
mod progress;
mod record;
mod segment;
mod shared;
mod snapshot;
mod state;
mod storage;
mod store;
mod tail;

use bytes::Bytes;

pub use failure::{Failure, FailureKind, OpenError};
pub use progress::MAX_COMMITTED;
pub use record::MAX_RECORD;
pub use segment::ENTRY_OVERHEAD;
pub use snapshot::{KEPT_SNAPSHOTS, MAX_SNAPSHOT_META, Snapshot, SnapshotWriter, Snapshots};
pub use state::FORMAT;
pub use storage::Storage;
pub use store::{Done, OnFailure, Store};

/// Most bytes of a vote, of a purge's note, and of a cluster id.
pub const MAX_NOTE: usize = 4096;

/// How a store works. The default suits a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A segment of the log that has this many bytes is full, 64 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// A segment of the log that has this many entries is full, 1 to 10,000,000.
    pub segment_entries: u64,
    /// Appends wait while this many bytes are queued, 1 MiB to 1 GiB. One append may go over it.
    pub queue_bytes: u64,
    /// Appends wait while this many entries are queued, 1 to 10,000,000.
    pub queue_entries: u64,
    /// Bytes of the latest entries that are kept in memory once they are in the log, up to 1 GiB.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_entries: 100_000,
            queue_bytes: 64 << 20,
            queue_entries: 65_536,
            cache_bytes: 16 << 20,
        }
    }
}

/// Most bytes on the disk for each byte of entries: sled writes an entry, and again with its neighbours
/// until their page is full. Measured: 1.9 for large entries, 2.6 for small ones.
const AMPLIFICATION: u64 = 3;

/// Bytes that a database takes beside its entries: sled fills up its last segment when it opens it, and
/// has one in reserve.
const SLACK: u64 = 2 * segment::SLED_SEGMENT as u64;

impl Options {
    /// The most bytes that the log and its journal take on the disk while the entries from the purge point on
    /// count for `kept` bytes ([`ENTRY_OVERHEAD`] included) and are cut into segments by bytes rather than by
    /// number. Whole segments are purged, so that it is that much, one segment that is purged in part, and
    /// one that is being filled. Snapshots come on top: [`KEPT_SNAPSHOTS`], and one being written.
    pub fn max_log_bytes(&self, kept: u64) -> u64 {
        let segments = kept / self.segment_bytes + 3;
        let log = AMPLIFICATION * (kept + 2 * self.segment_bytes) + segments * SLACK;
        log + journal::SIZE as u64
    }

    fn validate(&self) -> Result<(), String> {
        let bounds = [
            ("segment_bytes", self.segment_bytes, 64 << 10, 1 << 30),
            ("segment_entries", self.segment_entries, 1, 10_000_000),
            ("queue_bytes", self.queue_bytes, 1 << 20, 1 << 30),
            ("queue_entries", self.queue_entries, 1, 10_000_000),
            ("cache_bytes", self.cache_bytes, 0, 1 << 30),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!(
                    "store option {name} is {value}; expected {least} to {most}"
                ));
            }
        }
        Ok(())
    }
}

/// What was purged from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The last index purged.
    pub index: u64,
    /// What was given with it.
    pub note: Bytes,
}

/// Where the log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// What was purged last, if anything.
    pub purged: Option<Purge>,
    /// The last record that is there, if any is.
    pub last: Option<u64>,
}
