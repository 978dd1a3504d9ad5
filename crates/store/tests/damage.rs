//! Files that were damaged after they were written: a store says so, or has all that it had. It never
//! opens with less.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use store::{Done, Failure, FailureKind, OpenError, Options, Store};

fn options() -> Options {
    Options {
        segment_entries: 40,
        cache_bytes: 0,
        ..Options::default()
    }
}

fn wait(ask: impl FnOnce(Done)) -> Result<(), Failure> {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| told.send(result).unwrap()));
    answer.recv().unwrap()
}

fn record(index: u64) -> Bytes {
    Bytes::from(vec![index as u8; 20 + (index as usize * 37) % 700])
}

/// All that a store has.
#[derive(Debug, PartialEq, Eq)]
struct All {
    records: Vec<Bytes>,
    purged: Option<store::Purge>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    snapshot: Option<Vec<u8>>,
}

fn all(store: &Store) -> Result<All, Failure> {
    Ok(All {
        records: store.read(0..u64::MAX, usize::MAX)?,
        purged: store.bounds().purged,
        vote: store.vote(),
        committed: store.committed(),
        snapshot: store
            .snapshots()
            .latest()
            .map(|s| s.read_all())
            .transpose()?,
    })
}

/// A store with entries 50 to 139 in three segments, a vote and two snapshots.
fn make(dir: &Path) -> All {
    let store = Store::open(dir, 1, options()).unwrap();
    for first in (0..140).step_by(7) {
        wait(|done| store.append(first, (first..first + 7).map(record).collect(), done)).unwrap();
    }
    wait(|done| store.purge(49, Bytes::from_static(b"note"), done)).unwrap();
    wait(|done| store.save_vote(Bytes::from_static(b"vote"), done)).unwrap();
    store.save_committed(Bytes::from_static(b"120")).unwrap();
    for n in 1..3 {
        let mut writer = store
            .snapshots()
            .begin(Bytes::from_static(b"meta"))
            .unwrap();
        writer.write(&[n; 10_000]).unwrap();
        writer.finish().unwrap();
    }
    all(&store).unwrap()
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Damages a copy and opens it. Says whether that was noticed.
fn noticed(original: &Path, had: &All, what: &str, damage: impl FnOnce(&Path)) -> bool {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() {
        tempfile::TempDir::new_in(memory)
    } else {
        tempfile::tempdir()
    };
    let scratch = scratch.unwrap();
    let dir = scratch.path().join("data");
    copy(original, &dir);
    damage(&dir);
    let error: Failure = match Store::open(&dir, 1, options()) {
        Ok(store) => match all(&store) {
            Ok(has) => {
                assert!(has == *had, "{what}: it opened with something else");
                return false;
            }
            Err(failure) => failure,
        },
        Err(OpenError::Failed(failure)) => failure,
        // The state file is what shows whose the directory is.
        Err(OpenError::NotOurs { .. }) if what.contains("state") => return true,
        Err(other) => panic!("{what}: {other}"),
    };
    let message = error.to_string();
    assert!(message.contains(dir.to_str().unwrap()), "{what}: {message}");
    assert_eq!(error.kind(), FailureKind::Corruption, "{what}: {message}");
    assert!(
        message.contains("join again under a new node id"),
        "{what}: {message}"
    );
    true
}

#[test]
fn damage_is_noticed_or_harmless() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    let had = make(&dir);
    let mut paths = Vec::new();
    files(&dir, &mut paths);
    let (mut random, mut tried, mut found) = (1_u64, 0, 0);
    for path in &paths {
        let name = path.strip_prefix(&dir).unwrap();
        if name.ends_with("lock") {
            continue;
        }
        let length = fs::metadata(path).unwrap().len() as usize;
        let mut check = |what: String, damage: &dyn Fn(&mut Vec<u8>)| {
            tried += 1;
            found += u32::from(noticed(&dir, &had, &what, |dir| {
                let path = dir.join(name);
                let mut bytes = fs::read(&path).unwrap();
                damage(&mut bytes);
                fs::write(&path, bytes).unwrap();
            }));
        };
        for _ in 0..40 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (at, bit) = ((random >> 33) as usize % length, 1_u8 << (random >> 20 & 7));
            let what = format!("{} with bit {bit:#x} of byte {at} flipped", name.display());
            check(what, &|bytes| bytes[at] ^= bit);
        }
        for part in [0, 1, 2, 3] {
            let what = format!("{} cut to {part}/4", name.display());
            check(what, &|bytes| bytes.truncate(length * part / 4));
        }
        let what = format!("{} with a sector of zeroes", name.display());
        check(what, &|bytes| {
            let from = bytes.len() / 3;
            bytes
                .iter_mut()
                .skip(from)
                .take(512)
                .for_each(|byte| *byte = 0);
        });
    }
    println!("{found} of {tried} damages noticed, the others harmless");
    assert!(found > tried / 2, "{found} of {tried}");
}

