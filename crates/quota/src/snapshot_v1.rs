//! Snapshots of format 1, from before anyone could wait. They are read for ever, and never written again.

use std::borrow::Cow;

use serde::Deserialize;

use crate::lease::Phase;
use crate::outcome::LeaseId;
use crate::requests::Request;
use crate::rules::{Gate, Rules};
use crate::snapshot::{AnswerV1, FloorsV3};
use crate::snapshot_v2::{HolderV2, LeaseV2, PoolV2, RegionV2, StateV2};

/// Format 1. Never to change.
#[derive(Deserialize)]
pub(crate) struct StateV1<'a> {
    pub now_ms: u64,
    pub revision: u64,
    pub next_number: u64,
    /// Oldest first.
    #[serde(borrow)]
    pub requests: Vec<Request<'a>>,
    /// By place.
    #[serde(borrow)]
    pub pools: Vec<PoolV1<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct PoolV1<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub dirty: bool,
    pub round_ms: u64,
    /// By place.
    #[serde(borrow)]
    pub regions: Vec<RegionV1<'a>>,
    /// By name.
    #[serde(borrow)]
    pub holders: Vec<HolderV1<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct RegionV1<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub shared: u64,
}

#[derive(Deserialize)]
pub(crate) struct HolderV1<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub epoch: u64,
    /// At least one, the current one last.
    pub leases: Vec<LeaseV1>,
}

#[derive(Deserialize)]
pub(crate) struct LeaseV1 {
    pub id: LeaseId,
    /// The region's place; one that ended may outlast it.
    pub region: u32,
    pub epoch: u64,
    pub seq: u64,
    pub answer: AnswerV1,
    pub phase: Phase,
    pub slots: u64,
    pub wanted: u64,
    pub until_ms: u64,
}

impl<'a> From<StateV1<'a>> for StateV2<'a> {
    fn from(from: StateV1<'a>) -> Self {
        Self {
            now_ms: from.now_ms,
            revision: from.revision,
            next_number: from.next_number,
            requests: from.requests,
            pools: from.pools.into_iter().map(PoolV2::from).collect(),
        }
    }
}

impl<'a> From<PoolV1<'a>> for PoolV2<'a> {
    fn from(from: PoolV1<'a>) -> Self {
        Self {
            place: from.place,
            name: from.name,
            capacity: from.capacity,
            ttl_ms: from.ttl_ms,
            drift_ppm: from.drift_ppm,
            dirty: from.dirty,
            round_ms: from.round_ms,
            rules: Cow::Owned(Rules::default()),
            rules_revision: 1,
            gate: Cow::Owned(Gate::default()),
            calendar: Cow::Owned(Vec::new()),
            regions: from.regions.into_iter().map(RegionV2::from).collect(),
            holders: from.holders.into_iter().map(HolderV2::from).collect(),
        }
    }
}

impl<'a> From<RegionV1<'a>> for RegionV2<'a> {
    fn from(from: RegionV1<'a>) -> Self {
        Self {
            place: from.place,
            name: from.name,
            nominal: from.nominal,
            ceiling: from.ceiling,
            weight: from.weight,
            shared: from.shared,
            gate: Cow::Owned(Gate::default()),
            zone: Cow::Borrowed(""),
            floors: FloorsV3::default(),
            served: Vec::new(),
            departures: Cow::Owned(crate::wait::Departures::default()),
            tokens: Vec::new(),
        }
    }
}

impl<'a> From<HolderV1<'a>> for HolderV2<'a> {
    fn from(from: HolderV1<'a>) -> Self {
        Self {
            name: from.name,
            epoch: from.epoch,
            leases: from.leases.into_iter().map(LeaseV2::from).collect(),
        }
    }
}

impl From<LeaseV1> for LeaseV2<'_> {
    fn from(from: LeaseV1) -> Self {
        Self {
            id: from.id,
            region: from.region,
            epoch: from.epoch,
            seq: from.seq,
            answer: from.answer,
            phase: from.phase,
            slots: from.slots,
            wanted: from.wanted,
            until_ms: from.until_ms,
            reporting: None,
        }
    }
}
