//! The log as its users see it, on a real disk.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use store::{Done, Failure, FailureKind, MAX_RECORD, Options, Purge, Store};

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

#[test]
fn purges_whole_segments_and_past_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let segments = || std::fs::read_dir(dir.path().join("log")).unwrap().count();
    let mut store = open(dir.path());
    append(&store, 0, 35).unwrap();
    // Once this is answered, they are in the log.
    wait(|done| store.save_vote(Bytes::from("vote"), done)).unwrap();
    assert_eq!(segments(), 4);
    let purge = |store: &Store, upto: u64| {
        let note = Bytes::from(format!("note {upto}"));
        wait(|done| store.purge(upto, note.clone(), done)).unwrap();
        assert_eq!(store.bounds().purged, Some(Purge { index: upto, note }));
    };
    for (upto, left) in [(5, 4), (9, 3), (28, 2), (29, 1)] {
        purge(&store, upto);
        assert_eq!(segments(), left, "after {upto}");
        assert_eq!(read(&store, 0, 100), expect(upto + 1, 35));
        store.close();
        store = open(dir.path());
        assert_eq!(read(&store, 0, 100), expect(upto + 1, 35));
    }
    // What was purged before stays so.
    wait(|done| store.purge(3, Bytes::new(), done)).unwrap();
    assert_eq!(store.bounds().purged.map(|purged| purged.index), Some(29));

    // A snapshot from the leader is past the end.
    purge(&store, 99);
    assert_eq!((segments(), store.bounds().last), (0, None));
    assert_eq!(
        append(&store, 35, 1).unwrap_err().kind(),
        FailureKind::Refused
    );
    append(&store, 100, 3).unwrap();
    store.close();
    store = open(dir.path());
    assert_eq!(read(&store, 0, 200), expect(100, 103));
    assert_eq!(store.bounds().last, Some(102));

    // All of it removed, it goes on where it was purged.
    wait(|done| store.truncate_after(Some(99), done)).unwrap();
    assert_eq!((segments(), store.bounds().last), (0, None));
    store.close();
    store = open(dir.path());
    append(&store, 100, 1).unwrap();
    assert_eq!(read(&store, 0, 200), expect(100, 101));
}

#[test]
fn large_records_and_small_limits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sizes = [0, 1, 16_375, 16_376, 16_377, 100_000, 2_500_000, MAX_RECORD];
    let records: Vec<_> = sizes
        .iter()
        .map(|n| Bytes::from(vec![*n as u8; *n]))
        .collect();
    wait(|done| store.append(0, records.clone(), done)).unwrap();
    store.close();
    let store = open(dir.path());
    assert!(store.read(0..9, usize::MAX).unwrap() == records);
    assert_eq!(store.read(0..9, 40_000).unwrap(), records[..4]);
    assert_eq!(store.read(6..9, 1).unwrap(), records[6..7]);
    assert_eq!(store.read(8..20, 1).unwrap(), records[..0]);
    assert_eq!(store.read(3..3, 1).unwrap(), records[..0]);
    // A record in pieces gives way to one in fewer.
    wait(|done| store.truncate_after(Some(5), done)).unwrap();
    wait(|done| store.append(6, records[..2].to_vec(), done)).unwrap();
    store.close();
    let store = open(dir.path());
    assert_eq!(store.read(6..9, usize::MAX).unwrap(), records[..2]);
}

