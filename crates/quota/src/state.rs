//! The state machine: batches in, outcomes out.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::batch::Batch;
use crate::command::Command;
use crate::lease::{Lease, Leases, Phase};
use crate::limits::REMEMBER_ENDED_MS;
use crate::outcome::{Outcome, Refusal};
use crate::pool::Pool;
use crate::report::Way;
use crate::requests::Requests;
use crate::rules::Mode;
use crate::soonest::Soonest;

/// The whole replicated state: pools, regions, leases, and how far time has come.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) now_ms: u64,
    pub(crate) revision: u64,
    pub(crate) pool_index: BTreeMap<SmolStr, u32>,
    pub(crate) pools: Vec<Option<Pool>>,
    pub(crate) leases: Leases,
    pub(crate) requests: Requests,
    /// When leases that have reported lately will have been silent for too long.
    pub(crate) speaking: Soonest,
}

impl State {
    /// Applies a batch: time first, then each command in order. Returns an outcome for each command; one
    /// that is refused has changed nothing.
    pub fn apply(&mut self, batch: &Batch) -> Vec<Outcome> {
        self.advance(batch.time_ms);
        let outcomes = batch
            .commands
            .iter()
            .map(|command| self.run(command))
            .collect();
        self.rounds();
        // At the end of time what is due in a while is due at once.
        self.silence_due();
        outcomes
    }

    fn run(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Take(take) => self.take(take),
            Command::Renew(renew) => self.renew(renew),
            Command::Return(give) => self.give_back(give),
            Command::RemoveHolder(remove) => self.remove_holder(remove, command.checksum()),
            Command::Configure(configure) => self.configure(configure, command.checksum()),
            Command::Report(report) => self.report(report, Way::AtOnce),
            Command::Due(due) => self.due(due),
            Command::ReportV2(report) => self.report(report, Way::InTurn),
        }
    }

    /// Lets time go on: ends what has run out, forgets what ended long ago, and shares anew.
    fn advance(&mut self, time_ms: u64) {
        self.now_ms = self.now_ms.max(time_ms);
        for place in self.leases.run_out(self.now_ms) {
            if !mutation::on("leak-slots") {
                self.end(place);
            }
        }
        self.silence_due();
        let forgotten = self.now_ms.checked_sub(REMEMBER_ENDED_MS);
        while let Some(place) = forgotten.and_then(|by| self.leases.ended_by(by)) {
            self.forget(place);
        }
        self.rounds();
    }

    fn rounds(&mut self) {
        for pool in self.pools.iter_mut().flatten() {
            pool.round_if_due(self.now_ms);
        }
    }

    /// What the sharing rules give a live lease, and how much of that is free now.
    pub(crate) fn target(&self, place: u32) -> (u64, u64) {
        let Some(lease) = self
            .leases
            .get(place)
            .filter(|lease| lease.phase == Phase::Live)
        else {
            return (0, 0);
        };
        let Some(pool) = self.pools[lease.pool as usize].as_ref() else {
            return (0, 0);
        };
        let Some(region) = pool.regions[lease.region as usize].as_ref() else {
            return (0, 0);
        };
        if lease.reporting.is_some() {
            return (lease.grant().target, 0);
        }
        if !region.seats {
            let mode = pool.gate.stricter(&region.gate).mode;
            let target = if mode == Mode::Draining {
                0
            } else {
                lease.slots
            };
            return (target.min(lease.wanted), 0);
        }
        let amount = pool.parts(region).plain;
        let part = region.ranks.part(place, lease.demand(), amount);
        let held = region.held - region.closing - region.reporting_held;
        let room = match region.reporting {
            0 => pool.target(region).saturating_sub(region.held),
            _ => amount.saturating_sub(held),
        };
        (part.min(lease.wanted), room.min(pool.free()))
    }

    /// A lease counts no more. It is remembered for retries.
    pub(crate) fn end(&mut self, place: u32) {
        self.set(place, Phase::Ended, 0, 0);
        self.leases.end(place, self.now_ms);
    }

    /// A lease that counts no more is not even remembered.
    pub(crate) fn forget(&mut self, place: u32) {
        let Some(lease) = self.leases.forget(place) else {
            return;
        };
        let Some(pool) = self.pools[lease.pool as usize].as_mut() else {
            return;
        };
        let epoch = |place| Some(self.leases.get(place)?.epoch);
        pool.holders.forget(&lease.holder, place, epoch);
    }

    /// Changes what a lease counts and wants.
    pub(crate) fn set(&mut self, place: u32, phase: Phase, slots: u64, wanted: u64) {
        if phase != Phase::Live {
            self.silence(place);
        }
        self.change(place, |lease| {
            (lease.phase, lease.slots, lease.wanted) = (phase, slots, wanted);
        });
        if phase == Phase::Ended {
            self.stop_reporting(place);
        }
    }

    /// Changes a lease, and every figure that follows from it. The one place where figures of pools and
    /// regions change with leases.
    pub(crate) fn change(&mut self, place: u32, change: impl FnOnce(&mut Lease)) {
        let Some(lease) = self.leases.get_mut(place) else {
            return;
        };
        let before = Counted::of(lease);
        change(lease);
        let after = Counted::of(lease);
        let (pool, region) = (lease.pool as usize, lease.region as usize);
        if let Some(pool) = self.pools[pool].as_mut() {
            pool.count(region, place, before, after);
        }
    }

    /// Adds a lease that nothing counts yet to the figures.
    pub(crate) fn count_new(&mut self, place: u32) {
        let Some(lease) = self.leases.get(place) else {
            return;
        };
        let counted = Counted::of(lease);
        if let Some(pool) = self.pools[lease.pool as usize].as_mut() {
            let region = lease.region as usize;
            pool.count(region, place, Counted::default(), counted);
        }
    }

    /// Cluster time in whole seconds, which arrivals are counted by.
    pub(crate) fn now_s(&self) -> u32 {
        u32::try_from(self.now_ms / 1_000).unwrap_or(u32::MAX)
    }

    pub(crate) fn pool_place(&self, name: &str) -> Result<u32, Refusal> {
        let known = self.pool_index.get(name).copied();
        known.ok_or_else(|| Refusal::NoSuchPool { pool: name.into() })
    }

    pub(crate) fn pool_at(&self, at: u32) -> Result<&Pool, Refusal> {
        let pool = self.pools[at as usize].as_ref();
        pool.ok_or_else(|| Refusal::NoSuchPool {
            pool: String::new(),
        })
    }

    pub(crate) fn pool_of(&mut self, place: u32) -> Option<&mut Pool> {
        let pool = self.leases.get(place)?.pool;
        self.pools[pool as usize].as_mut()
    }
}

