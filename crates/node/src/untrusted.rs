//! What reads bytes from the disk and from other nodes, for the tests that feed it anything.

use api::v1;
use bytes::Bytes;

use crate::types;

/// Reads an entry of the log, and writes it again.
///
/// # Errors
/// Where it is none.
pub fn entry(bytes: Bytes) -> Result<Bytes, String> {
    let entry = types::decode_entry(bytes).map_err(|e| e.to_string())?;
    Ok(types::encode_entry(&entry))
}

/// Reads a leader's entries, and says them again.
///
/// # Errors
/// Where they are none.
pub fn append(message: v1::AppendRequest) -> Result<v1::AppendRequest, String> {
    let request = types::append_from(message).map_err(|e| e.to_string())?;
    Ok(types::append_to(request))
}

/// Reads a follower's answer, and says it again.
///
/// # Errors
/// Where it is none.
pub fn appended(message: v1::AppendResponse) -> Result<v1::AppendResponse, String> {
    let result = types::appended_from(message).map_err(|e| e.to_string())?;
    Ok(types::appended_to(result))
}

/// Reads what a snapshot is of, and says it again.
///
/// # Errors
/// Where it is nothing.
pub fn snapshot_meta(message: v1::SnapshotMeta) -> Result<v1::SnapshotMeta, String> {
    let meta = types::meta_from(message).map_err(|e| e.to_string())?;
    Ok(types::meta_to(&meta))
}

/// Reads a vote, and says it again.
///
/// # Errors
/// Where there is none.
pub fn ballot(message: Option<v1::Ballot>) -> Result<v1::Ballot, String> {
    let vote = types::vote_from(message).map_err(|e| e.to_string())?;
    Ok(types::vote_to(&vote))
}
