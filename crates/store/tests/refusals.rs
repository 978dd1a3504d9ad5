//! What a store refuses, in which words, and that it changes nothing then.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use store::{Done, Failure, FailureKind, MAX_COMMITTED, MAX_NOTE, MAX_RECORD, Options, Store};

fn refused(dir: &Path, node_id: u64) -> String {
    match Store::open(dir, node_id, Options::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

fn wait(ask: impl FnOnce(Done)) -> Result<(), Failure> {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| told.send(result).unwrap()));
    answer.recv().unwrap()
}

/// A directory with ten entries of node 1 in it.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    wait(|done| store.append(0, vec![Bytes::from_static(b"x"); 10], done)).unwrap();
    dir
}

#[test]
fn another_nodes_directory() {
    let dir = made();
    let why = refused(dir.path(), 2);
    assert!(why.contains("belongs to node 1, not to node 2"), "{why}");
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    assert_eq!(store.bounds().last, Some(9));
}

#[test]
fn a_directory_in_use() {
    let dir = made();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let why = refused(dir.path(), 1);
    assert!(why.contains("is in use by another process"), "{why}");
    wait(|done| store.append(10, vec![Bytes::new()], done)).unwrap();
}

#[test]
fn a_directory_of_something_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("photo.jpg"), "a photo").unwrap();
    let why = refused(dir.path(), 1);
    assert!(
        why.contains("is not empty and holds no store: it has \"photo.jpg\""),
        "{why}"
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was added"
    );

    let file = dir.path().join("photo.jpg");
    let why = refused(&file, 1);
    assert!(why.contains("photo.jpg"), "{why}");
}

#[test]
fn a_newer_format() {
    let dir = made();
    let path = dir.path().join("state");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let why = refused(dir.path(), 1);
    assert!(
        why.contains(
            "has format 7, and this version reads up to 2; start the version that wrote it"
        ),
        "{why}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_log_without_its_state() {
    let dir = made();
    fs::remove_file(dir.path().join("state")).unwrap();
    let why = refused(dir.path(), 1);
    assert!(
        why.contains("it has \"journal\" but no `state` file"),
        "{why}"
    );
}

#[test]
fn options_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_entries: 0,
        ..Options::default()
    };
    let error = Store::open(dir.path(), 1, options).err().unwrap();
    assert_eq!(
        error.to_string(),
        "store option segment_entries is 0; expected 1 to 10000000"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn requests_that_make_no_sense() {
    let dir = made();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let small = Bytes::from_static(b"y");
    let says = |failure: Failure, what: &str| {
        assert_eq!(failure.kind(), FailureKind::Refused, "{failure}");
        assert!(failure.to_string().contains(what), "{failure}");
    };
    let append = |first, records| wait(|done| store.append(first, records, done)).unwrap_err();
    says(
        append(11, vec![small.clone()]),
        "can't append entry 11: the next one is 10",
    );
    says(
        append(9, vec![small.clone()]),
        "can't append entry 9: the next one is 10",
    );
    let large = Bytes::from(vec![0; MAX_RECORD + 1]);
    says(
        append(10, vec![small.clone(), large]),
        "entry 11 has 4194305 bytes; the most is 4194304",
    );
    let note = Bytes::from(vec![0; MAX_NOTE + 1]);
    says(
        wait(|done| store.purge(5, note.clone(), done)).unwrap_err(),
        "a purge's note of 4097 bytes; the most is 4096",
    );
    says(
        wait(|done| store.purge(u64::MAX, small.clone(), done)).unwrap_err(),
        "indexes end before it",
    );
    says(
        wait(|done| store.save_vote(note, done)).unwrap_err(),
        "a vote of 4097 bytes",
    );
    let committed = Bytes::from(vec![0; MAX_COMMITTED + 1]);
    says(
        store.save_committed(committed).unwrap_err(),
        "a committed index of 401 bytes",
    );
    says(
        store.set_cluster_id("").unwrap_err(),
        "cluster id \"\" is empty",
    );
    store.set_cluster_id("one").unwrap();
    store.set_cluster_id("one").unwrap();
    says(
        store.set_cluster_id("two").unwrap_err(),
        "belongs to cluster \"one\" and can't join \"two\"",
    );

    // Nothing changed, and the store goes on.
    assert_eq!(store.failure(), None);
    assert_eq!(store.bounds().last, Some(9));
    assert_eq!(store.bounds().purged, None);
    assert_eq!(store.vote(), None);
    assert_eq!(store.committed(), None);
    wait(|done| store.append(10, vec![small; 2], done)).unwrap();
    assert_eq!(store.read(0..100, usize::MAX).unwrap().len(), 12);
}
