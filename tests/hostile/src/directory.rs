//! A node's data directory, damaged or made up: a store opens with all that it had, or says what is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};

use arbitrary::Unstructured;
use bytes::Bytes;
use store::{Done, Failure, FailureKind, OpenError, Options, Store};

use crate::said;

/// Whether a panic here is one that the store takes for what it is: sled's, when it meets damage.
pub fn expects_panic(file: &str) -> bool {
    file.contains("/sled-")
}

fn options() -> Options {
    Options {
        segment_entries: 4,
        cache_bytes: 0,
        ..Options::default()
    }
}

/// A file, up to its last byte that is not 0, and how long it was.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    len: u64,
}

/// A directory as a store leaves it that is killed, and what it has.
struct Original {
    files: Vec<File>,
    has: All,
}

/// All that a store has.
#[derive(Debug, PartialEq, Eq)]
struct All {
    records: Vec<Bytes>,
    purged: Option<store::Purge>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    cluster: Option<String>,
    snapshot: Option<Vec<u8>>,
}

fn all(store: &Store) -> Result<All, Failure> {
    let snapshot = store.snapshots().latest();
    Ok(All {
        records: store.read(0..u64::MAX, usize::MAX)?,
        purged: store.bounds().purged,
        vote: store.vote(),
        committed: store.committed(),
        cluster: store.cluster_id(),
        snapshot: snapshot.map(|s| s.read_all()).transpose()?,
    })
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::TempDir::new_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a temporary directory")
}

fn wait(ask: impl FnOnce(Done)) {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| {
        told.send(result).expect("who waits")
    }));
    answer.recv().expect("an answer").expect("a write");
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let scratch = scratch();
        let dir = scratch.path().join("data");
        let store = Store::open(&dir, 1, options()).expect("a new store");
        store.set_cluster_id("cluster").expect("its first");
        let record = |index: u64| Bytes::from(vec![index as u8; 30 + index as usize]);
        for range in [0..4, 4..8, 8..11] {
            wait(|done| store.append(range.start, range.map(record).collect(), done));
        }
        wait(|done| store.purge(3, Bytes::from_static(b"note"), done));
        wait(|done| store.save_vote(Bytes::from_static(b"vote"), done));
        store
            .save_committed(Bytes::from_static(b"9"))
            .expect("it fits");
        let mut writer = store
            .snapshots()
            .begin(Bytes::from_static(b"meta"))
            .expect("a file");
        writer.write(b"body").expect("room");
        writer.finish().expect("room");
        store.close();
        drop(store);
        // The last entry is in the journal, and not yet in the log.
        let store = Store::open(&dir, 1, options()).expect("what was closed");
        wait(|done| store.append(11, vec![record(11)], done));
        wait(|done| store.save_vote(Bytes::from_static(b"vote"), done));
        let has = all(&store).expect("all is well");
        let mut files = Vec::new();
        collect(&dir, &dir, &mut files);
        files.retain(|file| !file.path.ends_with("lock"));
        Original { files, has }
    })
}

fn collect(top: &Path, dir: &Path, files: &mut Vec<File>) {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(top, &path, files);
            continue;
        }
        let mut bytes = fs::read(&path).expect("a file");
        let len = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1));
        let path = path.strip_prefix(top).expect("below it").to_path_buf();
        files.push(File { path, bytes, len });
    }
}

impl Original {
    fn copy(&self, dir: &Path) {
        for file in &self.files {
            write(&dir.join(&file.path), &file.bytes, file.len);
        }
        // sled looks for it.
        for file in self.files.iter().filter(|file| file.path.ends_with("db")) {
            let beside = dir.join(&file.path).with_file_name("blobs");
            fs::create_dir_all(beside).expect("room");
        }
    }

    /// The one of this name.
    fn named(&self, what: &str) -> &File {
        let mut files = self.files.iter();
        let named = files.find(|file| file.path.to_string_lossy().contains(what));
        named.expect("a file that every store has")
    }
}

