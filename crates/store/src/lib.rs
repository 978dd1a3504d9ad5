//! The Raft log, vote and snapshots on sled, durable on the platter.
