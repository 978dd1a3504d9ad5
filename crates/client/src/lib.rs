//! The front-end's library: find the leader, keep a lease, admit locally.
