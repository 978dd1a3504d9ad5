//! The whole state as bytes.
//!
//! `PREAUQ`, a format byte, the state in postcard's encoding, and a CRC-32C of all of it, little-endian.
//! Figures that follow from the leases are not written: they are worked out anew. A format once written
//! is read for ever; see `tests/golden/`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::calendar::Scheduled;
use crate::claims::Token;
use crate::codec;
use crate::command::Bucket;
use crate::door::Door;
use crate::floors::Floors;
use crate::holder::Holder;
use crate::lease::{Asked, Decided, Given, Lease, Phase};
use crate::outcome::LeaseId;
use crate::pool::{Pool, Region};
use crate::requests::Request;
use crate::rules::{Gate, Rules};
use crate::state::State;
use crate::turns::Turns;
use crate::wait::Departures;

pub(crate) const MAGIC: &str = "PREAUQ";
pub(crate) const FORMAT: u8 = 3;

/// Format 3. Never to change.
#[derive(Serialize, Deserialize)]
pub(crate) struct StateV3<'a> {
    pub now_ms: u64,
    pub revision: u64,
    pub next_number: u64,
    /// Oldest first.
    #[serde(borrow)]
    pub requests: Vec<Request<'a>>,
    /// By place.
    #[serde(borrow)]
    pub pools: Vec<PoolV3<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PoolV3<'a> {
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
    pub regions: Vec<RegionV3<'a>>,
    /// By name.
    #[serde(borrow)]
    pub holders: Vec<HolderV3<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RegionV3<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub shared: u64,
    pub door: Door,
    pub gate: Cow<'a, Gate>,
    #[serde(borrow)]
    pub zone: Cow<'a, str>,
    #[serde(borrow)]
    pub floors: FloorsV3<'a>,
    /// By class: its pass, how many of it were admitted, and when they are seated.
    pub served: Vec<(u128, Departures, Turns)>,
    pub departures: Cow<'a, Departures>,
    /// By id.
    pub tokens: Vec<(u64, Token)>,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct FloorsV3<'a> {
    pub shared: u64,
    /// By holder.
    #[serde(borrow)]
    pub of: Vec<(Cow<'a, str>, u64)>,
    /// By holder, then epoch.
    #[serde(borrow)]
    pub told: Vec<(Cow<'a, str>, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct HolderV3<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub epoch: u64,
    /// At least one, the current one last.
    #[serde(borrow)]
    pub leases: Vec<LeaseV3<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LeaseV3<'a> {
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
    pub reporting: Option<ReportingV3<'a>>,
}

/// The answer to the last request, as it has been since format 1.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum AnswerV1 {
    /// To take and renew.
    Grant(GrantV1),
    /// To return.
    Returned { slots: u64 },
    /// To report.
    Reported(GrantV1),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct GrantV1 {
    pub slots: u64,
    pub target: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ReportingV3<'a> {
    pub in_use: u64,
    pub spare: u64,
    pub buckets: Cow<'a, [Bucket]>,
    pub exact_until_s: Option<u32>,
    pub reported_ms: u64,
    pub decided: Cow<'a, Decided>,
}

impl State {
    /// The whole state as bytes, equal on every replica that has applied the same batches.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = MAGIC.as_bytes().to_vec();
        bytes.push(FORMAT);
        let mut bytes = codec::append(bytes, &self.to_v3());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn to_v3(&self) -> StateV3<'_> {
        let pools = (0..).zip(&self.pools);
        StateV3 {
            now_ms: self.now_ms,
            revision: self.revision,
            next_number: self.leases.next_number,
            requests: self.requests.iter().collect(),
            pools: pools
                .filter_map(|(place, pool)| Some(self.pool_v3(place, pool.as_ref()?)))
                .collect(),
        }
    }

    fn pool_v3<'a>(&'a self, place: u32, pool: &'a Pool) -> PoolV3<'a> {
        let regions = (0..).zip(&pool.regions);
        let regions =
            regions.filter_map(|(place, region)| Some(region_v3(place, region.as_ref()?)));
        let holders = pool.holders.iter().map(|holder| HolderV3 {
            name: Cow::from(holder.name.as_str()),
            epoch: self.leases.epoch_of(holder),
            leases: self.leases_v3(holder),
        });
        PoolV3 {
            place,
            name: Cow::from(&*pool.name),
            capacity: pool.capacity,
            ttl_ms: pool.ttl_ms,
            drift_ppm: pool.drift_ppm,
            dirty: pool.dirty,
            round_ms: pool.round_ms,
            rules: Cow::Borrowed(&*pool.rules),
            rules_revision: pool.rules_revision,
            gate: Cow::Borrowed(&pool.gate),
            calendar: Cow::from(&pool.calendar),
            regions: regions.collect(),
            holders: holders.collect(),
        }
    }

    fn leases_v3(&self, holder: Holder<'_>) -> Vec<LeaseV3<'_>> {
        let places = holder.leases();
        places
            .filter_map(|place| Some(lease_v3(self.leases.get(place)?)))
            .collect()
    }
}

fn region_v3(place: u32, region: &Region) -> RegionV3<'_> {
    let (tokens, lines) = (region.claims.tokens(), region.waiting.lines.iter());
    RegionV3 {
        place,
        name: Cow::from(&*region.name),
        nominal: region.nominal,
        ceiling: region.ceiling,
        weight: region.weight,
        shared: region.shared,
        door: region.door,
        gate: Cow::Borrowed(&region.gate),
        zone: Cow::from(&region.zone),
        floors: floors_v3(&region.floors),
        served: lines
            .map(|line| (line.pass, line.admitted.clone(), line.turns.clone()))
            .collect(),
        departures: Cow::Borrowed(&region.departures),
        tokens: tokens.map(|(id, token)| (id, token.clone())).collect(),
    }
}

