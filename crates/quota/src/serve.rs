//! What front-ends ask, and the removal of one: leases taken, renewed and given back.

use smol_str::SmolStr;

use crate::check;
use crate::command::{RemoveHolder, Renew, Return, Take};
use crate::lease::{Asked, Given, Lease, MAX_LEASE_NUMBER, NewLease, Phase};
use crate::limits::{MAX_CLOSING_PER_HOLDER, MAX_LEASES};
use crate::outcome::{HolderRemoved, Outcome, Refusal, Reply, Returned};
use crate::state::State;

impl Take {
    /// Sees to it that each field is good by itself.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check::name("pool", &self.pool)?;
        check::name("region", &self.region)?;
        check::name("holder", &self.holder)?;
        check::positive("epoch", self.epoch)?;
        check::positive("seq", self.seq)?;
        check::slots("wanted", self.wanted)
    }
}

impl State {
    pub(crate) fn take(&mut self, take: &Take) -> Outcome {
        take.check()?;
        let at = self.pool_place(&take.pool)?;
        let pool = self.pool_at(at)?;
        let region =
            *pool
                .region_index
                .get(take.region.as_str())
                .ok_or_else(|| Refusal::NoSuchRegion {
                    pool: take.pool.to_string(),
                    region: take.region.to_string(),
                })?;
        let ttl_ms = pool.ttl_ms;
        let next = self.leases.next();
        let known = self.known_or_entered(at, &take.holder, next);
        if let Some((_, current)) = known.filter(|&(_, current)| take.epoch < current) {
            let given = take.epoch;
            return Err(Refusal::StaleEpoch { given, current });
        }
        let current = known.map(|(newest, _)| newest);

        let lease = current.and_then(|place| Some((place, self.leases.get(place)?)));
        if let Some((place, lease)) = lease.filter(|(_, lease)| lease.epoch == take.epoch) {
            if lease.retried(take.seq)? {
                return Ok(self.answered(place));
            }
            if lease.phase == Phase::Live {
                if u32::from(lease.region) != region {
                    let expected = "the region of the holder's lease, or a higher epoch";
                    let given = format!("{:?}", take.region);
                    return Err(check::invalid("region", given, expected));
                }
                let slots = lease.slots;
                return Ok(self.keep(place, take.seq, slots, take.wanted));
            }
        }

        if self.leases.are_used_up() {
            return Err(too_many("leases ever made", MAX_LEASE_NUMBER));
        }
        if current.is_some() {
            self.make_room_of(at, &take.holder)?;
        }
        self.make_room()?;
        if let Some(place) = current {
            self.supersede(place);
        }
        let until_ms = self.now_ms.saturating_add(ttl_ms);
        let name = take.holder.clone();
        let &Take {
            epoch, seq, wanted, ..
        } = take;
        let new = NewLease {
            pool: at,
            region,
            holder: name.clone(),
            epoch,
            seq,
            wanted,
            until_ms,
        };
        let place = self.leases.insert(new);
        if current.is_some()
            && let Some(pool) = self.pools[at as usize].as_mut()
        {
            pool.holders.take(name, place, epoch);
        }
        debug_assert!(current.is_some() || next == Some(place));
        self.count_new(place);
        Ok(self.keep(place, seq, 0, wanted))
    }

    /// The newest lease and the epoch of a holder. A newcomer has none, and is entered with the lease that it is
    /// going to have at `next`, if there can be one.
    fn known_or_entered(
        &mut self,
        pool: u32,
        name: &SmolStr,
        next: Option<u32>,
    ) -> Option<(u32, u64)> {
        let holders = &mut self.pools[pool as usize].as_mut()?.holders;
        let holder = match next {
            Some(next) => holders.enter(name, next)?,
            None => holders.get(name)?,
        };
        Some((holder.newest, self.leases.epoch_of(holder)))
    }

    /// Sees to it that a holder that is known can have one more lease.
    fn make_room_of(&mut self, pool: u32, name: &str) -> Result<(), Refusal> {
        let pool = self.pools[pool as usize].as_ref();
        let known = pool.and_then(|pool| pool.holders.get(name));
        if let Some(known) = known.filter(|h| h.older().len() + 1 >= MAX_CLOSING_PER_HOLDER) {
            let ended = |place: &&u32| {
                self.leases
                    .get(**place)
                    .is_none_or(|lease| lease.phase == Phase::Ended)
            };
            match known.older().iter().find(ended).copied() {
                Some(place) => self.forget(place),
                None => {
                    let what = format!("leases of holder {name:?} that have yet to run out");
                    return Err(too_many(what, MAX_CLOSING_PER_HOLDER as u64));
                }
            }
        }
        Ok(())
    }

    /// Sees to it that there can be one more lease.
    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.leases.is_full() {
            match self.leases.oldest_ended() {
                Some(place) => self.forget(place),
                None => return Err(too_many("leases", MAX_LEASES as u64)),
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
            Some((Phase::Live, _)) if mutation::on("remove-early") => self.end(place),
            Some((Phase::Live, 0)) => self.end(place),
            Some((Phase::Live, slots)) => self.set(place, Phase::Closing, slots, 0),
            _ => {}
        }
    }