#[test]
fn a_missing_file_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    let had = make(&dir);
    let remove = |what: &str| {
        let path = what.to_owned();
        noticed(&dir, &had, what, |dir| {
            let path = dir.join(path);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        })
    };
    assert!(remove("state"));
    assert!(remove("progress"));
    for segment in [
        "log/00000000000000000040",
        "log/00000000000000000080",
        "log/00000000000000000120",
    ] {
        assert!(remove(segment), "{segment}");
        assert!(remove(&format!("{segment}/db")), "{segment}");
        assert!(remove(&format!("{segment}/conf")), "{segment}");
    }
    assert!(remove("log"));
    assert!(remove("snapshots"));
    assert!(!remove("lock"));
}

#[test]
fn messages_say_which_entries() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    make(&dir);
    let last = dir.join("log/00000000000000000120");
    fs::remove_dir_all(&last).unwrap();
    let why = Store::open(&dir, 1, options()).err().unwrap().to_string();
    assert!(
        why.contains("the log ends before entry 120, and was durable up to entry 139"),
        "{why}"
    );

    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    make(&dir);
    fs::remove_dir_all(dir.join("log/00000000000000000080")).unwrap();
    let why = Store::open(&dir, 1, options()).err().unwrap().to_string();
    assert!(
        why.contains("entry 80 is missing, and the log goes on with entry 120"),
        "{why}"
    );

    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    make(&dir);
    fs::remove_dir_all(dir.join("log/00000000000000000040")).unwrap();
    let why = Store::open(&dir, 1, options()).err().unwrap().to_string();
    assert!(
        why.contains("the entries from 50 to 79 are missing"),
        "{why}"
    );
}

/// In a long segment sled skips what it can't read, rather than stopping there.
#[test]
fn damage_in_a_long_segment_is_noticed_or_harmless() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    let store = Store::open(&dir, 1, Options::default()).unwrap();
    for first in (0..6_000).step_by(500) {
        wait(|done| store.append(first, (first..first + 500).map(record).collect(), done)).unwrap();
    }
    let had = all(&store).unwrap();
    store.close();
    let file = "log/00000000000000000000/db";
    let length = fs::metadata(dir.join(file)).unwrap().len() as usize;
    assert!(
        length > 4 << 20,
        "several of sled's segments: {length} bytes"
    );
    let (mut random, mut found) = (7_u64, 0);
    for _ in 0..24 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = (random >> 33) as usize % (length - 512);
        let bytes = 1 + (random >> 20) as usize % 500;
        let what = format!("{bytes} bytes from {at} of {length} damaged");
        found += u32::from(noticed(&dir, &had, &what, |dir| {
            let path = dir.join(file);
            let mut all = fs::read(&path).unwrap();
            all[at..at + bytes]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x5a);
            fs::write(path, all).unwrap();
        }));
    }
    println!("{found} of 24 damages noticed, the others harmless");
    assert!(found > 6, "{found}");
}