/// Readers see a log without holes or mixtures while it is appended to, truncated and purged.
#[test]
fn reads_while_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Every entry names its index and the truncation that it came after.
    let record = |index: u64, round: u64| {
        let mut bytes = vec![0; 16 + (index % 40) as usize * 20];
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        bytes[8..16].copy_from_slice(&round.to_le_bytes());
        Bytes::from(bytes)
    };
    let number =
        |bytes: &Bytes, at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for from in [0, 30, 60] {
            let (store, over) = (&store, &over);
            scope.spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let bounds = store.bounds();
                    let start = bounds.purged.map_or(0, |purged| purged.index + 1);
                    let found = store.read(start + from..start + from + 50, 20_000).unwrap();
                    for pair in found.windows(2) {
                        assert_eq!(number(&pair[0], 0) + 1, number(&pair[1], 0), "a hole");
                        assert!(number(&pair[0], 8) <= number(&pair[1], 8), "a mixture");
                    }
                }
            });
        }
        let mut end = 0;
        for round in 0..36 {
            for _ in 0..5 {
                let records = (end..end + 7).map(|i| record(i, round)).collect();
                store.append(end, records, Box::new(|result| result.unwrap()));
                end += 7;
            }
            if round % 3 == 1 {
                end -= 12;
                store.truncate_after(Some(end - 1), Box::new(|result| result.unwrap()));
            }
            if round % 4 == 2 {
                wait(|done| store.purge(end - 60, Bytes::new(), done)).unwrap();
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// The disk stays under a bound that depends on what is kept, however much was written.
#[test]
fn disk_use_is_bounded() {
    // Room is counted alike in memory, and it is faster.
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::TempDir::new_in(memory),
        false => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let options = Options {
        segment_bytes: 1 << 20,
        segment_entries: 5_000,
        ..Options::default()
    };
    let store = Store::open(dir.path(), 1, options.clone()).unwrap();
    let (mut end, mut most) = (0_u64, 0);
    for round in 0..90 {
        for _ in 0..8 {
            let records = (end..end + 30).map(|i| Bytes::from(vec![i as u8; 6_000]));
            wait(|done| store.append(end, records.collect(), done)).unwrap();
            end += 30;
        }
        let mut writer = store.snapshots().begin(Bytes::new()).unwrap();
        writer.write(&vec![7; 200_000]).unwrap();
        writer.finish().unwrap();
        let upto = end.saturating_sub(300);
        wait(|done| store.purge(upto, Bytes::new(), done)).unwrap();
        if round >= 10 {
            most = most.max(store.disk_bytes());
        }
    }
    let kept = 300 * (6_000 + store::ENTRY_OVERHEAD);
    let bound = options.max_log_bytes(kept) + 2 * 210_000 + 100_000;
    println!(
        "{most} bytes on disk, bound {bound}, {} written",
        end * 6_000
    );
    assert!(
        most <= bound,
        "{most} bytes on disk, and the bound is {bound}"
    );
    // Without a purge it would not hold.
    assert!(bound < end * 6_000 / 2);
}

#[test]
fn the_last_clone_may_go_in_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (told, answer) = mpsc::channel();
    let last = store.clone();
    let done: Done = Box::new(move |result| {
        drop(last);
        told.send(result).unwrap();
    });
    store.append(0, vec![record(0)], done);
    drop(store);
    answer.recv().unwrap().unwrap();
}

/// Answers come in the order of the requests, and a queue that is full makes appends wait.
#[test]
fn answers_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        queue_entries: 3,
        ..small()
    };
    let store = Store::open(dir.path(), 1, options).unwrap();
    let (tell, told) = mpsc::channel();
    let ask = |n: u64| -> Done {
        let tell = tell.clone();
        Box::new(move |result| tell.send((n, result)).unwrap())
    };
    let mut end = 0;
    for n in 0..120 {
        match n % 6 {
            0 => store.save_vote(record(n), ask(n)),
            1 if end > 10 => {
                store.truncate_after(Some(end - 2), ask(n));
                end -= 1;
            }
            2 if end > 20 => store.purge(end - 20, Bytes::new(), ask(n)),
            _ => {
                store.append(end, vec![record(end), record(end + 1)], ask(n));
                end += 2;
            }
        }
    }
    store.close();
    drop(store);
    let answers: Vec<_> = told.try_iter().collect();
    let expected: Vec<_> = (0..120).map(|n| (n, Ok(()))).collect();
    assert_eq!(answers, expected);
    let store = open(dir.path());
    assert_eq!(store.bounds().last, Some(end - 1));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The directory of a store, as it would be had the process been killed. What was acknowledged is in the