fn floors_v3(floors: &Floors) -> FloorsV3<'_> {
    let of = floors.of.iter();
    let told = floors.told.iter();
    FloorsV3 {
        shared: floors.shared,
        of: of
            .map(|(name, &slots)| (Cow::from(&**name), slots))
            .collect(),
        told: told
            .map(|((name, epoch), &slots)| (Cow::from(&**name), *epoch, slots))
            .collect(),
    }
}

fn lease_v3(lease: &Lease) -> LeaseV3<'_> {
    let reporting = lease.reporting.as_ref().map(|reporting| ReportingV3 {
        in_use: reporting.in_use,
        spare: reporting.spare,
        buckets: Cow::from(&reporting.buckets),
        exact_until_s: reporting.exact_until_s,
        reported_ms: reporting.reported_ms,
        decided: Cow::Borrowed(&reporting.decided),
    });
    LeaseV3 {
        id: lease.id,
        region: lease.region.into(),
        epoch: lease.epoch,
        seq: lease.seq,
        answer: answer_v1(lease.asked, lease.given),
        phase: lease.phase,
        slots: lease.slots,
        wanted: lease.wanted,
        until_ms: lease.until_ms,
        reporting,
    }
}

fn answer_v1(asked: Asked, given: Given) -> AnswerV1 {
    let grant = GrantV1 {
        slots: given.slots,
        target: given.target,
        ttl_ms: given.ttl_ms.into(),
        drift_ppm: given.drift_ppm,
    };
    match asked {
        Asked::Keep => AnswerV1::Grant(grant),
        Asked::Return => AnswerV1::Returned { slots: given.slots },
        Asked::Report => AnswerV1::Reported(grant),
    }
}

impl AnswerV1 {
    /// What was asked and given, where it can be.
    pub fn given(self) -> Option<(Asked, Given)> {
        let given = |grant: GrantV1| {
            Some(Given {
                slots: grant.slots,
                target: grant.target,
                ttl_ms: u32::try_from(grant.ttl_ms).ok()?,
                drift_ppm: grant.drift_ppm,
            })
        };
        Some(match self {
            Self::Grant(grant) => (Asked::Keep, given(grant)?),
            Self::Reported(grant) => (Asked::Report, given(grant)?),
            Self::Returned { slots } => {
                let freed = Given {
                    slots,
                    ..Given::default()
                };
                (Asked::Return, freed)
            }
        })
    }
}
