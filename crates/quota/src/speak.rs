//! Which leases report: how one begins to, falls silent and speaks again; and what it is told.

use crate::command::Bucket;
use crate::lease::{Decided, Lease};
use crate::outcome::{Flow, Reply, Reported};
use crate::pool::{Pool, Region};
use crate::report::{excess, issuer};
use crate::rules::Class;
use crate::state::State;
use crate::wait::Rates;
use crate::waiting::Line;

impl State {
    /// A lease and its pool, both to be changed.
    pub(crate) fn lease_and_pool(&mut self, place: u32) -> Option<(&mut Lease, &mut Pool)> {
        let lease = self.leases.get_mut(place)?;
        let pool = self.pools[lease.pool as usize].as_mut()?;
        Some((lease, pool))
    }

    /// A lease reports from now on.
    pub(crate) fn make_reporting(&mut self, place: u32) {
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return;
        };
        if lease.reporting.is_some() {
            return;
        }
        if let Some(region) = pool.regions[lease.region as usize].as_mut() {
            let name = issuer(&lease.holder, lease.epoch);
            region.issuers.insert((name, place));
        }
        self.change(place, |lease| lease.reporting = Some(Box::default()));
    }

    /// A lease that has ended reports no more, and its tokens are anyone's.
    pub(crate) fn stop_reporting(&mut self, place: u32) {
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return;
        };
        if lease.reporting.take().is_none() {
            return;
        }
        if let Some(region) = pool.regions[lease.region as usize].as_mut() {
            let name = issuer(&lease.holder, lease.epoch);
            region.issuers.remove(&(name, place));
        }
    }

    /// Whoever waits at a holder counts no more until it reports again, and neither does what it wants.
    pub(crate) fn silence(&mut self, place: u32) {
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return;
        };
        let Some(reporting) = lease.reporting.as_mut() else {
            return;
        };
        if let Some(region) = pool.regions[lease.region as usize].as_mut() {
            region.waiting.replace(&reporting.buckets, &[]);
            let exact = reporting.exact_until_s;
            region.waiting.set_exact(exact, None);
        }
        pool.count_owed(lease.region as usize);
        reporting.buckets = Vec::new();
        reporting.exact_until_s = None;
        self.change(place, |lease| {
            lease.wanted = 0;
            if let Some(reporting) = lease.reporting.as_mut() {
                reporting.spare = 0;
            }
        });
    }

    /// Silences whoever has not reported for too long.
    pub(crate) fn silence_due(&mut self) {
        let silent = |place| self.leases.get(place)?.silent_ms();
        for place in self.speaking.due(self.now_ms, silent) {
            self.silence(place);
        }
    }

    /// The answer to the last report of a lease: what was decided then, and the rest as things stand.
    pub(crate) fn reported(&self, lease: &Lease) -> Reply {
        let nothing = Decided::default();
        let reporting = lease.reporting.as_ref();
        let decided = reporting.map_or(&nothing, |reporting| &reporting.decided);
        let buckets: &[Bucket] = reporting.map_or(&[], |reporting| &reporting.buckets);
        let pool = self.pools[lease.pool as usize].as_ref();
        let region = pool.and_then(|pool| pool.regions[lease.region as usize].as_ref());
        let (Some(pool), Some(region)) = (pool, region) else {
            return Reply::Grant(lease.grant());
        };
        let gate = pool.gate.stricter(&region.gate);
        let (closed_s, opened_s) = pool.gate.opening(&region.gate);
        let part = pool.parts(region).reporting;
        Reply::Reported(Box::new(Reported {
            grant: lease.grant(),
            open: decided.open,
            turns_ms: decided.turns_ms,
            admit: decided.admit.to_vec(),
            shorten: decided.shorten,
            floor: decided.floor,
            claims: decided.claims.to_vec(),
            mode: gate.mode,
            reason: gate.reason.clone(),
            others_wait: region.waiting.total > 0 || excess(region, part) > 0,
            session: pool.rules.session,
            reclaim: pool.rules.reclaim,
            now_ms: self.now_ms,
            closed_s,
            opened_s,
            overtake_s: pool.rules.overtake_s,
            rules_revision: pool.rules_revision,
            flows: flows(pool, region, buckets, self.now_s()),
            asked: region.claims.asked(lease.id),
        }))
    }
}

/// How fast the classes move that wait at a holder.
fn flows(pool: &Pool, region: &Region, buckets: &[Bucket], now_s: u32) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    if buckets.is_empty() {
        return flows;
    }
    let rates = region.departures.rates();
    for bucket in buckets {
        if flows.last().is_none_or(|last| last.class != bucket.class) {
            flows.push(flow(pool, region, bucket.class, rates, now_s));
        }
    }
    flows
}

/// How fast a class of a region moves. One that goes first has all slots that come free. Another has its
/// weight's part of them or, where the others leave it more, the part that it has had lately.
pub(crate) fn flow(pool: &Pool, region: &Region, class: u8, rates: Rates, now_s: u32) -> Flow {
    let at = usize::from(class);
    let lines = &region.waiting.lines;
    let waits = |at: usize| lines.get(at).is_some_and(|line| line.total > 0);
    let classes = pool.rules.classes.iter().enumerate();
    let sharing = classes.filter(|&(other, class)| !class.first && (other == at || waits(other)));
    let weights: u64 = sharing.map(|(_, class)| u64::from(class.weight)).sum();
    let admitted = |line: &Line| line.admitted.sum(now_s);
    let all = lines.iter().map(admitted).fold(0, u64::saturating_add);
    let mine = lines.get(at).map_or(0, admitted);
    let of = |rate: u64, part: u64, whole: u64| {
        let part = u128::from(rate) * u128::from(part) / u128::from(whole.max(1));
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    let part = |rate: u64| match pool.rules.classes.get(at) {
        Some(Class {
            first: false,
            weight,
            ..
        }) => of(rate, u64::from(*weight), weights).max(of(rate, mine, all)),
        _ => rate,
    };
    Flow {
        class,
        waiting: lines.get(at).map_or(0, |line| line.total),
        rate: part(rates.usual),
        low_rate: part(rates.low),
    }
}