/// journal, and a part of it elsewhere.
fn killed(store: &Store, dir: &Path) -> tempfile::TempDir {
    // Once this is answered, all before it is over.
    wait(|done| store.save_vote(Bytes::from("vote"), done)).unwrap();
    let image = tempfile::tempdir().unwrap();
    copy(dir, image.path());
    image
}

fn is_there(store: &Store, dir: &Path, expected: &[Bytes]) {
    let image = killed(store, dir);
    for _ in 0..2 {
        let store = Store::open(image.path(), 1, Options::default()).unwrap();
        assert!(store.read(0..u64::MAX, usize::MAX).unwrap() == expected);
    }
}

#[test]
fn entries_are_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    is_there(&store, dir.path(), &[]);
    for (first, n) in [(5, 1), (6, 1), (7, 30), (37, 1)] {
        append(&store, first, n).unwrap();
        is_there(&store, dir.path(), &expect(5, first + n));
    }
    // They are in the journal alone: it is all that is missing here.
    let image = killed(&store, dir.path());
    let journal = image.path().join("journal");
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, vec![0; bytes.len()]).unwrap();
    let error = Store::open(image.path(), 1, Options::default())
        .err()
        .unwrap();
    let what = "the log ends before entry 5, and was durable up to entry 37";
    assert!(error.to_string().contains(what), "{error}");
    // Nothing was changed by that, and it opens once it has its journal.
    std::fs::write(&journal, bytes).unwrap();
    let again = open(image.path());
    assert_eq!(read(&again, 0, 99), expect(5, 38));
}

/// Enough for the log to be flushed several times, and the journal to begin again.
#[test]
fn the_journal_goes_on_at_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let record = |index: u64| Bytes::from(vec![index as u8; (index as usize * 641) % 5_000]);
    let mut expected = Vec::new();
    for n in 0..700 {
        expected.push(record(n));
        wait(|done| store.append(n, vec![record(n)], done)).unwrap();
        if n % 58 == 57 {
            is_there(&store, dir.path(), &expected);
        }
    }
    // Small ones fill it by their number.
    for n in 700..2_500 {
        expected.push(Bytes::new());
        wait(|done| store.append(n, vec![Bytes::new()], done)).unwrap();
        if n % 311 == 0 {
            is_there(&store, dir.path(), &expected);
        }
    }
}

/// What it has no room for is in the log when it is acknowledged.
#[test]
fn more_than_the_journal_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let mut expected = Vec::new();
    let mut append = |sizes: &[usize]| {
        let records: Vec<_> = sizes
            .iter()
            .map(|n| Bytes::from(vec![*n as u8; *n]))
            .collect();
        let first = expected.len() as u64;
        expected.extend(records.clone());
        // As a kill would leave it at the very moment of the answer.
        let image = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().to_path_buf(), image.path().to_path_buf());
        let (told, answer) = mpsc::channel();
        let done: Done = Box::new(move |result| {
            copy(&from, &to);
            told.send(result).unwrap();
        });
        store.append(first, records, done);
        answer.recv().unwrap().unwrap();
        let found = Store::open(image.path(), 1, Options::default()).unwrap();
        assert!(found.read(0..u64::MAX, usize::MAX).unwrap() == expected);
        is_there(&store, dir.path(), &expected);
    };
    append(&[10]);
    append(&[MAX_RECORD]);
    append(&[10, 20]);
    append(&[3_000_000, 5, 3_000_000]);
    append(&[1_500_000]);
    append(&[1_500_000]);
    append(&[10]);
}

/// A callback may read what it is told of, and sees it before the log has it.
#[test]
fn what_is_acknowledged_can_be_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (tell, told) = mpsc::channel();
    for n in 0..50 {
        let (reader, tell) = (store.clone(), tell.clone());
        let done: Done = Box::new(move |result| {
            result.unwrap();
            tell.send(reader.read(0..n + 1, usize::MAX)).unwrap();
        });
        store.append(n, vec![record(n)], done);
        let found = told.recv().unwrap().unwrap();
        assert_eq!(found, expect(0, n + 1));
    }
    assert_eq!(store.failure(), None);
}

