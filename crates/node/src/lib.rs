//! A Raft member: openraft wiring, gRPC services, graceful start and stop.

mod config;

pub use config::{Config, ConfigError, Limits, RaftConfig, Tls};
