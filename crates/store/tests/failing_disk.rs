//! Disks that fill up or can't be written, real ones: file systems in memory that the tests mount. Where
//! that is not allowed they say so and pass.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use store::{Done, Failure, FailureKind, Options, Store};

/// A file system of its own, gone when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!(
            "SKIPPED: no file system may be mounted here; full and read-only disks were not tried"
        );
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        let status = mount
            .args(["-o", &format!("remount,{how}")])
            .arg(self.path())
            .status();
        assert!(status.unwrap().success(), "remount {how}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn wait(ask: impl FnOnce(Done)) -> Result<(), Failure> {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| told.send(result).unwrap()));
    answer.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn record(index: u64) -> Bytes {
    let mut bytes = vec![(index % 251) as u8; 3_000];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes.into()
}

fn options() -> Options {
    Options {
        segment_bytes: 2 << 20,
        cache_bytes: 0,
        ..Options::default()
    }
}

/// Appends until that fails. Returns the entries acknowledged, and the failure.
fn fill(store: &Store, mut next: u64) -> (u64, Failure) {
    loop {
        let records = (next..next + 5).map(record).collect();
        match wait(|done| store.append(next, records, done)) {
            Ok(()) => next += 5,
            Err(failure) => return (next, failure),
        }
    }
}

/// All that follows a failure gets it, and those who asked were told.
fn is_over(store: &Store, failure: &Failure, told: &mpsc::Receiver<Failure>) {
    assert_eq!(store.failure().as_ref(), Some(failure));
    assert_eq!(&told.recv_timeout(Duration::from_secs(5)).unwrap(), failure);
    let next = store.bounds().last.map_or(0, |last| last + 1);
    let small = Bytes::from_static(b"x");
    let results = [
        wait(|done| store.append(next, vec![small.clone()], done)),
        wait(|done| store.save_vote(small.clone(), done)),
        wait(|done| store.truncate_after(None, done)),
        wait(|done| store.purge(3, small.clone(), done)),
        store.set_cluster_id("c"),
        store.save_committed(small),
    ];
    for result in results {
        assert_eq!(result.as_ref(), Err(failure));
    }
}

fn listen(store: &Store) -> mpsc::Receiver<Failure> {
    let (tell, told) = mpsc::channel();
    store.on_failure(Box::new(move |failure| drop(tell.send(failure))));
    told
}

#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    let Some(mount) = Mount::new("24m") else {
        return;
    };
    let dir = mount.path().join("data");
    let store = Store::open(&dir, 1, options()).unwrap();
    wait(|done| store.save_vote(Bytes::from_static(b"vote"), done)).unwrap();
    let told = listen(&store);
    let (acknowledged, failure) = fill(&store, 0);
    assert!(acknowledged > 500, "{acknowledged} entries");
    assert_eq!(failure.kind(), FailureKind::DiskFull, "{failure}");
    assert!(
        failure
            .to_string()
            .contains("make room on the disk, then start the node again"),
        "{failure}"
    );
    is_over(&store, &failure, &told);
    drop(store);

    // It does not open before there is room, or it does; it loses nothing.
    if let Err(error) = Store::open(&dir, 1, options()) {
        assert!(error.to_string().contains("make room"), "{error}");
    }
    mount.remount("size=64m");
    let store = Store::open(&dir, 1, options()).unwrap();
    let read = store.read(0..u64::MAX, usize::MAX).unwrap();
    assert!(read.len() as u64 >= acknowledged);
    for (index, found) in (0..).zip(&read) {
        assert_eq!(found, &record(index), "entry {index}");
    }
    assert_eq!(store.vote(), Some(Bytes::from_static(b"vote")));
    let next = read.len() as u64;
    wait(|done| store.append(next, vec![record(next)], done)).unwrap();
}

#[test]
fn a_full_disk_fails_a_snapshot_and_keeps_the_one_before() {
    let Some(mount) = Mount::new("8m") else {
        return;
    };
    let store = Store::open(&mount.path().join("data"), 1, options()).unwrap();
    let mut writer = store.snapshots().begin(Bytes::from_static(b"1")).unwrap();
    writer.write(&[1; 100_000]).unwrap();
    let first = writer.finish().unwrap();
    let mut writer = store.snapshots().begin(Bytes::from_static(b"2")).unwrap();
    let failure = loop {
        if let Err(failure) = writer.write(&[2; 100_000]) {
            break failure;
        }
    };
    assert_eq!(failure.kind(), FailureKind::DiskFull);
    drop(writer);
    assert_eq!(store.snapshots().latest(), Some(first));
    // What it had written is gone, so that there is room again.
    wait(|done| store.append(0, vec![record(0)], done)).unwrap();
}

