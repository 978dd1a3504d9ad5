//! The state machine.

use crate::command::{Batch, DecodeError};
use crate::outcome::{LeaseId, Outcome};
use crate::view::{LeaseView, PoolView, RegionView};

/// The whole replicated state.
#[derive(Debug, Default)]
pub struct State {
    now_ms: u64,
}

impl State {
    /// Applies a batch: time first, then each command in order.
    pub fn apply(&mut self, batch: &Batch) -> Vec<Outcome> {
        self.now_ms = self.now_ms.max(batch.time_ms);
        Vec::new()
    }
    /// Cluster time reached, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }
    /// When time alone will next change something, in milliseconds of cluster time.
    pub fn next_event_ms(&self) -> Option<u64> {
        None
    }
    /// The budget's revision.
    pub fn revision(&self) -> u64 {
        0
    }
    /// The whole state as bytes, equal on every replica.
    pub fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Reads what [`State::snapshot`] wrote, in this version or an older one.
    ///
    /// # Errors
    /// Where the bytes are damaged or of a newer format.
    pub fn restore(_bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::default())
    }
    /// All pools by name.
    pub fn pools(&self) -> impl Iterator<Item = PoolView> + '_ {
        std::iter::empty()
    }
    /// One pool.
    pub fn pool(&self, _name: &str) -> Option<PoolView> {
        None
    }
    /// The regions of a pool by name; empty where there is no such pool.
    pub fn regions(&self, _pool: &str) -> Vec<RegionView> {
        Vec::new()
    }
    /// Leases of a pool by holder, after the holder and lease given, at most `limit`, optionally those
    /// of one region or one holder.
    pub fn leases(
        &self,
        _pool: &str,
        _region: Option<&str>,
        _holder: Option<&str>,
        _after: Option<(&str, LeaseId)>,
        _limit: usize,
    ) -> Vec<LeaseView> {
        Vec::new()
    }
    /// One lease that counts.
    pub fn lease(&self, _lease: LeaseId) -> Option<LeaseView> {
        None
    }
    /// The target of a live lease now, in O(log n): for notices.
    pub fn lease_target(&self, _lease: LeaseId) -> Option<u64> {
        None
    }
}