/// A segment that is damaged while the store is open is found out when it is read.
#[test]
fn damage_under_an_open_store_ends_it() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    make(&dir);
    let store = Store::open(&dir, 1, options()).unwrap();
    // Make the damaged one be closed.
    for first in (140..400).step_by(20) {
        wait(|done| store.append(first, (first..first + 20).map(record).collect(), done)).unwrap();
    }
    let (tell, told) = mpsc::channel();
    store.on_failure(Box::new(move |failure| tell.send(failure).unwrap()));
    let path = dir.join("log/00000000000000000080/db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len().min(40_000) / 2;
    bytes[middle..middle + 64].fill(0);
    fs::write(&path, bytes).unwrap();
    assert_eq!(store.read(130..140, usize::MAX).unwrap().len(), 10);
    let failure = store.read(80..120, usize::MAX).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Corruption);
    assert!(
        failure.to_string().contains("00000000000000000080"),
        "{failure}"
    );
    assert_eq!(told.recv().unwrap(), failure);
    assert_eq!(store.failure(), Some(failure.clone()));
    let after = wait(|done| store.append(400, vec![record(400)], done));
    assert_eq!(after, Err(failure));
}

/// The latest entries are in the journal alone while a store is open, and after it was killed.
#[test]
fn damage_to_a_journal_in_use_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let (dir, killed) = (place.path().join("data"), place.path().join("killed"));
    make(&dir);
    let store = Store::open(&dir, 1, options()).unwrap();
    for n in 140..150 {
        wait(|done| store.append(n, vec![record(n)], done)).unwrap();
    }
    // Once this is answered, all before it is over.
    wait(|done| store.save_vote(Bytes::from_static(b"vote"), done)).unwrap();
    copy(&dir, &killed);
    let had = all(&store).unwrap();
    let journal = |what: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        noticed(&killed, &had, what, |dir| {
            let path = dir.join("journal");
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes);
            fs::write(&path, bytes).unwrap();
        })
    };
    assert!(!journal("nothing", &|_| {}));
    for n in 0..10 {
        // A header, and what an entry has of its own at least.
        for at in (0..24 + 4 + 20).step_by(5) {
            let what = format!("byte {at} of batch {n}");
            assert!(
                journal(&what, &|bytes| bytes[n * 4_096 + at] ^= 4),
                "{what}"
            );
        }
        let what = format!("batch {n} zeroed");
        let block = n * 4_096..(n + 1) * 4_096;
        assert!(journal(&what, &|bytes| bytes[block.clone()].fill(0)));
        let what = format!("cut before batch {n}");
        assert!(journal(&what, &|bytes| bytes.truncate(n * 4_096)));
    }
    assert!(journal("all zeroed", &|bytes| bytes.fill(0)));
    assert!(journal("grown", &|bytes| bytes.push(0)));
    assert!(!journal("what follows it damaged", &|bytes| bytes
        [10 * 4_096] ^=
        4));
    assert!(noticed(&killed, &had, "missing", |dir| {
        fs::remove_file(dir.join("journal")).unwrap();
    }));
    // The log too: what the journal goes on from.
    assert!(noticed(&killed, &had, "no end of the log", |dir| {
        fs::remove_dir_all(dir.join("log/00000000000000000120")).unwrap();
    }));

    // It is named where it is to blame.
    let path = killed.join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5 * 4_096] ^= 4;
    fs::write(&path, bytes).unwrap();
    let why = Store::open(&killed, 1, options())
        .err()
        .unwrap()
        .to_string();
    assert!(
        why.contains("killed/journal is damaged: the log ends before entry 145, and was durable up to entry 149"),
        "{why}"
    );
}

/// A part of an entry that was never acknowledged makes way for another that is shorter.
#[test]
fn a_part_of_an_entry_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("data");
    let had = make(&dir).records;
    let config = sled::Config::new()
        .path(dir.join("log/00000000000000000120"))
        .segment_size(2 << 20)
        .flush_every_ms(None);
    let db = config.open().unwrap();
    let key = |piece: u16| [&140_u64.to_be_bytes()[..], &piece.to_be_bytes()].concat();
    let head = [&50_000_u32.to_le_bytes()[..], &[7; 4 + (16 << 10) - 8]].concat();
    db.insert(key(0), head).unwrap();
    db.insert(key(1), vec![7; 16 << 10]).unwrap();
    drop(db);
    let store = Store::open(&dir, 1, options()).unwrap();
    assert!(all(&store).unwrap().records == had);
    wait(|done| store.append(140, vec![record(1)], done)).unwrap();
    store.close();
    drop(store);
    let store = Store::open(&dir, 1, options()).unwrap();
    assert_eq!(all(&store).unwrap().records.len(), had.len() + 1);
}