#[test]
fn a_disk_that_becomes_read_only_loses_nothing_acknowledged() {
    let Some(mount) = Mount::new("64m") else {
        return;
    };
    let dir = mount.path().join("data");
    let store = Store::open(&dir, 1, options()).unwrap();
    wait(|done| store.append(0, (0..50).map(record).collect(), done)).unwrap();
    store.close();
    mount.remount("ro");
    let error = Store::open(&dir, 1, options()).err().unwrap();
    assert!(
        error.to_string().contains("make the file system writable"),
        "{error}"
    );
    mount.remount("rw");
    let store = Store::open(&dir, 1, options()).unwrap();
    assert_eq!(store.read(0..99, usize::MAX).unwrap().len(), 50);
}

/// Takes the permission to make files away, from root too; says whether that worked.
fn forbid(dir: &Path, forbidden: bool) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if forbidden { 0o500 } else { 0o700 };
    if forbidden {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
        freeze(dir, true);
        return std::fs::write(dir.join("probe"), "").is_err();
    }
    freeze(dir, false);
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).is_ok()
}

/// Makes a file or directory one that nobody may change, not even who has it open, where that can be done.
fn freeze(path: &Path, frozen: bool) {
    let flag = if frozen { "+i" } else { "-i" };
    let _ = Command::new("chattr").arg(flag).arg(path).status();
}

#[test]
fn a_lack_of_permission_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, options()).unwrap();
    let vote = Bytes::from_static(b"vote");
    wait(|done| store.append(0, (0..50).map(record).collect(), done)).unwrap();
    wait(|done| store.save_vote(vote.clone(), done)).unwrap();
    let told = listen(&store);
    if !forbid(dir.path(), true) {
        eprintln!("SKIPPED: this user may write anything; a lack of permission was not tried");
        return;
    }
    let failure = wait(|done| store.save_vote(Bytes::from_static(b"other"), done)).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Permission, "{failure}");
    assert!(
        failure
            .to_string()
            .contains("give the user that runs the node read and write permission"),
        "{failure}"
    );
    is_over(&store, &failure, &told);
    assert!(forbid(dir.path(), false));
    drop(store);
    let store = Store::open(dir.path(), 1, options()).unwrap();
    assert_eq!(store.read(0..99, usize::MAX).unwrap().len(), 50);
    assert_eq!(store.vote(), Some(vote));
}

#[test]
fn a_journal_that_cant_be_written_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, options()).unwrap();
    wait(|done| store.append(0, (0..5).map(record).collect(), done)).unwrap();
    let told = listen(&store);
    let journal = dir.path().join("journal");
    freeze(&journal, true);
    if std::fs::OpenOptions::new()
        .write(true)
        .open(&journal)
        .is_ok()
    {
        eprintln!(
            "SKIPPED: files can't be made unchangeable here; a journal like that was not tried"
        );
        return;
    }
    let failure = wait(|done| store.append(5, vec![record(5)], done)).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Permission, "{failure}");
    assert!(failure.to_string().contains("can't write"), "{failure}");
    assert!(failure.to_string().contains("/journal: "), "{failure}");
    is_over(&store, &failure, &told);
    drop(store);
    let error = Store::open(dir.path(), 1, options()).err().unwrap();
    assert!(error.to_string().contains("/journal: "), "{error}");
    freeze(&journal, false);
    let store = Store::open(dir.path(), 1, options()).unwrap();
    let read = store.read(0..99, usize::MAX).unwrap();
    assert_eq!(read, (0..5).map(record).collect::<Vec<_>>());
    wait(|done| store.append(5, vec![record(5)], done)).unwrap();
}

/// Small appends go on in the journal, until they are to be put into the log.
#[test]
fn a_disk_that_is_full_is_found_out_with_the_next_lot() {
    let Some(mount) = Mount::new("24m") else {
        return;
    };
    let dir = mount.path().join("data");
    let store = Store::open(&dir, 1, options()).unwrap();
    // An entry is acknowledged before it is put into the log: by the second one's time the first has made it.
    for index in 0..2 {
        wait(|done| store.append(index, vec![record(index)], done)).unwrap();
    }
    let mut ballast = std::fs::File::create(mount.path().join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[1; 1 << 10]).is_ok() {}
    let told = listen(&store);
    let (acknowledged, failure) = fill(&store, 2);
    assert!(acknowledged > 2, "{acknowledged} entries: {failure}");
    assert_eq!(failure.kind(), FailureKind::DiskFull, "{failure}");
    is_over(&store, &failure, &told);
    drop((store, ballast));
    std::fs::remove_file(mount.path().join("ballast")).unwrap();
    let store = Store::open(&dir, 1, options()).unwrap();
    let read = store.read(0..u64::MAX, usize::MAX).unwrap();
    assert!(read.len() as u64 >= acknowledged);
    for (index, found) in (0..).zip(&read) {
        assert_eq!(found, &record(index), "entry {index}");
    }
}
