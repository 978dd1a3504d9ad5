//! Batches of commands, and their encoding for the log.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::command::Command;
use crate::limits::{MAX_BATCH_BYTES, MAX_COMMANDS};

/// What one log entry holds: the cluster time at which its leader proposed it, and commands to apply in
/// order at that time. An empty batch only lets time go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Milliseconds since the cluster began. A time before the one already reached counts as that one.
    pub time_ms: u64,
    /// At most [`MAX_COMMANDS`](crate::limits::MAX_COMMANDS).
    pub commands: Vec<Command>,
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
        // A renewal takes 10 to 20 bytes.
        let mut bytes = Vec::with_capacity(16 + 20 * given);
        bytes.push(BATCH_FORMAT);
        let bytes = codec::append(bytes, self);
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
