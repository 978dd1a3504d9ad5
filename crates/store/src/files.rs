//! Files that survive a power cut: what is written is synced, and so is the directory that names it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::failure::{Failure, FailureKind};

/// Makes a directory's entries durable: files that appeared in it, were renamed or went away.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Failure::io("sync the directory", dir, &e))
}

/// Makes a directory and those above it, if there are none, and the entries that name them.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Failure> {
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.exists() {
        make_dir(parent)?;
    }
    match fs::create_dir(dir) {
        // One that is there may have been made just before a crash.
        Err(e) if !dir.is_dir() => return Err(Failure::io("make the directory", dir, &e)),
        _ => {}
    }
    match sync_dir(parent) {
        // Then it is not ours, and was there before.
        Err(failure) if failure.kind() == FailureKind::Permission => Ok(()),
        synced => synced,
    }
}

/// Replaces a file as a whole: a power cut leaves the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(|e| Failure::io("create", &temporary, &e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| Failure::io("write", &temporary, &e))?;
    rename(&temporary, path)
}

/// Renames within a directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|e| Failure::io("rename to its final name", from, &e))?;
    match to.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Removes a directory and all in it, so that a power cut leaves either all of it under its name or a
/// leftover that [`remove_leftovers`] knows.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), Failure> {
    let gone = dir.with_extension(GONE);
    rename(dir, &gone)?;
    fs::remove_dir_all(&gone).map_err(|e| Failure::io("remove", &gone, &e))
}

/// What is being made.
pub(crate) const NEW: &str = "new";
/// What is being removed.
pub(crate) const GONE: &str = "gone";

/// Removes what a crash left half made or half removed.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<(), Failure> {
    for path in list(dir)? {
        let extension = path.extension().and_then(|e| e.to_str());
        if matches!(extension, Some(NEW | GONE)) {
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|e| Failure::io("remove", &path, &e))?;
        }
    }
    sync_dir(dir)
}

/// The paths in a directory, sorted.
pub(crate) fn list(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let failed = |e| Failure::io("list", dir, &e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Bytes that a path takes on the disk, all below it included.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below: u64 = if metadata.is_dir() {
        fs::read_dir(path).map_or(0, |entries| {
            entries.flatten().map(|e| disk_bytes(&e.path())).sum()
        })
    } else {
        0
    };
    metadata.blocks() * 512 + below
}