#[test]
fn what_was_truncated_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1, Options::default()).unwrap();
    let other = |index: u64| Bytes::from(format!("other {index} "));
    for keep in [7, 3, 0] {
        // Each at the place in the journal that its index had before.
        let mut expected = expect(0, keep);
        for n in store.bounds().last.map_or(0, |last| last + 1)..10 {
            append(&store, n, 1).unwrap();
        }
        is_there(&store, dir.path(), &expect(0, 10));
        wait(|done| store.truncate_after(keep.checked_sub(1), done)).unwrap();
        is_there(&store, dir.path(), &expected);
        for n in keep..keep + 2 {
            expected.push(other(n));
            wait(|done| store.append(n, vec![other(n)], done)).unwrap();
            is_there(&store, dir.path(), &expected);
        }
        wait(|done| store.truncate_after(keep.checked_sub(1), done)).unwrap();
    }
    // An empty log may begin anywhere.
    append(&store, 1, 1).unwrap();
    is_there(&store, dir.path(), &expect(1, 2));
    wait(|done| store.truncate_after(None, done)).unwrap();
    append(&store, 0, 1).unwrap();
    is_there(&store, dir.path(), &expect(0, 1));
}

/// A power cut lost a batch and kept the next; neither may come back later.
#[test]
fn what_a_power_cut_left_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = std::fs::read(dir.path().join("progress")).unwrap();
    append(&store, 0, 1).unwrap();
    append(&store, 1, 1).unwrap();
    let image = killed(&store, dir.path());
    let journal = image.path().join("journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[..512].fill(0);
    std::fs::write(&journal, bytes).unwrap();
    // Neither had been acknowledged.
    std::fs::write(image.path().join("progress"), before).unwrap();
    let store = open(image.path());
    assert_eq!(store.bounds().last, None);
    let other = Bytes::from_static(b"other");
    wait(|done| store.append(0, vec![other.clone()], done)).unwrap();
    is_there(&store, image.path(), &[other]);
}

#[test]
fn purges_with_entries_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let purge = |upto| wait(|done| store.purge(upto, Bytes::new(), done)).unwrap();
    (0..25).for_each(|n| append(&store, n, 1).unwrap());
    purge(12);
    is_there(&store, dir.path(), &expect(13, 25));
    append(&store, 25, 2).unwrap();
    is_there(&store, dir.path(), &expect(13, 27));
    // All of it, and past the end.
    purge(26);
    is_there(&store, dir.path(), &[]);
    append(&store, 27, 1).unwrap();
    is_there(&store, dir.path(), &expect(27, 28));
    purge(99);
    is_there(&store, dir.path(), &[]);
    append(&store, 100, 1).unwrap();
    append(&store, 101, 1).unwrap();
    is_there(&store, dir.path(), &expect(100, 102));
}

/// A directory of format 1 has no journal, and gets one.
#[test]
fn a_directory_from_before_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 0, 35).unwrap();
    wait(|done| store.purge(4, Bytes::from("note"), done)).unwrap();
    wait(|done| store.save_vote(Bytes::from("vote"), done)).unwrap();
    store.close();
    drop(store);
    let state = dir.path().join("state");
    let mut bytes = std::fs::read(&state).unwrap();
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    bytes.truncate(bytes.len() - 8 - 4);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    std::fs::write(&state, &bytes).unwrap();
    // What would not be one of this format is not looked at.
    let journal = dir.path().join("journal");
    std::fs::write(&journal, "left by an upgrade that was cut short").unwrap();

    let store = open(dir.path());
    assert_eq!(read(&store, 0, 99), expect(5, 35));
    assert_eq!(store.bounds().purged.map(|purged| purged.index), Some(4));
    assert_eq!(store.vote(), Some(Bytes::from("vote")));
    assert!(std::fs::read(&state).unwrap()[8..12] == 2_u32.to_le_bytes());
    append(&store, 35, 1).unwrap();
    is_there(&store, dir.path(), &expect(5, 36));
    store.close();
    std::fs::remove_file(journal).unwrap();
    let error = Store::open(dir.path(), 1, small()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("journal is damaged: it is missing"),
        "{error}"
    );
}