    pub(crate) fn renew(&mut self, renew: &Renew) -> Outcome {
        let place = self.leases.find(renew.lease)?;
        check::positive("seq", renew.seq)?;
        check::slots("wanted", renew.wanted)?;
        let Some(lease) = self.leases.get(place) else {
            return Err(Refusal::NoSuchLease { lease: renew.lease });
        };
        if lease.retried(renew.seq)? {
            return Ok(self.answered(place));
        }
        match lease.phase {
            Phase::Ended => return Err(Refusal::LeaseEnded { lease: renew.lease }),
            Phase::Closing => return Err(Refusal::LeaseClosing { lease: renew.lease }),
            Phase::Live if lease.reporting.is_some() => {
                return Err(Refusal::LeaseReports { lease: renew.lease });
            }
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
        let reports = self.leases.get(place).is_some_and(Lease::reports);
        if reports {
            // A take says nothing of who waits: it gets nothing on top until the next report.
            self.silence(place);
        }
        let wanted = if reports { 0 } else { wanted };
        self.set(place, Phase::Live, kept, wanted);
        let now_ms = self.now_ms;
        let mut given = Given::default();
        if let Some(pool) = self.pool_of(place) {
            pool.round_if_due(now_ms);
            given = pool.grant(kept, 0);
            let (target, room) = if reports {
                (kept, 0)
            } else {
                self.target(place)
            };
            let room = if mutation::on("grow-past-capacity") {
                wanted
            } else {
                room
            };
            let slots = kept + target.saturating_sub(kept).min(room);
            if mutation::on("lower-at-once") {
                self.set(place, Phase::Live, slots.min(target), wanted);
            }
            if slots > kept {
                self.set(place, Phase::Live, slots, wanted);
            }
            (given.slots, given.target) = (slots, target);
        }
        self.answer(place, seq, Asked::Keep, given);
        self.answered(place)
    }

    /// Remembers the answer to a request, and keeps the lease as long as it says.
    pub(crate) fn answer(&mut self, place: u32, seq: u64, asked: Asked, given: Given) {
        let now_ms = self.now_ms;
        if let Some(lease) = self.leases.get_mut(place) {
            if asked != Asked::Return {
                // Never earlier than a grant has said before.
                let ttl_ms = if mutation::on("expire-early") {
                    u64::from(given.ttl_ms) - 1_000
                } else {
                    given.ttl_ms.into()
                };
                lease.until_ms = lease.until_ms.max(now_ms.saturating_add(ttl_ms));
            }
            (lease.seq, lease.asked, lease.given) = (seq, asked, given);
        }
    }

    /// The answer to the last request of a lease, once more.
    pub(crate) fn answered(&self, place: u32) -> Reply {
        match self.leases.get(place).map(|lease| (lease.asked, lease)) {
            Some((Asked::Keep, lease)) => Reply::Grant(lease.grant()),
            Some((Asked::Report, lease)) => self.reported(lease),
            Some((Asked::Return, lease)) => {
                let slots = lease.given.slots;
                Reply::Returned(Returned { slots })
            }
            None => Reply::Returned(Returned { slots: 0 }),
        }
    }

    pub(crate) fn give_back(&mut self, give: &Return) -> Outcome {
        let place = self.leases.find(give.lease)?;
        check::positive("seq", give.seq)?;
        let Some(lease) = self.leases.get(place) else {
            return Err(Refusal::NoSuchLease { lease: give.lease });
        };
        if lease.retried(give.seq)? {
            return Ok(self.answered(place));
        }
        if lease.phase == Phase::Ended {
            return Err(Refusal::LeaseEnded { lease: give.lease });
        }
        let (slots, pool, region) = (lease.slots, lease.pool, lease.region);
        let (holder, epoch) = (lease.holder.clone(), lease.epoch);
        self.end(place);
        if let Some(pool) = self.pools[pool as usize].as_mut() {
            pool.with_floors(region.into(), |floors| floors.set_told(&holder, epoch, 0));
        }
        let given = Given {
            slots,
            ..Given::default()
        };
        self.answer(place, give.seq, Asked::Return, given);
        Ok(self.answered(place))
    }

    pub(crate) fn remove_holder(&mut self, remove: &RemoveHolder, asked: u32) -> Outcome {
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
                    .get(&remove.holder)
            })
            .map(|holder| holder.newest)
            .collect();
        let mut told = 0;
        for &at in &pools {
            if let Some(pool) = self.pools[at as usize].as_ref() {
                let floors = pool.regions.iter().flatten().map(|region| &region.floors);
                told += floors
                    .map(|floors| floors.told_to(&remove.holder))
                    .sum::<u64>();
            }
        }
        if known.is_empty() && told == 0 {
            return Err(Refusal::NoSuchHolder {
                holder: remove.holder.clone(),
            });
        }
        // The operator vouches that the holder has stopped, and so goes by no floor.
        for &at in pools.iter().filter(|_| told > 0) {
            if let Some(pool) = self.pools[at as usize].as_mut() {
                for region in 0..pool.regions.len() {
                    pool.with_floors(region as u32, |floors| floors.release(&remove.holder));
                }
            }
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
}

fn too_many(what: impl Into<String>, most: u64) -> Refusal {
    let what = what.into();
    Refusal::TooMany { what, most }
}
