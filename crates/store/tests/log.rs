//! The log as its users see it, on a real disk.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use store::{Done, Failure, FailureKind, Options, Store};

fn small() -> Options {
    Options {
        segment_entries: 10,
        cache_bytes: 0,
        ..Options::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, 1, small()).unwrap()
}

/// Asks, and waits for the answer.
fn wait(ask: impl FnOnce(Done)) -> Result<(), Failure> {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| told.send(result).unwrap()));
    answer.recv().unwrap()
}

fn record(index: u64) -> Bytes {
    Bytes::from(format!("entry {index} "))
}

fn append(store: &Store, first: u64, n: u64) -> Result<(), Failure> {
    wait(|done| store.append(first, (first..first + n).map(record).collect(), done))
}

fn read(store: &Store, first: u64, end: u64) -> Vec<Bytes> {
    store.read(first..end, usize::MAX).unwrap()
}

fn expect(first: u64, end: u64) -> Vec<Bytes> {
    (first..end).map(record).collect()
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.bounds(), store::Bounds::default());
    append(&store, 0, 35).unwrap();
    assert_eq!(read(&store, 0, 100), expect(0, 35));
    wait(|done| store.save_vote(Bytes::from("vote"), done)).unwrap();
    store.save_committed(Bytes::from("30")).unwrap();
    store.set_cluster_id("c1").unwrap();
    store.close();
    assert_eq!(
        append(&store, 35, 1).unwrap_err().kind(),
        FailureKind::Closed
    );

    let store = open(dir.path());
    assert_eq!(store.bounds().last, Some(34));
    assert_eq!(read(&store, 0, 100), expect(0, 35));
    assert_eq!(read(&store, 7, 12), expect(7, 12));
    assert_eq!(store.read(7..12, 0).unwrap(), expect(7, 8));
    assert_eq!(store.vote(), Some(Bytes::from("vote")));
    assert_eq!(store.committed(), Some(Bytes::from("30")));
    assert_eq!(store.cluster_id().as_deref(), Some("c1"));
    let refused = store.set_cluster_id("c2").unwrap_err();
    assert!(refused.to_string().contains("belongs to cluster \"c1\""));
    append(&store, 35, 1).unwrap();
    assert_eq!(read(&store, 0, 100), expect(0, 36));
}

#[test]
fn truncates_within_and_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&store, 0, 35).unwrap();
    for keep in [33, 30, 29, 12, 4] {
        wait(|done| store.truncate_after(Some(keep), done)).unwrap();
        assert_eq!(store.bounds().last, Some(keep));
        assert_eq!(read(&store, 0, 100), expect(0, keep + 1));
        store.close();
        store = open(dir.path());
        assert_eq!(read(&store, 0, 100), expect(0, keep + 1));
        append(&store, keep + 1, 3).unwrap();
        assert_eq!(read(&store, 0, 100), expect(0, keep + 4));
    }
}

#[test]
fn refuses_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 3, 2).unwrap();
    let refused = append(&store, 6, 1).unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Refused);
    assert_eq!(
        refused.to_string(),
        "can't append entry 6: the next one is 5, and a log has no holes"
    );
    assert_eq!(store.failure(), None);
    assert_eq!(read(&store, 0, 9), expect(3, 5));
}
