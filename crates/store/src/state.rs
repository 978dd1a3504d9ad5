//! The `state` file: whose directory it is, the vote, and where the log begins. Replaced as a whole.

use std::fs;
use std::path::Path;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use crate::Purge;
use crate::failure::{Failure, OpenError};
use crate::files;

/// The newest format of a data directory that this version reads, and the one that it writes. It reads all
/// before it; those of format 1 had no journal.
pub const FORMAT: u32 = 2;

const MAGIC: &[u8; 8] = b"PREAUST\n";
pub(crate) const NAME: &str = "state";

/// What must be durable before it is acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub node_id: u64,
    pub cluster_id: Option<String>,
    pub vote: Option<Bytes>,
    pub purged: Option<Purge>,
    /// The first index that the log has, or would have.
    pub start: u64,
    /// What is in the journal counts if it is of this generation; 0 before there is a journal.
    pub generation: u64,
}

impl State {
    pub(crate) fn new(node_id: u64) -> Self {
        Self {
            node_id,
            cluster_id: None,
            vote: None,
            purged: None,
            start: 0,
            generation: 0,
        }
    }

    /// Writes it, durably.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), Failure> {
        files::replace(&dir.join(NAME), &self.encode())
    }

    /// Reads it; `None` where there is none.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::io("read", &path, &e).into()),
        };
        Self::decode(bytes, dir, &path).map(Some)
    }

    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        out.put_u32_le(FORMAT);
        out.put_u64_le(self.node_id);
        out.put_u64_le(self.start);
        put(&mut out, self.cluster_id.as_ref().map(String::as_bytes));
        put(&mut out, self.vote.as_deref());
        put(&mut out, self.purged.as_ref().map(|p| &*p.note));
        out.put_u64_le(self.purged.as_ref().map_or(0, |p| p.index));
        out.put_u64_le(self.generation);
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out
    }

    fn decode(bytes: Bytes, dir: &Path, path: &Path) -> Result<Self, OpenError> {
        let damaged = |what| OpenError::Failed(Failure::corruption(path, what));
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(damaged("it is too short"));
        };
        if !body.starts_with(MAGIC) {
            return Err(damaged("it does not begin as a state file does"));
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum is wrong"));
        }
        let mut rest = bytes.slice(MAGIC.len()..body.len());
        // Every format has the checksum at its end and the version here.
        let format = rest
            .try_get_u32_le()
            .map_err(|_| damaged("it is too short"))?;
        if format > FORMAT {
            return Err(OpenError::NewerFormat {
                dir: dir.into(),
                found: format,
                newest: FORMAT,
            });
        }
        fields(format, rest).ok_or_else(|| damaged("its fields can't be read"))
    }
}

fn put(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        None => out.put_u8(0),
        Some(bytes) => {
            out.put_u8(1);
            out.put_u32_le(bytes.len() as u32);
            out.put_slice(bytes);
        }
    }
}

fn get(from: &mut Bytes) -> Option<Option<Bytes>> {
    match from.try_get_u8().ok()? {
        0 => Some(None),
        1 => {
            let length = from.try_get_u32_le().ok()? as usize;
            (from.len() >= length).then(|| Some(from.split_to(length)))
        }
        _ => None,
    }
}

fn fields(format: u32, mut from: Bytes) -> Option<State> {
    let node_id = from.try_get_u64_le().ok()?;
    let start = from.try_get_u64_le().ok()?;
    let cluster_id = match get(&mut from)? {
        Some(id) => Some(String::from_utf8(id.to_vec()).ok()?),
        None => None,
    };
    let vote = get(&mut from)?;
    let note = get(&mut from)?;
    let index = from.try_get_u64_le().ok()?;
    let generation = match format {
        0 | 1 => 0,
        _ => from.try_get_u64_le().ok()?,
    };
    // No store begins them often enough to come past the half.
    let possible = generation <= u64::MAX / 2;
    (from.is_empty() && possible).then_some(State {
        node_id,
        cluster_id,
        vote,
        purged: note.map(|note| Purge { index, note }),
        start,
        generation,
    })
}
