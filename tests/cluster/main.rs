//! Whole-system tests: real nodes as processes, real disks, real gRPC over loopback, and kill -9.
//!
//! One test at a time: three nodes and their load are as much as two cores carry with honest timers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod damage;
mod front_ends;
mod harness;
mod holder;
mod interop;
mod kill;
mod load;
mod members;
mod scripted;
mod waiting;
