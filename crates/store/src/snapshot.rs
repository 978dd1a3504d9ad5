//! Snapshots: files beside the log, each with what it is of, its length and a checksum. Written under
//! another name, synced, renamed; the newest two are kept.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::failure::Failure;
use crate::files;
use crate::shared::lock;

/// Snapshots kept: the newest, and one that may be being read.
pub const KEPT_SNAPSHOTS: usize = 2;

/// Most bytes of what a snapshot is of.
pub const MAX_SNAPSHOT_META: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"PREAUSN\n";
const FORMAT: u32 = 1;
/// Magic, format, length of the meta, length of the body.
const FIXED: usize = 8 + 4 + 4 + 8;
/// The meta's bytes follow the fixed part, then a checksum of both; the body; a checksum of the body.
const CRC: usize = 4;
const EXTENSION: &str = "snap";

/// The snapshots of a store.
#[derive(Debug, Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The oldest first.
    snapshots: Vec<Snapshot>,
    next: u64,
}

/// A snapshot on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is of, as given to [`Snapshots::begin`].
    pub meta: Bytes,
    /// Bytes of its body.
    pub len: u64,
    /// The file. It goes away once two newer ones are there; whoever has it open can read on.
    pub path: PathBuf,
}

impl Snapshots {
    /// Opens those in `dir` and checks the newest as a whole. An older one does not stand in for it: the
    /// log between the two may be gone.
    ///
    /// # Errors
    /// Where the newest is damaged, or the disk refuses.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        files::remove_leftovers(dir)?;
        let (mut found, mut snapshots) = (Vec::new(), Vec::new());
        let mut next = 0;
        for path in files::list(dir)? {
            let is_snapshot = path.extension().is_some_and(|e| e == EXTENSION);
            let number = path.file_stem().and_then(|stem| stem.to_str());
            // Numbers go up one by one: a store never comes near the last.
            match number.and_then(|n| n.parse::<u32>().ok()) {
                Some(number) if is_snapshot => {
                    next = u64::from(number) + 1;
                    found.push(path);
                }
                _ => tracing::warn!(path = %path.display(), "not a snapshot; left alone"),
            }
        }
        if let Some(newest) = found.pop() {
            for old in found {
                match Snapshot::load(&old) {
                    Ok(snapshot) => snapshots.push(snapshot),
                    Err(failure) => tracing::warn!(%failure, "an older snapshot is left alone"),
                }
            }
            let newest = Snapshot::load(&newest)?;
            newest.verify()?;
            snapshots.push(newest);
        }
        let snapshots = Self {
            shared: Arc::new(Shared {
                dir: dir.into(),
                kept: Mutex::new(Kept { snapshots, next }),
            }),
        };
        snapshots.remove_old(&mut snapshots.kept());
        Ok(snapshots)
    }

    /// Begins one of `meta`, which is at most [`MAX_SNAPSHOT_META`] bytes.
    ///
    /// # Errors
    /// Where the file can't be made.
    pub fn begin(&self, meta: Bytes) -> Result<SnapshotWriter, Failure> {
        if meta.len() > MAX_SNAPSHOT_META {
            return Err(Failure::refused(format!(
                "the meta of a snapshot has {} bytes; the most is {MAX_SNAPSHOT_META}",
                meta.len()
            )));
        }
        let number = {
            let mut kept = self.kept();
            kept.next += 1;
            kept.next - 1
        };
        let path = self.shared.dir.join(format!("{number:020}.{}", files::NEW));
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|e| Failure::io("create", &path, &e))?;
        let mut writer = SnapshotWriter {
            snapshots: self.clone(),
            meta,
            path,
            file: BufWriter::with_capacity(1 << 16, file),
            len: 0,
            crc: 0,
            finished: false,
        };
        writer.put(&vec![0; FIXED + writer.meta.len() + CRC])?;
        Ok(writer)
    }

    /// The newest.
    pub fn latest(&self) -> Option<Snapshot> {
        self.kept().snapshots.last().cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.shared.kept)
    }

    fn remove_old(&self, kept: &mut Kept) {
        while kept.snapshots.len() > KEPT_SNAPSHOTS {
            let path = kept.snapshots.remove(0).path;
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old snapshot stays until the next start");
            }
        }
    }
}

/// A snapshot being written. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    snapshots: Snapshots,
    meta: Bytes,
    path: PathBuf,
    file: BufWriter<File>,
    len: u64,
    crc: u32,
    finished: bool,
}

