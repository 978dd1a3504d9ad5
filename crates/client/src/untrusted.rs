//! What goes by the answers of a cluster, for the tests that answer anything.

pub use crate::front::Front;
pub use crate::keeper::{Keeper, Settings, Standing};
pub use crate::reports::{KnownRules, request, response};
pub use crate::requests::{Answer, Grant, Refused, Request, Tag};
pub use crate::seats::{Ledger, Usage};
pub use crate::wire::{granted, refused};
