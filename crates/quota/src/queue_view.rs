//! What can be read of those who wait.

use crate::lease::Phase;
use crate::outcome::LeaseId;
use crate::pool::{Pool, Region};
use crate::rules::Mode;
use crate::speak::flow;
use crate::state::State;
use crate::wait::{Wait, estimate};

/// Who waits in a region, and who sits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// The region's name.
    pub region: String,
    /// The stricter of the pool's mode and the region's.
    pub mode: Mode,
    /// The second of cluster time in which it was last closed before an opening, with its pool or alone.
    pub closed_s: Option<u32>,
    /// The second of cluster time in which it was then opened; none while it is closed.
    pub opened_s: Option<u32>,
    /// Whether its front-ends seat arrivals at once.
    pub open: bool,
    /// Slots with a session on them, by what its front-ends reported.
    pub in_use: u64,
    /// Leases that report.
    pub reporting: u64,
    /// Users who wait.
    pub waiting: u64,
    /// The second from which on nobody is seated while the region is ordered; none where nobody reports.
    pub horizon_s: Option<u32>,
    /// The classes in which somebody waits.
    pub classes: Vec<ClassView>,
}

/// Those of one class who wait in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassView {
    /// The class's place in the pool's rules.
    pub class: u8,
    /// How many.
    pub waiting: u64,
    /// The second of cluster time in which the oldest arrived.
    pub oldest_s: u32,
    /// Thousandths of a user served in a second, as is usual; 0 where it is not known.
    pub rate: u64,
    /// The same in a slow tenth of the time.
    pub low_rate: u64,
    /// How long whoever comes now will wait.
    pub wait: Option<Wait>,
}

/// What a lease reported last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportView {
    /// Slots with a session on them.
    pub in_use: u64,
    /// Users who wait and were not admitted; none where it has not reported for too long.
    pub waiting: u64,
    /// Slots wanted ready.
    pub spare: u64,
    /// The floor that its holder was told, and may go by.
    pub floor: u64,
    /// Cluster time of the report, in milliseconds.
    pub reported_ms: u64,
}

impl State {
    /// Who waits in the regions of a pool, by their names; empty where there is no such pool.
    pub fn queues(&self, pool: &str) -> Vec<QueueView> {
        let Some(pool) = self.find_pool(pool) else {
            return Vec::new();
        };
        let regions = pool.regions_by_name();
        regions
            .map(|region| self.queue_view(pool, region))
            .collect()
    }

    /// What a lease reported last; none where it makes no reports.
    pub fn report_of(&self, lease: LeaseId) -> Option<ReportView> {
        let lease = self.leases.get(self.leases.find(lease).ok()?)?;
        let reporting = lease
            .reporting
            .as_ref()
            .filter(|_| lease.phase == Phase::Live)?;
        let pool = self.pools[lease.pool as usize].as_ref()?;
        let region = pool.regions[lease.region as usize].as_ref()?;
        Some(ReportView {
            in_use: reporting.in_use,
            waiting: reporting.waiting(),
            spare: reporting.spare,
            floor: region.floors.told(&lease.holder, lease.epoch),
            reported_ms: reporting.reported_ms,
        })
    }

    fn queue_view(&self, pool: &Pool, region: &Region) -> QueueView {
        let rates = region.departures.rates();
        let classes = (0..)
            .zip(&region.waiting.lines)
            .filter_map(|(class, line)| {
                let flow = flow(pool, region, class, rates, self.now_s());
                Some(ClassView {
                    class,
                    waiting: line.total,
                    oldest_s: line.oldest()?,
                    rate: flow.rate,
                    low_rate: flow.low_rate,
                    wait: estimate(line.total, flow.rate, flow.low_rate),
                })
            });
        let horizon_s = region.waiting.horizon();
        let (closed_s, opened_s) = pool.gate.opening(&region.gate);
        QueueView {
            region: region.name.to_string(),
            mode: pool.gate.stricter(&region.gate).mode,
            closed_s,
            opened_s,
            open: region.seats && region.door.is_open(self.now_ms),
            in_use: region.in_use,
            reporting: region.reporting,
            waiting: region.waiting.total,
            horizon_s,
            classes: classes.collect(),
        }
    }
}
