//! Snapshots: which are kept, and what becomes of one that is unfinished or damaged.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use store::{FailureKind, KEPT_SNAPSHOTS, MAX_SNAPSHOT_META, Options, Snapshot, Store};

fn open(dir: &Path) -> Store {
    Store::open(dir, 1, Options::default()).unwrap()
}

fn write(store: &Store, n: u8, length: usize) -> Snapshot {
    let mut writer = store.snapshots().begin(Bytes::from(vec![n])).unwrap();
    for part in vec![n; length].chunks(1_000) {
        writer.write(part).unwrap();
    }
    writer.finish().unwrap()
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("snapshots")).unwrap().count()
}

#[test]
fn the_newest_two_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.snapshots().latest(), None);
    let first = write(&store, 1, 300_000);
    let mut reading = first.open().unwrap();
    for n in 2..6 {
        write(&store, n, 10);
    }
    assert_eq!(files(dir.path()), KEPT_SNAPSHOTS);
    // Whoever has one open can read on.
    let mut body = Vec::new();
    reading.read_to_end(&mut body).unwrap();
    assert_eq!(body, vec![1; 300_000]);

    store.close();
    let store = open(dir.path());
    let latest = store.snapshots().latest().unwrap();
    assert_eq!((&latest.meta[..], latest.len), (&[5][..], 10));
    assert_eq!(latest.read_all().unwrap(), [5; 10]);
    // Numbers go on.
    assert!(write(&store, 6, 0).path > latest.path);
    assert_eq!(store.snapshots().latest().unwrap().read_all().unwrap(), []);
}

#[test]
fn one_that_is_begun_first_and_finished_last_is_not_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let slow = store.snapshots().begin(Bytes::from_static(b"old")).unwrap();
    let newer = write(&store, 2, 10);
    slow.finish().unwrap();
    assert_eq!(store.snapshots().latest(), Some(newer));
}

#[test]
fn an_unfinished_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let kept = write(&store, 1, 10);
    let mut writer = store.snapshots().begin(Bytes::new()).unwrap();
    writer.write(&[2; 100_000]).unwrap();
    drop(writer);
    assert_eq!(files(dir.path()), 1);

    let large = Bytes::from(vec![0; MAX_SNAPSHOT_META + 1]);
    let refused = store.snapshots().begin(large).err().unwrap();
    assert_eq!(refused.kind(), FailureKind::Refused);
    assert!(
        refused
            .to_string()
            .contains("1048577 bytes; the most is 1048576"),
        "{refused}"
    );
    store.close();

    // What a crash left.
    fs::write(
        dir.path().join("snapshots/00000000000000000007.new"),
        "half",
    )
    .unwrap();
    let store = open(dir.path());
    assert_eq!(files(dir.path()), 1);
    assert_eq!(store.snapshots().latest(), Some(kept));
}

#[test]
fn a_damaged_newest_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1, 10_000);
    let newest = write(&store, 2, 10_000);
    let mut bytes = fs::read(&newest.path).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&newest.path, &bytes).unwrap();
    assert_eq!(
        newest.read_all().unwrap_err().kind(),
        FailureKind::Corruption
    );
    store.close();
    let error = Store::open(dir.path(), 1, Options::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("the snapshot's checksum is wrong"),
        "{error}"
    );
    assert!(error.contains(newest.path.to_str().unwrap()), "{error}");
    assert!(error.contains("join again under a new node id"), "{error}");
    // Nothing was changed.
    assert_eq!(
        (fs::read(&newest.path).unwrap(), files(dir.path())),
        (bytes, 2)
    );
}

/// Somebody's file that only looks like a snapshot, of a number that none ever has.
#[test]
fn a_number_that_no_snapshot_has_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mine = write(&store, 1, 10);
    store.close();
    drop(store);
    for number in [u64::from(u32::MAX) + 1, u64::MAX] {
        let path = dir.path().join(format!("snapshots/{number:020}.snap"));
        fs::write(path, b"not mine").unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.snapshots().latest(), Some(mine));
    write(&store, 2, 10);
}
