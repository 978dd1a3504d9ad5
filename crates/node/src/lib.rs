//! A Raft member: openraft wiring, gRPC services, graceful start and stop.

mod barrier;
mod clock;
mod config;
mod core;
mod log;
mod machine;
mod membership;
mod network;
mod peer;
mod propose;
mod types;
mod upkeep;

pub use config::{Config, ConfigError, Limits, RaftConfig, Tls};

#[cfg(test)]
mod tests;
