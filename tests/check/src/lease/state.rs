//! The pool between two steps of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Asked;
use crate::history::{Answer, Granted, Listed};

/// The pool between two steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State<'a> {
    /// None while the history has not set it.
    pub capacity: Option<u64>,
    pub holders: BTreeMap<&'a str, Rc<Holder>>,
    /// Admin requests that were carried out, of those that were retried.
    pub asked: BTreeSet<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    pub current: Lease,
    /// Older leases that still count.
    pub closing: Vec<Lease>,
    /// Leases that were returned: which, by which request, and its answer where it is known.
    pub returned: BTreeMap<u64, (u64, Option<u64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    pub id: Option<u64>,
    pub epoch: u64,
    pub seq: u64,
    /// At least and at most so many slots.
    pub slots: (u64, u64),
    pub phase: Phase,
    /// What the last request was answered, where it is known.
    pub answer: Option<Answered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Live,
    Closing,
    Ended,
}

/// A grant as far as a retry must get the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answered {
    pub slots: u64,
    pub target: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
}

impl<'a> State<'a> {
    /// With a lease that has run out, where this was its last request.
    pub fn expire(&self, asked: Asked<'a>) -> Option<Self> {
        let mut holder = Holder::clone(self.holders.get(asked.holder)?);
        let lease = holder
            .leases_mut()
            .find(|lease| (lease.epoch, lease.seq) == (asked.epoch, asked.seq))
            .filter(|lease| lease.phase != Phase::Ended)?;
        lease.phase = Phase::Ended;
        holder.closing.retain(|lease| lease.phase != Phase::Ended);
        self.grown(asked.holder, holder, false)
    }

    /// Without a holder whose last lease has ended.
    pub fn forget(&self, asked: Asked<'a>) -> Option<Self> {
        let holder = self.holders.get(asked.holder)?;
        let current = &holder.current;
        let last = (current.epoch, current.seq) == (asked.epoch, asked.seq);
        (last && current.phase == Phase::Ended && holder.closing.is_empty()).then(|| {
            let mut state = self.clone();
            state.holders.remove(asked.holder);
            state
        })
    }

    /// A holder's leases are closed by an operator.
    pub fn remove(&self, name: &'a str, here_alone: bool, answer: &Answer) -> Vec<Self> {
        let Some(holder) = self.holders.get(name) else {
            return vec![self.clone()];
        };
        let (least, most) = match holder.current.phase {
            Phase::Live => holder.current.slots,
            _ => (0, 0),
        };
        match answer {
            Answer::HolderRemoved { leases, slots } if here_alone => {
                let live = u64::from(holder.current.phase == Phase::Live);
                if *leases != live || *slots < least || *slots > most {
                    return vec![];
                }
            }
            Answer::HolderRemoved { .. } | Answer::Unknown(_) => {}
            _ => return vec![],
        }
        let removed = Holder::clone(holder).supersede();
        removed
            .into_iter()
            .filter_map(|after| self.grown(name, after, false))
            .collect()
    }

    /// At least and at most so many slots count, in so many leases.
    pub fn counted(&self) -> (u64, u64, u64) {
        let leases = self.holders.values().flat_map(|holder| holder.leases());
        leases.filter(|lease| lease.phase != Phase::Ended).fold(
            (0, 0, 0),
            |(least, most, leases), lease| {
                (least + lease.slots.0, most + lease.slots.1, leases + 1)
            },
        )
    }

    pub fn shows(&self, capacity: u64, held: u64, leases: u64) -> bool {
        let (least, most, counted) = self.counted();
        self.capacity.is_none_or(|known| known == capacity)
            && (least..=most).contains(&held)
            && leases == counted
    }

    pub fn with_lease(&self, holder: &'a str, lease: Lease, grows: bool) -> Option<Self> {
        let mut after = Holder::clone(self.holders.get(holder)?);
        let place = after.place(lease.id, lease.epoch)?;
        *after.leases_mut().nth(place)? = lease;
        self.grown(holder, after, grows)
    }

    /// With a holder as it is now; where it has grown only if the pool has room for that.
    pub fn grown(&self, name: &'a str, holder: Holder, grows: bool) -> Option<Self> {
        let mut state = self.clone();
        state.holders.insert(name, Rc::new(holder));
        let fits = !grows
            || state
                .capacity
                .is_none_or(|capacity| state.counted().0 <= capacity);
        fits.then_some(state)
    }
}

impl Holder {
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        std::iter::once(&self.current).chain(&self.closing)
    }

    pub fn leases_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        std::iter::once(&mut self.current).chain(&mut self.closing)
    }

    /// Where the lease of this name is; one whose name is not known yet may be it.
    pub fn place(&self, id: Option<u64>, epoch: u64) -> Option<usize> {
        let named = self
            .leases()
            .position(|lease| lease.id.is_some() && lease.id == id);
        let unnamed = |lease: &Lease| lease.id.is_none() && lease.epoch == epoch;
        named.or_else(|| self.leases().position(unnamed))
    }

    /// The holder of which just these leases count, where it is another for that; none where it can't be.
    pub fn listed(&self, shown: &[&Listed]) -> Option<Option<Self>> {
        let mut after = None;
        let mut counted = 0;
        for (at, lease) in self
            .leases()
            .enumerate()
            .filter(|(_, l)| l.phase != Phase::Ended)
        {
            counted += 1;
            let shown = shown.iter().find(|shown| match lease.id {
                Some(id) => id == shown.lease,
                None => (shown.epoch, shown.seq) == (lease.epoch, lease.seq),
            })?;
            let fits = (lease.slots.0..=lease.slots.1).contains(&shown.slots);
            if !fits || (shown.seq, shown.epoch) != (lease.seq, lease.epoch) {
                return None;
            }
            let known = (Some(shown.lease), (shown.slots, shown.slots));
            if (lease.id, lease.slots) != known {
                let after = after.get_or_insert_with(|| self.clone());
                let lease = after.leases_mut().nth(at)?;
                (lease.id, lease.slots) = known;
            }
        }
        (shown.len() == counted).then_some(after)
    }

    /// The live lease can't be renewed any more: with slots it counts on, without it has ended.
    pub fn supersede(self) -> Vec<Self> {
        if self.current.phase != Phase::Live {
            return vec![self];
        }
        let (least, most) = self.current.slots;
        let mut after = Vec::new();
        if most > 0 {
            let mut closing = self.clone();
            (closing.current.phase, closing.current.slots) = (Phase::Closing, (least.max(1), most));
            after.push(closing);
        }
        if least == 0 {
            let mut ended = self;
            ended.current.phase = Phase::Ended;
            after.push(ended);
        }
        after
    }
}

impl Answered {
    pub fn of(granted: Granted) -> Self {
        Self {
            slots: granted.slots,
            target: granted.target,
            ttl_ms: granted.ttl_ms,
            drift_ppm: granted.drift_ppm,
        }
    }
}
