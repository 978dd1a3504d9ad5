//! A Raft member: openraft wiring, gRPC services, graceful start and stop.
