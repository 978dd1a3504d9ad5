//! The gRPC types of Préau, generated from `proto/`, their conversion to and from those of [`quota`], and
//! the one table of errors.

mod change;
pub mod codec;
pub mod connect;
mod convert;
mod gather;
pub mod status;
mod waiting;

pub use convert::{answered, configured, grant, holder_removed, lease, region, returned};
pub use waiting::{report, reported};

/// The generated types: messages, clients and servers.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("preau.v1");
}

/// The compiled `proto/`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preau.v1.bin"));
