//! A Raft member: openraft wiring, gRPC services, graceful start and stop.

mod barrier;
mod blocking;
pub mod calendar;
mod clock;
mod config;
mod core;
mod due;
mod forward;
mod gate;
mod log;
mod machine;
mod membership;
mod network;
mod node;
mod peer;
mod propose;
mod server;
mod services;
mod tls;
mod types;
#[doc(hidden)]
pub mod untrusted;
mod upkeep;

pub use config::{Config, ConfigError, Limits, RaftConfig, Tls};
pub use node::{Applied, Ground, Node, StartError};
pub use tls::TlsError;

#[cfg(test)]
mod tests;
