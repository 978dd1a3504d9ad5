//! What goes by what strangers send, for the tests that send anything, and for benchmarks.

pub use crate::address::{Trusted, truncated};
pub use crate::cookies::Cookies;
pub use crate::identity::{Config as IdentityConfig, Identity, IdentityError, Person};
pub use crate::limits::{Config as Rates, Limits};
pub use crate::visitor::{MAX_TO_BYTES, local};