fn write(path: &Path, bytes: &[u8], len: u64) {
    use std::os::unix::fs::FileExt as _;
    fs::create_dir_all(path.parent().expect("a directory")).expect("room");
    let file = fs::File::create(path).expect("room");
    file.write_all_at(bytes, 0).expect("room");
    file.set_len(len).expect("room");
}

pub fn directory(data: &[u8]) {
    let scratch = scratch();
    let dir = scratch.path().join("data");
    original().copy(&dir);
    match change(&dir, &mut Unstructured::new(data)) {
        Ok(made_up) => open(&dir, made_up),
        Err(_) => open(&dir, false),
    }
}

/// Changes the directory. Says whether what it did passes for what a store writes: then other things may be
/// there than there were.
fn change(dir: &Path, data: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    let original = original();
    match data.int_in_range(0..=9)? {
        format @ (0 | 8) => {
            let format = [1 + format / 8, 0, 0, 0];
            let body = data.bytes(data.len())?;
            let node = 1_u64.to_le_bytes();
            let whole = sealed(&[b"PREAUST\n", &format[..], &node, body].concat());
            write(&dir.join("state"), &whole, whole.len() as u64);
            Ok(true)
        }
        1 => {
            let mut slot = data.bytes(data.len())?.to_vec();
            slot.resize(508, 0);
            let whole = sealed(&slot);
            write(&dir.join("progress"), &whole, 8_192);
            Ok(true)
        }
        2 => {
            let (meta, len): (&[u8], u64) = (data.arbitrary()?, data.arbitrary()?);
            let body = data.bytes(data.len())?;
            let len = if len % 2 == 0 { body.len() as u64 } else { len };
            let said = (meta.len() as u32).to_le_bytes();
            let head = [b"PREAUSN\n\x01\0\0\0", &said[..], &len.to_le_bytes(), meta].concat();
            let whole = [sealed(&head), sealed_apart(body)].concat();
            let path = dir.join(&original.named(".snap").path);
            write(&path, &whole, whole.len() as u64);
            Ok(true)
        }
        3 => {
            let name = data.arbitrary::<&str>()?.to_owned();
            let below = *data.choose(&["", "log", "snapshots"])?;
            let plain =
                !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
            let bytes = data.bytes(data.len())?;
            if plain && name.len() < 200 && !dir.join(below).join(&name).exists() {
                write(&dir.join(below).join(&name), bytes, bytes.len() as u64);
            }
            Ok(true)
        }
        4 => {
            pieces(dir, data)?;
            Ok(true)
        }
        9 => {
            batches(dir, data)?;
            Ok(true)
        }
        5 => {
            let file = data.choose(&original.files)?;
            let path = dir.join(&file.path);
            let len = data.int_in_range(0..=file.len)?;
            let bytes = &file.bytes[..file.bytes.len().min(len as usize)];
            write(&path, bytes, len);
            Ok(false)
        }
        _ => {
            let file = data.choose(&original.files)?;
            let mut bytes = file.bytes.clone();
            let count = data.int_in_range(1..=8)?;
            for _ in 0..count {
                if let Some(most) = bytes.len().checked_sub(1) {
                    bytes[data.int_in_range(0..=most)?] ^= data.arbitrary::<u8>()?;
                }
            }
            write(&dir.join(&file.path), &bytes, file.len);
            Ok(false)
        }
    }
}

