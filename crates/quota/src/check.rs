//! Checks of single fields.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::limits::{MAX_NAME_BYTES, MAX_SLOTS};
use crate::outcome::Refusal;

/// The refusal of a field.
pub(crate) fn invalid(field: &str, value: impl Display, expected: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        field: field.into(),
        value: value.to_string(),
        expected: expected.into(),
    }
}

/// A name: printable, of bounded length, and without white space at either end.
pub(crate) fn name(field: &str, name: &str) -> Result<(), Refusal> {
    text(field, name, MAX_NAME_BYTES)
}

/// As [`name()`], of at most `most` bytes.
pub(crate) fn text(field: &str, text: &str, most: usize) -> Result<(), Refusal> {
    let fits = (1..=most).contains(&text.len());
    if fits && is_printable(text) {
        return Ok(());
    }
    let shown: String = text.chars().take(most).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    let expected = format!("1 to {most} bytes of printable text without white space at either end");
    Err(invalid(field, format!("{shown:?}{more}"), expected))
}

/// Whether it is printable, without white space at either end.
fn is_printable(text: &str) -> bool {
    // Most names have nothing but these in them.
    text.bytes().all(|byte| byte.is_ascii_graphic())
        || text.trim() == text && !text.chars().any(char::is_control)
}

/// A number of slots.
pub(crate) fn slots(field: &str, slots: u64) -> Result<(), Refusal> {
    number(field, slots, &(0..=MAX_SLOTS))
}

/// A number that starts at 1.
pub(crate) fn positive(field: &str, value: u64) -> Result<(), Refusal> {
    if value >= 1 {
        Ok(())
    } else {
        Err(invalid(field, value, "at least 1"))
    }
}

/// A number in a range.
pub(crate) fn number<T: PartialOrd + Display>(
    field: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(
        field,
        value,
        format!("{} to {}", range.start(), range.end()),
    ))
}
