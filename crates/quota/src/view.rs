//! What can be read of the state.

use crate::outcome::LeaseId;

/// A pool and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The pool's name.
    pub name: String,
    /// Slots that it can carry.
    pub capacity: u64,
    /// A lease's time to live in milliseconds.
    pub ttl_ms: u64,
    /// The clocks' drift in parts per million.
    pub drift_ppm: u32,
    /// Slots counted against the capacity.
    pub held: u64,
    /// Slots wanted by the holders of live leases.
    pub wanted: u64,
    /// Leases that count.
    pub leases: u64,
}

/// A region and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionView {
    /// The region's name.
    pub name: String,
    /// Slots guaranteed.
    pub nominal: u64,
    /// Most slots.
    pub ceiling: Option<u64>,
    /// The part in what is lent.
    pub weight: u32,
    /// Slots counted against the region.
    pub held: u64,
    /// Slots wanted by the holders of live leases.
    pub wanted: u64,
    /// Slots that the sharing rules give the region.
    pub target: u64,
    /// The part of `held` above `nominal`.
    pub borrowed: u64,
    /// The part of `nominal` that other regions hold.
    pub lent: u64,
    /// Leases that count.
    pub leases: u64,
}

/// A lease and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The lease.
    pub lease: LeaseId,
    /// The pool's name.
    pub pool: String,
    /// The region's name.
    pub region: String,
    /// The holder's name.
    pub holder: String,
    /// The holder's epoch.
    pub epoch: u64,
    /// The last request carried out.
    pub seq: u64,
    /// Slots counted.
    pub slots: u64,
    /// Slots wanted.
    pub wanted: u64,
    /// Slots that the sharing rules give it.
    pub target: u64,
    /// Cluster time when it runs out, in milliseconds.
    pub expires_ms: u64,
    /// Whether it can still be renewed.
    pub phase: LeasePhase,
}

/// Whether a lease can still be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasePhase {
    /// It can.
    Live,
    /// It counts until it runs out or is returned.
    Closing,
}
