//! Writing in postcard's encoding, which is that of the log and of snapshots.

use postcard::ser_flavors::Size;
use serde::Serialize;

/// Writes a value after the bytes given.
#[expect(
    clippy::expect_used,
    reason = "a vector takes any bytes, and the types here are plain: nothing can fail, and writing less than everything must never pass"
)]
pub(crate) fn append(bytes: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("plain types, written to a vector")
}

/// How many bytes [`append`] adds.
#[expect(clippy::expect_used, reason = "as above")]
pub(crate) fn size(value: &impl Serialize) -> usize {
    postcard::serialize_with_flavor(value, Size::default()).expect("plain types, counted")
}