impl SnapshotWriter {
    /// Adds to the body.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.len += bytes.len() as u64;
        self.put(bytes)
    }

    /// Ends it; on return it is durable, and the newest.
    ///
    /// # Errors
    /// Where the disk refuses; the snapshot before stays the newest.
    pub fn finish(mut self) -> Result<Snapshot, Failure> {
        self.put(&self.crc.to_le_bytes())?;
        let header = header(&self.meta, self.len);
        let written = self.file.flush().and_then(|()| {
            let file = self.file.get_mut();
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()
        });
        written.map_err(|e| Failure::io("write", &self.path, &e))?;
        let path = self.path.with_extension(EXTENSION);
        // Under the lock, so that those begun earlier and finished later don't become the newest unseen.
        let snapshots = self.snapshots.clone();
        let mut kept = snapshots.kept();
        files::rename(&self.path, &path)?;
        self.finished = true;
        let snapshot = Snapshot {
            meta: self.meta.clone(),
            len: self.len,
            path,
        };
        kept.snapshots.push(snapshot.clone());
        kept.snapshots.sort_by(|a, b| a.path.cmp(&b.path));
        snapshots.remove_old(&mut kept);
        Ok(snapshot)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|e| Failure::io("write", &self.path, &e))
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished snapshot stays until the next start");
        }
    }
}

impl Snapshot {
    /// Opens the body for reading. What is read is not checked; see [`Self::read_all`] and [`Self::verify`].
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub fn open(&self) -> Result<impl Read + Send + use<>, Failure> {
        let opened = File::open(&self.path).and_then(|mut file| {
            let body = FIXED + self.meta.len() + CRC;
            file.seek(SeekFrom::Start(body as u64))?;
            Ok(file.take(self.len))
        });
        opened.map_err(|e| Failure::io("open", &self.path, &e))
    }

    /// The body, its checksum verified.
    ///
    /// # Errors
    /// Where it can't be read or is damaged.
    pub fn read_all(&self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::with_capacity(self.len.min(1 << 30) as usize);
        self.check(|bytes| body.extend_from_slice(bytes))?;
        Ok(body)
    }

    /// Reads all of it and checks the checksum.
    ///
    /// # Errors
    /// Where it can't be read or is damaged.
    pub fn verify(&self) -> Result<(), Failure> {
        self.check(|_| ())
    }

    fn check(&self, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
        let failed = |e| failed(&self.path, &e);
        let mut file = File::open(&self.path).map_err(failed)?;
        let body = FIXED + self.meta.len() + CRC;
        file.seek(SeekFrom::Start(body as u64)).map_err(failed)?;
        let (mut crc, mut left) = (0, self.len);
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let want = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..want]).map_err(failed)?;
            crc = crc32c::crc32c_append(crc, &buffer[..want]);
            each(&buffer[..want]);
            left -= want as u64;
        }
        let mut stored = [0; CRC];
        file.read_exact(&mut stored).map_err(failed)?;
        if crc != u32::from_le_bytes(stored) {
            return Err(Failure::corruption(
                &self.path,
                "the snapshot's checksum is wrong",
            ));
        }
        Ok(())
    }

    /// Reads the header and checks the file's length.
    fn load(path: &Path) -> Result<Self, Failure> {
        let damaged = |what| Failure::corruption(path, what);
        let failed = |e| failed(path, &e);
        let mut file = File::open(path).map_err(failed)?;
        let mut fixed = [0; FIXED];
        file.read_exact(&mut fixed).map_err(failed)?;
        if !fixed.starts_with(MAGIC) {
            return Err(damaged("it does not begin as a snapshot does"));
        }
        let mut from = &fixed[MAGIC.len()..];
        let (format, meta, len) = (
            from.get_u32_le(),
            from.get_u32_le() as usize,
            from.get_u64_le(),
        );
        if format != FORMAT || meta > MAX_SNAPSHOT_META {
            return Err(damaged(
                "its header has a format or length that no snapshot has",
            ));
        }
        let mut rest = vec![0; meta + CRC];
        file.read_exact(&mut rest).map_err(failed)?;
        rest.truncate(meta);
        let meta = Bytes::from(rest);
        let expected = header(&meta, len);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut found = vec![0; expected.len()];
        file.read_exact(&mut found).map_err(failed)?;
        if found != expected {
            return Err(damaged("the checksum of the snapshot's header is wrong"));
        }
        let on_disk = file.metadata().map_err(failed)?.len();
        if on_disk.checked_sub((expected.len() + CRC) as u64) != Some(len) {
            return Err(damaged(
                "the snapshot is shorter or longer than its header says",
            ));
        }
        Ok(Self {
            meta,
            len,
            path: path.into(),
        })
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Failure::corruption(path, "the snapshot is cut short"),
        _ => Failure::io("read", path, error),
    }
}

fn header(meta: &Bytes, len: u64) -> BytesMut {
    let mut out = BytesMut::with_capacity(FIXED + meta.len() + CRC);
    out.put_slice(MAGIC);
    out.put_u32_le(FORMAT);
    out.put_u32_le(meta.len() as u32);
    out.put_u64_le(len);
    out.put_slice(meta);
    let crc = crc32c::crc32c(&out);
    out.put_u32_le(crc);
    out
}