impl Command {
    /// Looks at the fields alone.
    ///
    /// # Errors
    /// Where one is refused whatever the budget: a field that an empty budget refuses, any does.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Take(take) => take.check(),
            // Their lease is looked for first.
            Self::Renew(_) | Self::Return(_) | Self::Report(_) | Self::ReportV2(_) => Ok(()),
            Self::RemoveHolder(_) | Self::Configure(_) | Self::Due(_) => {
                match State::default().run(self) {
                    Err(refusal @ Refusal::Invalid { .. }) => Err(refusal),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// What one lease adds to the figures of its region.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub slots: u64,
    pub closing: u64,
    pub wanted: u64,
    pub demand: u64,
    pub lease: u64,
    pub plain: u64,
    pub reporting: u64,
    pub in_use: u64,
    pub spare: u64,
    /// The demand that shares in the plain leases' part.
    pub ranked: Option<u64>,
}

impl Counted {
    pub fn of(lease: &Lease) -> Self {
        let (slots, wanted, demand) = (lease.slots, lease.wanted, lease.demand());
        let counted = Self {
            slots,
            demand,
            lease: 1,
            ..Self::default()
        };
        match (lease.phase, &lease.reporting) {
            (Phase::Live, None) => Self {
                wanted,
                plain: 1,
                ranked: Some(demand),
                ..counted
            },
            (Phase::Live, Some(reporting)) => Self {
                wanted,
                reporting: 1,
                in_use: reporting.in_use,
                spare: reporting.spare,
                ..counted
            },
            (Phase::Closing, _) => Self {
                closing: slots,
                ..counted
            },
            (Phase::Ended, _) => Self::default(),
        }
    }
}
