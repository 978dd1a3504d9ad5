//! Snapshots of format 2, from before an admission said when it takes effect. They are read for ever, and
//! never written again.

use std::borrow::Cow;

use serde::Deserialize;

use crate::calendar::Scheduled;
use crate::claims::Token;
use crate::command::Bucket;
use crate::door::Door;
use crate::lease::{Decided, Phase};
use crate::outcome::{Admission, Claimed, LeaseId};
use crate::requests::Request;
use crate::rules::{Gate, Rules};
use crate::snapshot::{
    AnswerV1, FloorsV3, HolderV3, LeaseV3, PoolV3, RegionV3, ReportingV3, StateV3,
};
use crate::turns::Turns;
use crate::wait::Departures;

/// Format 2. Never to change.
#[derive(Deserialize)]
pub(crate) struct StateV2<'a> {
    pub now_ms: u64,
    pub revision: u64,
    pub next_number: u64,
    /// Oldest first.
    #[serde(borrow)]
    pub requests: Vec<Request<'a>>,
    /// By place.
    #[serde(borrow)]
    pub pools: Vec<PoolV2<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct PoolV2<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub dirty: bool,
    pub round_ms: u64,
    pub rules: Cow<'a, Rules>,
    pub rules_revision: u64,
    pub gate: Cow<'a, Gate>,
    pub calendar: Cow<'a, [Scheduled]>,
    /// By place.
    #[serde(borrow)]
    pub regions: Vec<RegionV2<'a>>,
    /// By name.
    #[serde(borrow)]
    pub holders: Vec<HolderV2<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct RegionV2<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub shared: u64,
    pub gate: Cow<'a, Gate>,
    #[serde(borrow)]
    pub zone: Cow<'a, str>,
    #[serde(borrow)]
    pub floors: FloorsV3<'a>,
    /// By class: its pass, and how many of it were admitted.
    pub served: Vec<(u128, Departures)>,
    pub departures: Cow<'a, Departures>,
    /// By id.
    pub tokens: Vec<(u64, Token)>,
}

#[derive(Deserialize)]
pub(crate) struct HolderV2<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub epoch: u64,
    /// At least one, the current one last.
    #[serde(borrow)]
    pub leases: Vec<LeaseV2<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct LeaseV2<'a> {
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
    #[serde(borrow)]
    pub reporting: Option<ReportingV2<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct ReportingV2<'a> {
    pub in_use: u64,
    pub spare: u64,
    pub buckets: Cow<'a, [Bucket]>,
    pub exact_until_s: Option<u32>,
    pub reported_ms: u64,
    pub decided: DecidedV2,
}

#[derive(Deserialize)]
pub(crate) struct DecidedV2 {
    pub open: bool,
    pub admit: Vec<AdmissionV2>,
    pub shorten: u64,
    pub floor: u64,
    pub claims: Vec<(u64, Claimed)>,
}

#[derive(Deserialize)]
pub(crate) struct AdmissionV2 {
    pub class: u8,
    pub users: u32,
    pub until_s: u32,
}

impl<'a> From<StateV2<'a>> for StateV3<'a> {
    fn from(from: StateV2<'a>) -> Self {
        Self {
            now_ms: from.now_ms,
            revision: from.revision,
            next_number: from.next_number,
            requests: from.requests,
            pools: from.pools.into_iter().map(PoolV3::from).collect(),
        }
    }
}

impl<'a> From<PoolV2<'a>> for PoolV3<'a> {
    fn from(from: PoolV2<'a>) -> Self {
        Self {
            place: from.place,
            name: from.name,
            capacity: from.capacity,
            ttl_ms: from.ttl_ms,
            drift_ppm: from.drift_ppm,
            dirty: from.dirty,
            round_ms: from.round_ms,
            rules: from.rules,
            rules_revision: from.rules_revision,
            gate: from.gate,
            calendar: from.calendar,
            regions: from.regions.into_iter().map(RegionV3::from).collect(),
            holders: from.holders.into_iter().map(HolderV3::from).collect(),
        }
    }
}

impl<'a> From<RegionV2<'a>> for RegionV3<'a> {
    fn from(from: RegionV2<'a>) -> Self {
        let served = from.served.into_iter();
        Self {
            place: from.place,
            name: from.name,
            nominal: from.nominal,
            ceiling: from.ceiling,
            weight: from.weight,
            shared: from.shared,
            door: Door::default(),
            gate: from.gate,
            zone: from.zone,
            floors: from.floors,
            served: served
                .map(|(pass, admitted)| (pass, admitted, Turns::default()))
                .collect(),
            departures: from.departures,
            tokens: from.tokens,
        }
    }
}

impl<'a> From<HolderV2<'a>> for HolderV3<'a> {
    fn from(from: HolderV2<'a>) -> Self {
        Self {
            name: from.name,
            epoch: from.epoch,
            leases: from.leases.into_iter().map(LeaseV3::from).collect(),
        }
    }
}

impl<'a> From<LeaseV2<'a>> for LeaseV3<'a> {
    fn from(from: LeaseV2<'a>) -> Self {
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
            reporting: from.reporting.map(ReportingV3::from),
        }
    }
}

impl<'a> From<ReportingV2<'a>> for ReportingV3<'a> {
    fn from(from: ReportingV2<'a>) -> Self {
        Self {
            in_use: from.in_use,
            spare: from.spare,
            buckets: from.buckets,
            exact_until_s: from.exact_until_s,
            reported_ms: from.reported_ms,
            decided: Cow::Owned(from.decided.into()),
        }
    }
}

impl From<DecidedV2> for Decided {
    fn from(from: DecidedV2) -> Self {
        let admit = from.admit.into_iter();
        Self {
            open: from.open,
            turns_ms: 0,
            admit: admit.map(Admission::from).collect(),
            shorten: from.shorten,
            floor: from.floor,
            claims: from.claims.into(),
        }
    }
}

impl From<AdmissionV2> for Admission {
    fn from(from: AdmissionV2) -> Self {
        Self {
            class: from.class,
            users: from.users,
            until_s: from.until_s,
            at_ms: 0,
        }
    }
}
