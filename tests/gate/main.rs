//! Whole-system tests of the waiting room: nodes and gates as processes, real proxies by the configurations in
//! `deploy`, a real portal behind them, and people who press.
//!
//! One test at a time: a cluster, a gate, a proxy and a crowd are more than two cores carry twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../cluster/harness.rs"]
#[allow(dead_code, reason = "other whole-system tests do more to a cluster")]
mod harness;

mod api;
mod browser;
mod cut_off;
mod kill;
mod people;
mod portal;
mod probe;
mod programs;
mod restart;
mod site;
mod ways;
