//! Parts of the command that `tests/bench` is made of as well: clusters on this machine, and what is printed.

pub use crate::failure::Failure;
pub use crate::local::children::Children;
pub use crate::local::leader::{Leader, Leaders};
pub use crate::local::processes::Processes;
pub use crate::local::{Home, Ports, free};
pub use crate::output::{print_line, table, thousands};
pub use crate::signals::Signals;
