//! What a run of Préau recorded, and the checkers that judge it.

pub mod history;
