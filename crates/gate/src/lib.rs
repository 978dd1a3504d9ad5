//! The waiting room: a front-end of a pool, before a portal that knows nothing of it.

pub mod view;
