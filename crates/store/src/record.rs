//! A record as it lies in a database: its bytes in pieces, small enough that sled keeps them in its one
//! file, the first with the length and the checksum of the whole.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Most bytes of a record.
pub const MAX_RECORD: usize = 4 << 20;

/// Bytes of a piece. A leaf of sled's tree has at most some 20 values and is written as one message,
/// and messages above a quarter of [`crate::segment::SLED_SEGMENT`] become files of their own, which
/// sled never syncs.
pub(crate) const PIECE: usize = 16 << 10;
const _: () = assert!(24 * (PIECE + 64) < crate::segment::SLED_SEGMENT / 4);

const HEADER: usize = 8;

/// Keys sort by index, then by piece.
pub(crate) fn key(index: u64, piece: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

pub(crate) fn parse_key(key: &[u8]) -> Option<(u64, u16)> {
    let (index, piece) = key.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(index.try_into().ok()?),
        u16::from_be_bytes(piece.try_into().ok()?),
    ))
}

fn checksum(index: u64, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&index.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &(bytes.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc, bytes)
}

/// The pieces of a record, in order.
pub(crate) fn pieces(index: u64, bytes: &Bytes) -> impl Iterator<Item = (u16, Bytes)> {
    let first = bytes.len().min(PIECE - HEADER);
    let mut head = BytesMut::with_capacity(HEADER + first);
    head.put_u32_le(bytes.len() as u32);
    head.put_u32_le(checksum(index, bytes));
    head.put_slice(&bytes[..first]);
    let rest = bytes.slice(first..);
    let tail = (0..rest.len().div_ceil(PIECE))
        .map(move |n| rest.slice(n * PIECE..rest.len().min((n + 1) * PIECE)));
    std::iter::once(head.freeze())
        .chain(tail)
        .zip(0..)
        .map(|(piece, n)| (n, piece))
}

/// A record being put together from its pieces.
pub(crate) struct Partial {
    index: u64,
    length: usize,
    crc: u32,
    next: u16,
    bytes: BytesMut,
}

/// What a piece led to.
pub(crate) enum Step {
    More(Partial),
    Whole(Bytes),
}

impl Partial {
    /// Begins with a record's first piece.
    pub(crate) fn begin(index: u64, piece: u16, value: &[u8]) -> Result<Step, String> {
        let header = value.split_at_checked(HEADER);
        let (Some((header, bytes)), 0) = (header, piece) else {
            return Err(format!("entry {index} has no beginning"));
        };
        let field = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = field(0) as usize;
        if length > MAX_RECORD {
            return Err(format!("entry {index} has an impossible length"));
        }
        let mut whole = BytesMut::with_capacity(length);
        whole.put_slice(bytes);
        Self {
            index,
            length,
            crc: field(4),
            next: 1,
            bytes: whole,
        }
        .step()
    }

    /// Goes on with the next piece.
    pub(crate) fn add(mut self, index: u64, piece: u16, value: &[u8]) -> Result<Step, String> {
        if index != self.index || piece != self.next {
            return Err(format!("a part of entry {} is missing", self.index));
        }
        self.next += 1;
        self.bytes.put_slice(value);
        self.step()
    }

    fn step(self) -> Result<Step, String> {
        if self.bytes.len() < self.length {
            return Ok(Step::More(self));
        }
        if self.bytes.len() > self.length || checksum(self.index, &self.bytes) != self.crc {
            return Err(format!("the checksum of entry {} is wrong", self.index));
        }
        Ok(Step::Whole(self.bytes.freeze()))
    }
}
