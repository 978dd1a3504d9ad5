//! What reads files that anyone may have written, for the tests that feed it anything.

use api::v1;

use crate::budget::Budget;
use crate::plan::Demands;
use crate::settings::{self, Overrides};

/// Reads a node's settings.
///
/// # Errors
/// What `preau serve` would say.
pub fn settings(text: &str) -> Result<node::Config, String> {
    Ok(settings::read(Some(text), &Overrides::default())?.node)
}

/// Reads a budget: the changes that make it.
///
/// # Errors
/// What `preau apply` would say.
pub fn budget(text: &str) -> Result<Vec<v1::Change>, String> {
    Ok(Budget::parse(text)?.changes())
}

/// Reads a plan file and works it out: the table that is printed.
///
/// # Errors
/// What `preau plan` would say.
pub fn plan(text: &str) -> Result<String, String> {
    let demands = Demands::parse(text)?;
    Ok(demands.table(&demands.plan()))
}
