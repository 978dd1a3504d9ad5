//! A node's data directory: whose it is, and that nobody else has it open.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;

use crate::failure::{Failure, OpenError};
use crate::files;
use crate::progress::{self, Progress};
use crate::state::{self, State};

const LOCK: &str = "lock";
const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";

/// A directory that is open. Nobody else can open it until this is dropped.
pub(crate) struct Directory {
    dir: PathBuf,
    lock: File,
}

impl Directory {
    /// Opens it for `node_id`; makes it where there is none or an empty one.
    pub(crate) fn open(dir: &Path, node_id: u64) -> Result<(Self, State), OpenError> {
        files::make_dir(dir)?;
        // sled takes a relative path anew each time.
        let dir = &fs::canonicalize(dir).map_err(|e| Failure::io("find", dir, &e))?;
        refuse_foreign(dir)?;
        let directory = Self {
            dir: dir.into(),
            lock: lock(dir)?,
        };
        let state = match State::load(dir)? {
            Some(state) if state.node_id != node_id => {
                return Err(OpenError::OtherNode {
                    dir: dir.into(),
                    found: state.node_id,
                    given: node_id,
                });
            }
            Some(state) => {
                directory.complete()?;
                state
            }
            None => directory.create(node_id)?,
        };
        Ok((directory, state))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join(SNAPSHOTS)
    }

    /// Checks that nothing is gone.
    fn complete(&self) -> Result<(), Failure> {
        for path in [self.log(), self.snapshots(), self.dir.join(progress::NAME)] {
            if !path.exists() {
                return Err(Failure::corruption(&path, "it is missing"));
            }
        }
        Ok(())
    }

    /// The `state` file comes last: where it is, all is.
    fn create(&self, node_id: u64) -> Result<State, Failure> {
        files::make_dir(&self.log())?;
        files::make_dir(&self.snapshots())?;
        Progress::create(&self.dir)?;
        let state = State::new(node_id);
        state.save(&self.dir)?;
        Ok(state)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file would leave the lock to a process that is just being forked.
        if let Err(error) = fs2::FileExt::unlock(&self.lock) {
            tracing::warn!(dir = %self.dir.display(), %error, "the lock was not let go");
        }
    }
}

/// Refuses a directory with something in it that is not ours. One without a `state` file may have what
/// [`Directory::create`] leaves when it is cut short.
fn refuse_foreign(dir: &Path) -> Result<(), OpenError> {
    let paths = files::list(dir)?;
    if paths.iter().any(|path| path.ends_with(state::NAME)) {
        return Ok(());
    }
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let ours = match name.as_str() {
            LOCK | progress::NAME | "progress.tmp" | "state.tmp" | "lost+found" => true,
            LOG | SNAPSHOTS => files::list(&path)?.is_empty(),
            _ => false,
        };
        if !ours {
            return Err(OpenError::NotOurs {
                dir: dir.into(),
                found: name,
            });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| Failure::io("open", &path, &e))?;
    match file.try_lock_exclusive() {
        Ok(()) => Ok(file),
        Err(e) if e.kind() == fs2::lock_contended_error().kind() => {
            Err(OpenError::InUse(dir.into()))
        }
        Err(e) => Err(Failure::io("lock", &path, &e).into()),
    }
}
