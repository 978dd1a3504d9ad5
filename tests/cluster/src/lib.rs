//! Whole-system tests: real nodes as processes, real disks, real gRPC.