/// A segment of the log that sled finds in order, and that has anything in it.
fn pieces(dir: &Path, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let path = dir.join("log/00000000000000000008");
    fs::remove_dir_all(&path).expect("it was there");
    let config = sled::Config::new()
        .path(&path)
        .segment_size(2 << 20)
        .flush_every_ms(None);
    let db = config.open().expect("a new one");
    while !data.is_empty() {
        let (index, piece): (u8, u16) = (data.int_in_range(7..=13)?, data.int_in_range(0..=3)?);
        let mut key = u64::from(index).to_be_bytes().to_vec();
        key.extend(piece.to_be_bytes());
        if data.int_in_range(0..=31)? == 0 {
            key = data.arbitrary::<&[u8]>()?.to_vec();
        }
        let value: &[u8] = data.arbitrary()?;
        let mut whole = value.to_vec();
        // The length and checksum of one piece that is all, which the fuzzer would never find.
        if piece == 0 && data.arbitrary()? {
            let len = value.len() as u64;
            let crc = crc32c::crc32c(&u64::from(index).to_le_bytes());
            let crc = crc32c::crc32c_append(crc, &len.to_le_bytes());
            let crc = crc32c::crc32c_append(crc, value);
            whole = [&(len as u32).to_le_bytes()[..], &crc.to_le_bytes(), value].concat();
        }
        db.insert(key, whole).expect("room");
    }
    db.flush().expect("room");
    Ok(())
}

/// A journal of batches that check out.
fn batches(dir: &Path, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let original = original().named("journal");
    let mut whole = Vec::new();
    while !data.is_empty() && whole.len() < 1 << 20 {
        // Those that count now, and others.
        let generation: u64 = data.int_in_range(2..=4)?;
        let first: u64 = match data.int_in_range(0..=15)? {
            0 => data.arbitrary()?,
            near => near,
        };
        let mut rest = [generation.to_le_bytes(), first.to_le_bytes()].concat();
        for _ in 0..data.int_in_range(0..=3)? {
            let record: &[u8] = data.arbitrary()?;
            let mut len = record.len() as u32;
            if data.int_in_range(0..=15)? == 0 {
                len = data.arbitrary()?;
            }
            rest.extend(len.to_le_bytes());
            rest.extend(record);
        }
        let mut len = rest.len() as u32 - 16;
        if data.int_in_range(0..=15)? == 0 {
            len = data.arbitrary()?;
        }
        let rest = [&len.to_le_bytes()[..], &rest].concat();
        whole.extend(crc32c::crc32c(&rest).to_le_bytes());
        whole.extend(rest);
        whole.resize(whole.len().next_multiple_of(4_096), 0);
    }
    write(&dir.join("journal"), &whole, original.len);
    Ok(())
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32c::crc32c(bytes).to_le_bytes()].concat()
}

fn sealed_apart(body: &[u8]) -> Vec<u8> {
    sealed(body)
}

fn open(dir: &Path, made_up: bool) {
    let error = match Store::open(dir, 1, options()) {
        Ok(store) => match all(&store) {
            Ok(has) => {
                assert!(
                    made_up || has == original().has,
                    "it opened with something else"
                );
                if let Err(failure) = write_on(&store) {
                    said(&failure.to_string());
                }
                return;
            }
            Err(failure) => OpenError::Failed(failure),
        },
        Err(error) => error,
    };
    let message = error.to_string();
    said(&message);
    let shown = dir.to_string_lossy();
    assert!(message.contains(&*shown), "{message}");
    if let OpenError::Failed(failure) = &error
        && !made_up
    {
        assert_eq!(failure.kind(), FailureKind::Corruption, "{message}");
    }
}

/// What opened can be used.
fn write_on(store: &Store) -> Result<(), Failure> {
    let bounds = store.bounds();
    let purged = bounds
        .purged
        .map_or(0, |purge| purge.index.saturating_add(1));
    let next = bounds.last.map_or(purged, |last| last.saturating_add(1));
    let (told, answer) = mpsc::channel();
    let done: Done = Box::new(move |result| drop(told.send(result)));
    store.append(next, vec![Bytes::from_static(b"more")], done);
    answer.recv().expect("an answer")?;
    let read = store.read(next..next.saturating_add(1), 1)?;
    assert_eq!(read, [Bytes::from_static(b"more")], "entry {next}");
    store.close();
    Ok(())
}
