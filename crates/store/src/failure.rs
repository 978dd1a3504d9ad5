//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a [`Failure`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No space is left, or a quota is used up.
    DiskFull,
    /// The file system can't be written.
    ReadOnly,
    /// The process may not do what it tried.
    Permission,
    /// The disk or the file system reported another error.
    Io,
    /// What is on the disk is not what was written there.
    Corruption,
    /// The store was closed.
    Closed,
    /// The request makes no sense as the log stands; nothing was changed, and the store goes on.
    Refused,
}

/// Something failed. Says what, on which file, and what to do.
///
/// After a failure of any kind but [`FailureKind::Refused`] a store writes nothing more: whether the
/// failed write reached the disk is not known, so that a second try could hide a loss.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    kind: FailureKind,
    message: Arc<str>,
}

/// What an operator does about a node whose files are damaged.
pub(crate) const REJOIN: &str = "stop the node, keep a copy of its directory, empty it, and let the node join again under a \
     new node id (under its old one it could vote twice)";

impl Failure {
    /// What it is about.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as E;
        let (kind, advice) = match error.kind() {
            E::StorageFull | E::QuotaExceeded => (
                FailureKind::DiskFull,
                "make room on the disk, then start the node again; nothing that was acknowledged is lost",
            ),
            E::ReadOnlyFilesystem => (
                FailureKind::ReadOnly,
                "make the file system writable (a disk with errors is often set read-only: see the system's log), \
                 then start the node again; nothing that was acknowledged is lost",
            ),
            E::PermissionDenied => (
                FailureKind::Permission,
                "give the user that runs the node read and write permission, then start it again",
            ),
            _ => (
                FailureKind::Io,
                "see the system's log for the disk's errors, then start the node again, which checks all that was stored",
            ),
        };
        Self::new(
            kind,
            format!("can't {doing} {}: {error}; {advice}", path.display()),
        )
    }

    pub(crate) fn sled(doing: &str, path: &Path, error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::io(doing, path, error),
            error => Self::corruption(path, &format!("can't {doing} it: {error}")),
        }
    }

    pub(crate) fn corruption(path: &Path, what: &str) -> Self {
        Self::new(
            FailureKind::Corruption,
            format!(
                "{} is damaged: {what}. Stored entries or votes may be lost: {REJOIN}",
                path.display()
            ),
        )
    }

    pub(crate) fn stalled(dir: &Path, after: std::time::Duration) -> Self {
        Self::new(
            FailureKind::Io,
            format!(
                "a write below {} has not come back for {after:?}: the disk hangs; see the system's log for its \
                 errors, then start the node again",
                dir.display()
            ),
        )
    }

    pub(crate) fn panicked(dir: &Path) -> Self {
        Self::new(
            FailureKind::Io,
            format!(
                "the thread that writes {} panicked, which is a bug; start the node again, which checks all that \
                 was stored",
                dir.display()
            ),
        )
    }

    pub(crate) fn refused(what: String) -> Self {
        Self::new(FailureKind::Refused, what)
    }

    /// The store was closed.
    pub fn closed() -> Self {
        Self::new(FailureKind::Closed, "the store is closed".into())
    }

    fn new(kind: FailureKind, message: String) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::DiskFull => io::ErrorKind::StorageFull,
            FailureKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            FailureKind::Permission => io::ErrorKind::PermissionDenied,
            FailureKind::Io => io::ErrorKind::Other,
            FailureKind::Corruption => io::ErrorKind::InvalidData,
            FailureKind::Closed => io::ErrorKind::BrokenPipe,
            FailureKind::Refused => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, failure)
    }
}

/// Why a directory can't be opened. No entry, vote or snapshot in it was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "data directory {0} is in use by another process; stop that one, or give this node a directory of its own"
    )]
    InUse(PathBuf),
    /// It holds something else.
    #[error(
        "data directory {dir} is not empty and holds no store: it has {found:?} but no `state` file; give an empty \
         directory or one that a node made"
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// The first name in it that is not ours.
        found: String,
    },
    /// It is another node's.
    #[error(
        "data directory {dir} belongs to node {found}, not to node {given}; correct the node id or the directory"
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who wanted it.
        given: u64,
    },
    /// A newer version wrote it.
    #[error(
        "data directory {dir} has format {found}, and this version reads up to {newest}; start the version that wrote \
         it, or a later one"
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        newest: u32,
    },
    /// The options make no sense.
    #[error("{0}")]
    Options(String),
    /// It is damaged, or the system refused to read or write it.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Failed(failure) => failure.into(),
            error => Self::new(io::ErrorKind::InvalidInput, error),
        }
    }
}
