//! The state machine: batches in, outcomes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check;
use crate::command::{Batch, Command, RemoveHolder, Renew, Return, Take};
use crate::lease::{Answer, Leases, MAX_LEASE_NUMBER, NewLease, Phase};
use crate::limits::{MAX_CLOSING_PER_HOLDER, MAX_LEASES, REMEMBER_ENDED_MS};
use crate::outcome::{HolderRemoved, Outcome, Refusal, Reply};
use crate::pool::{Holder, Pool};
use crate::ranked::Ranked;
use crate::requests::Requests;

/// The whole replicated state: pools, regions, leases, and how far time has come.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) now_ms: u64,
    pub(crate) revision: u64,
    pub(crate) pool_index: BTreeMap<Arc<str>, u32>,
    pub(crate) pools: Vec<Option<Pool>>,
    pub(crate) leases: Leases,
    pub(crate) ranks: Ranked,
    pub(crate) requests: Requests,
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
        outcomes
    }

    fn run(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Take(take) => self.take(take),
            Command::Renew(renew) => self.renew(renew),
            Command::Return(give) => self.give_back(give),
            Command::RemoveHolder(remove) => self.remove_holder(remove, command.checksum()),
            Command::Configure(configure) => self.configure(configure, command.checksum()),
        }
    }

    /// Lets time go on: ends what has run out, forgets what ended long ago, and shares anew.
    fn advance(&mut self, time_ms: u64) {
        self.now_ms = self.now_ms.max(time_ms);
        while let Some(place) = self.leases.next_due(self.now_ms) {
            self.end(place);
        }
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
        // What is queued first is exact from here on, for `next_event_ms`.
        self.leases.next_due(self.now_ms);
    }

    fn take(&mut self, take: &Take) -> Outcome {
        check::name("pool", &take.pool)?;
        check::name("region", &take.region)?;
        check::name("holder", &take.holder)?;
        check::positive("epoch", take.epoch)?;
        check::positive("seq", take.seq)?;
        check::slots("wanted", take.wanted)?;
        let at = self.pool_place(&take.pool)?;
        let pool = self.pool_at(at)?;
        let region =
            *pool
                .region_index
                .get(take.region.as_str())
                .ok_or_else(|| Refusal::NoSuchRegion {
                    pool: take.pool.clone(),
                    region: take.region.clone(),
                })?;
        let (ttl_ms, holder) = (
            pool.ttl_ms,
            pool.holders.get_key_value(take.holder.as_str()),
        );
        let (name, current) = match holder {
            Some((_, holder)) if take.epoch < holder.epoch => {
                return Err(Refusal::StaleEpoch {
                    given: take.epoch,
                    current: holder.epoch,
                });
            }
            Some((name, holder)) => (Arc::clone(name), Some(holder.current)),
            None => (Arc::from(take.holder.as_str()), None),
        };

        let known = current.and_then(|place| Some((place, self.leases.get(place)?)));
        if let Some((place, lease)) = known.filter(|(_, lease)| lease.epoch == take.epoch) {
            if let Some(reply) = lease.retried(take.seq)? {
                return Ok(reply);
            }
            if lease.phase == Phase::Live {
                if lease.region != region {
                    let expected = "the region of the holder's lease, or a higher epoch";
                    let given = format!("{:?}", take.region);
                    return Err(check::invalid("region", given, expected));
                }
                let slots = lease.slots;
                return Ok(self.keep(place, take.seq, slots, take.wanted));
            }
        }

        self.make_room(at, &take.holder)?;
        if let Some(place) = current {
            self.supersede(place);
        }
        let until_ms = self.now_ms.saturating_add(ttl_ms);
        let (epoch, seq) = (take.epoch, take.seq);
        let new = NewLease {
            pool: at,
            region,
            holder: Arc::clone(&name),
            epoch,
            seq,
            until_ms,
        };
        let place = self.leases.insert(new);
        if let Some(pool) = self.pools[at as usize].as_mut() {
            match pool.holders.get_mut(&name) {
                Some(holder) => {
                    holder.epoch = epoch;
                    let before = std::mem::replace(&mut holder.current, place);
                    holder.older.push(before);
                }
                None => {
                    pool.holders.insert(
                        name,
                        Holder {
                            epoch,
                            current: place,
                            older: Vec::new(),
                        },
                    );
                }
            }
        }
        self.count_new(place);
        Ok(self.keep(place, take.seq, 0, take.wanted))
    }

    /// Sees to it that a holder can have one more lease.
    fn make_room(&mut self, pool: u32, holder: &str) -> Result<(), Refusal> {
        let too_many = |what: String, most: usize| {
            Err(Refusal::TooMany {
                what,
                most: most as u64,
            })
        };
        let known = self.pools[pool as usize]
            .as_ref()
            .and_then(|p| p.holders.get(holder));
        if let Some(known) = known.filter(|h| h.older.len() + 1 >= MAX_CLOSING_PER_HOLDER) {
            let ended = |place: &&u32| {
                self.leases
                    .get(**place)
                    .is_none_or(|lease| lease.phase == Phase::Ended)
            };
            match known.older.iter().find(ended).copied() {
                Some(place) => self.forget(place),
                None => {
                    let what = format!("leases of holder {holder:?} that have yet to run out");
                    return too_many(what, MAX_CLOSING_PER_HOLDER);
                }
            }
        }
        if self.leases.next_number > MAX_LEASE_NUMBER {
            return too_many("leases ever made".into(), MAX_LEASE_NUMBER as usize);
        }
        if self.leases.is_full() {
            match self.leases.oldest_ended() {
                Some(place) => self.forget(place),
                None => return too_many("leases".into(), MAX_LEASES),
            }
        }
        Ok(())
    }

    /// The holder has started anew: its lease counts until it would have run out.
    fn supersede(&mut self, place: u32) {
        match self
            .leases
            .get(place)
            .map(|lease| (lease.phase, lease.slots))
        {
            Some((Phase::Live, 0)) => self.end(place),
            Some((Phase::Live, slots)) => self.set(place, Phase::Closing, slots, 0),
            _ => {}
        }
    }

    fn renew(&mut self, renew: &Renew) -> Outcome {
        let place = self.leases.find(renew.lease)?;
        check::positive("seq", renew.seq)?;
        check::slots("wanted", renew.wanted)?;
        let Some(lease) = self.leases.get(place) else {
            return Err(Refusal::NoSuchLease { lease: renew.lease });
        };
        if let Some(reply) = lease.retried(renew.seq)? {
            return Ok(reply);
        }
        match lease.phase {
            Phase::Ended => return Err(Refusal::LeaseEnded { lease: renew.lease }),
            Phase::Closing => return Err(Refusal::LeaseClosing { lease: renew.lease }),
            Phase::Live => {}
        }
        if renew.kept > lease.slots {
            let expected = format!("at most the {} slots of the lease", lease.slots);
            return Err(check::invalid("kept", renew.kept, expected));
        }
        Ok(self.keep(place, renew.seq, renew.kept, renew.wanted))
    }

    /// Keeps `kept` slots of a live lease for another time to live, and lets it grow towards its target
    /// by what the pool and the region have free.
    fn keep(&mut self, place: u32, seq: u64, kept: u64, wanted: u64) -> Reply {
        self.set(place, Phase::Live, kept, wanted);
        let now_ms = self.now_ms;
        let mut answer = Answer::Returned { slots: 0 };
        if let Some(pool) = self.pool_of(place) {
            pool.round_if_due(now_ms);
            let (ttl_ms, drift_ppm) = (pool.ttl_ms, pool.drift_ppm);
            let (target, room) = self.target(place);
            let slots = kept + target.saturating_sub(kept).min(room);
            if slots > kept {
                self.set(place, Phase::Live, slots, wanted);
            }
            answer = Answer::Grant {
                slots,
                target,
                ttl_ms,
                drift_ppm,
            };
        }
        let Some(lease) = self.leases.get_mut(place) else {
            return Reply::Returned(crate::outcome::Returned { slots: 0 });
        };
        if let Answer::Grant { ttl_ms, .. } = answer {
            // Never earlier than a grant has said before.
            lease.until_ms = lease.until_ms.max(now_ms.saturating_add(ttl_ms));
        }
        (lease.seq, lease.answer) = (seq, answer);
        lease.reply()
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
        let given = pool.target(region);
        // What closing leases hold is spoken for; the others share the rest.
        let amount = given.saturating_sub(region.closing);
        let part = self.ranks.part(region.ranks, place, lease.demand(), amount);
        let room = pool
            .capacity
            .saturating_sub(pool.held)
            .min(given.saturating_sub(region.held));
        (part.min(lease.wanted), room)
    }

    fn give_back(&mut self, give: &Return) -> Outcome {
        let place = self.leases.find(give.lease)?;
        check::positive("seq", give.seq)?;
        let Some(lease) = self.leases.get(place) else {
            return Err(Refusal::NoSuchLease { lease: give.lease });
        };
        if let Some(reply) = lease.retried(give.seq)? {
            return Ok(reply);
        }
        if lease.phase == Phase::Ended {
            return Err(Refusal::LeaseEnded { lease: give.lease });
        }
        let slots = lease.slots;
        self.end(place);
        match self.leases.get_mut(place) {
            None => Err(Refusal::NoSuchLease { lease: give.lease }),
            Some(lease) => {
                (lease.seq, lease.answer) = (give.seq, Answer::Returned { slots });
                Ok(lease.reply())
            }
        }
    }

    fn remove_holder(&mut self, remove: &RemoveHolder, asked: u32) -> Outcome {
        if let Some(reply) = self.requests.answered(&remove.request_id, asked)? {
            return Ok(reply);
        }
        check::name("holder", &remove.holder)?;
        let pools = match &remove.pool {
            Some(name) => {
                check::name("pool", name)?;
                vec![self.pool_place(name)?]
            }
            None => self.pool_index.values().copied().collect(),
        };
        let known: Vec<u32> = pools
            .iter()
            .filter_map(|&at| {
                self.pools[at as usize]
                    .as_ref()?
                    .holders
                    .get(remove.holder.as_str())
            })
            .map(|holder| holder.current)
            .collect();
        if known.is_empty() {
            return Err(Refusal::NoSuchHolder {
                holder: remove.holder.clone(),
            });
        }
        let mut removed = HolderRemoved {
            leases: 0,
            slots: 0,
        };
        for place in known {
            let live = self
                .leases
                .get(place)
                .filter(|lease| lease.phase == Phase::Live);
            if let Some(slots) = live.map(|lease| lease.slots) {
                removed.leases += 1;
                removed.slots += slots;
                self.supersede(place);
            }
        }
        let id = &remove.request_id;
        self.requests.holder_removed(id, asked, removed);
        Ok(Reply::HolderRemoved(removed))
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
        let Some(holder) = pool.holders.get_mut(&lease.holder) else {
            return;
        };
        if holder.current != place {
            holder.older.retain(|&older| older != place);
        } else if let Some(newest) = holder.older.pop() {
            holder.current = newest;
        } else {
            pool.holders.remove(&lease.holder);
        }
    }

    /// Changes what a lease counts and wants, and every figure that follows from it. The one place where
    /// figures of pools and regions change with leases.
    pub(crate) fn set(&mut self, place: u32, phase: Phase, slots: u64, wanted: u64) {
        let Some(lease) = self.leases.get_mut(place) else {
            return;
        };
        let before = Counted::of(lease.phase, lease.slots, lease.wanted, lease.demand());
        (lease.phase, lease.slots, lease.wanted) = (phase, slots, wanted);
        let after = Counted::of(phase, slots, wanted, lease.demand());
        let (pool, region) = (lease.pool as usize, lease.region as usize);
        if let Some(pool) = self.pools[pool].as_mut() {
            pool.count(region, place, before, after, &mut self.ranks);
        }
    }

    /// Adds a lease that nothing counts yet to the figures.
    pub(crate) fn count_new(&mut self, place: u32) {
        let Some(lease) = self.leases.get(place) else {
            return;
        };
        let counted = Counted::of(lease.phase, lease.slots, lease.wanted, lease.demand());
        if let Some(pool) = self.pools[lease.pool as usize].as_mut() {
            let region = lease.region as usize;
            pool.count(region, place, Counted::default(), counted, &mut self.ranks);
        }
    }

    pub(crate) fn pool_place(&self, name: &str) -> Result<u32, Refusal> {
        let known = self.pool_index.get(name).copied();
        known.ok_or_else(|| Refusal::NoSuchPool { pool: name.into() })
    }

    fn pool_at(&self, at: u32) -> Result<&Pool, Refusal> {
        let pool = self.pools[at as usize].as_ref();
        pool.ok_or_else(|| Refusal::NoSuchPool {
            pool: String::new(),
        })
    }

    fn pool_of(&mut self, place: u32) -> Option<&mut Pool> {
        let pool = self.leases.get(place)?.pool;
        self.pools[pool as usize].as_mut()
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
    /// The demand that shares in the region's part.
    pub ranked: Option<u64>,
}

impl Counted {
    pub fn of(phase: Phase, slots: u64, wanted: u64, demand: u64) -> Self {
        match phase {
            Phase::Live => Self {
                slots,
                closing: 0,
                wanted,
                demand,
                lease: 1,
                ranked: Some(demand),
            },
            Phase::Closing => Self {
                slots,
                closing: slots,
                wanted: 0,
                demand,
                lease: 1,
                ranked: None,
            },
            Phase::Ended => Self::default(),
        }
    }
}
