//! The whole cluster under one seeded scheduler, clock, network and disk.
//!
//! The nodes are real: openraft, gRPC over HTTP/2, every service and the rules. So are the clients. Each runs on
//! a machine of its own ([`host`]), with a tokio runtime whose clock drifts, stands still and jumps as the seed
//! says; the network ([`net`]) carries their bytes, and the disk ([`disk`]) stands in for sled. All of it runs on
//! one thread, and all chance comes from the seed ([`system`]): the same seed is the same run.

pub mod asker;
pub mod crowd;
pub mod disk;
pub mod faults;
pub mod fronts;
pub mod host;
pub mod line;
pub mod net;
pub mod operator;
pub mod run;
pub mod system;
pub mod trace;
