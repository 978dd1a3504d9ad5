//! What can be asked of the state machine, and its encoding for the log.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::limits::{MAX_BATCH_BYTES, MAX_COMMANDS};
use crate::outcome::LeaseId;

/// What one log entry holds: the cluster time at which its leader proposed it, and commands to apply in
/// order at that time. An empty batch only lets time go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Milliseconds since the cluster began. A time before the one already reached counts as that one.
    pub time_ms: u64,
    /// At most [`MAX_COMMANDS`](crate::limits::MAX_COMMANDS).
    pub commands: Vec<Command>,
}

/// One request. New commands are added at the end, and none is ever changed or taken away: their
/// positions are their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a lease.
    Take(Take),
    /// Keep and resize a lease.
    Renew(Renew),
    /// Give a lease back.
    Return(Return),
    /// End the leases of a holder.
    RemoveHolder(RemoveHolder),
    /// Change pools and regions.
    Configure(Configure),
}

/// Takes a lease, or takes over the one that the holder has in this pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// The pool's name.
    pub pool: String,
    /// The region's name.
    pub region: String,
    /// The holder's name, unique within the pool.
    pub holder: String,
    /// Which life of the holder this is, at least 1.
    pub epoch: u64,
    /// The request's number within the epoch, at least 1.
    pub seq: u64,
    /// Slots wanted, at most [`MAX_SLOTS`](crate::limits::MAX_SLOTS).
    pub wanted: u64,
}

/// Keeps a lease for another time to live, gives back slots above `kept`, and says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The lease.
    pub lease: LeaseId,
    /// The request's number within the holder's epoch.
    pub seq: u64,
    /// Slots that the holder still uses or may use.
    pub kept: u64,
    /// Slots wanted.
    pub wanted: u64,
}

/// Gives a lease back with all of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// The lease.
    pub lease: LeaseId,
    /// The request's number within the holder's epoch.
    pub seq: u64,
}

/// Ends the leases of a holder; their slots count until they would have run out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveHolder {
    /// Names the request among its retries.
    pub request_id: String,
    /// The holder's name.
    pub holder: String,
    /// One pool alone, or all.
    pub pool: Option<String>,
}

/// Changes pools and regions, all or nothing, checked on the state that the changes lead to together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Names the request among its retries: another with the same id is refused.
    pub request_id: String,
    /// Refuse unless the budget is at this revision.
    pub expected_revision: Option<u64>,
    /// At most [`MAX_CHANGES`](crate::limits::MAX_CHANGES).
    pub changes: Vec<Change>,
}

/// One change of a [`Configure`]. New ones are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Make or change a pool.
    SetPool(SetPool),
    /// Remove a pool with its regions; refused while slots are out.
    RemovePool {
        /// The pool's name.
        name: String,
    },
    /// Make or change a region.
    SetRegion(SetRegion),
    /// Remove a region; refused while slots are out.
    RemoveRegion {
        /// The pool's name.
        pool: String,
        /// The region's name.
        name: String,
    },
}

/// Makes or changes a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPool {
    /// The pool's name.
    pub name: String,
    /// Slots that it can carry.
    pub capacity: u64,
    /// A lease's time to live in milliseconds; as it was, or the default, where `None`.
    pub ttl_ms: Option<u64>,
    /// The clocks' drift in parts per million; as it was, or the default, where `None`.
    pub drift_ppm: Option<u32>,
}

/// Makes or changes a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRegion {
    /// The pool's name.
    pub pool: String,
    /// The region's name.
    pub name: String,
    /// Slots guaranteed.
    pub nominal: u64,
    /// Most slots, borrowing included; no bound but the capacity where `None`.
    pub ceiling: Option<u64>,
    /// The region's part in what is lent, 1 to [`MAX_WEIGHT`](crate::limits::MAX_WEIGHT).
    pub weight: u32,
}

/// Why bytes are no batch or snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin as they should.
    #[error("not a {what}: expected it to begin with {expected:?}, found {found:?}")]
    Magic {
        /// What was expected.
        what: &'static str,
        /// Its first bytes.
        expected: &'static str,
        /// The first bytes found.
        found: String,
    },
    /// Written by a newer version.
    #[error(
        "{what} is of format {found}, and this version reads up to {newest}: upgrade this node"
    )]
    Newer {
        /// What was read.
        what: &'static str,
        /// Its format.
        found: u8,
        /// The newest format that can be read.
        newest: u8,
    },
    /// The checksum does not match.
    #[error("{what} is damaged: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// What was read.
        what: &'static str,
        /// The checksum that it carries.
        expected: u32,
        /// The checksum of its bytes.
        found: u32,
    },
    /// The bytes end early or say something impossible.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// The format of an encoded batch: its first byte.
const BATCH_FORMAT: u8 = 1;

/// Why a batch can't be written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Over [`MAX_COMMANDS`].
    #[error("{given} commands in one batch, and the most is {MAX_COMMANDS}: divide them")]
    Commands {
        /// How many there are.
        given: usize,
    },
    /// Over [`MAX_BATCH_BYTES`].
    #[error("a batch of {given} bytes, and the most is {MAX_BATCH_BYTES}: divide its commands")]
    Bytes {
        /// How many there are.
        given: usize,
    },
}

impl Command {
    /// Bytes that the command takes in an encoded batch. Commands that take at most
    /// [`MAX_COMMANDS_BYTES`](crate::limits::MAX_COMMANDS_BYTES) together fit in one.
    pub fn encoded_len(&self) -> usize {
        codec::size(self)
    }

    /// Tells one request from another of the same id.
    pub(crate) fn checksum(&self) -> u32 {
        crc32c::crc32c(&codec::append(Vec::new(), self))
    }
}

impl Batch {
    /// The bytes for the log. They carry no checksum: the log has one for each record.
    ///
    /// # Errors
    /// Where the batch is over its bounds, which are so kept out of the log.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let given = self.commands.len();
        if given > MAX_COMMANDS {
            return Err(EncodeError::Commands { given });
        }
        let bytes = codec::append(vec![BATCH_FORMAT], self);
        match bytes.len() {
            given if given > MAX_BATCH_BYTES => Err(EncodeError::Bytes { given }),
            _ => Ok(bytes),
        }
    }

    /// Reads what [`Batch::encode`] wrote, in this version or an older one.
    ///
    /// # Errors
    /// Where the bytes are damaged, too many, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "batch";
        let damaged = |why: String| DecodeError::Damaged { what: WHAT, why };
        if bytes.len() > MAX_BATCH_BYTES {
            let given = bytes.len();
            return Err(damaged(EncodeError::Bytes { given }.to_string()));
        }
        match bytes.split_first() {
            None => Err(damaged("it is empty".into())),
            Some((&BATCH_FORMAT, rest)) => {
                let (batch, left) =
                    postcard::take_from_bytes::<Self>(rest).map_err(|e| damaged(e.to_string()))?;
                if !left.is_empty() {
                    return Err(damaged(format!("{} bytes follow its end", left.len())));
                }
                match batch.commands.len() {
                    given if given > MAX_COMMANDS => {
                        Err(damaged(EncodeError::Commands { given }.to_string()))
                    }
                    _ => Ok(batch),
                }
            }
            Some((0, _)) => Err(damaged("its format is 0".into())),
            Some((&found, _)) => Err(DecodeError::Newer {
                what: WHAT,
                found,
                newest: BATCH_FORMAT,
            }),
        }
    }
}
