//! The leases of one pool as a sequential model: what may be answered, one request after another.
//!
//! Left open is what a history does not tell: how many slots the sharing rules give (any number up to what was
//! wanted and what the pool has), and when within its bounds a lease runs out. A grant whose answer was lost
//! is a range of slots.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::history::{Answer, Call, Change, Granted, Listed};
use crate::wgl::Model;

/// One step of the model.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A request and its answer.
    Asked(&'a Call, &'a Answer),
    /// A lease has run out, where this was its last request.
    Expires(Asked<'a>),
    /// A holder is forgotten, long after its last lease ended.
    Forgets(Asked<'a>),
}

/// Names a request of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked<'a> {
    /// The holder.
    pub holder: &'a str,
    /// Its life.
    pub epoch: u64,
    /// The request's number.
    pub seq: u64,
}

/// The model of one pool.
#[derive(Debug)]
pub struct Leases<'a> {
    /// The pool.
    pub pool: &'a str,
    /// One holder alone: nothing is added up then.
    pub holder: Option<&'a str>,
    /// Whose leases are which.
    pub owners: &'a BTreeMap<u64, (&'a str, u64)>,
    /// Admin requests that were sent more than once.
    pub retried: &'a BTreeSet<&'a str>,
}

/// The pool between two steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State<'a> {
    /// None while the history has not set it.
    capacity: Option<u64>,
    holders: BTreeMap<&'a str, Rc<Holder>>,
    /// Admin requests that were carried out, of those that were retried.
    asked: BTreeSet<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Holder {
    current: Lease,
    /// Older leases that still count.
    closing: Vec<Lease>,
    /// Leases that were returned: which, by which request, and its answer where it is known.
    returned: BTreeMap<u64, (u64, Option<u64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lease {
    id: Option<u64>,
    epoch: u64,
    seq: u64,
    /// At least and at most so many slots.
    slots: (u64, u64),
    phase: Phase,
    /// What the last request was answered, where it is known.
    answer: Option<Answered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Live,
    Closing,
    Ended,
}

/// A grant as far as a retry must get the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Answered {
    slots: u64,
    target: u64,
    ttl_ms: u64,
    drift_ppm: u32,
}

impl<'a> Model for Leases<'a> {
    type State = State<'a>;
    type Operation = Step<'a>;

    fn initial(&self) -> State<'a> {
        State::default()
    }

    fn step(&self, state: &State<'a>, step: &Step<'a>) -> Vec<State<'a>> {
        match *step {
            Step::Asked(call, answer) => self.asked(state, call, answer),
            Step::Expires(asked) => expire(state, asked).into_iter().collect(),
            Step::Forgets(asked) => forget(state, asked).into_iter().collect(),
        }
    }

    fn may_help(&self, state: &State<'a>, step: &Step<'a>, other: &Step<'a>) -> bool {
        let holder = match step {
            Step::Expires(asked) | Step::Forgets(asked) => asked.holder,
            Step::Asked(call, answer) => match (call, answer) {
                (Call::Leases { .. }, Answer::Leases(listed)) => match self.listed(state, listed) {
                    Ok(_) => return false,
                    Err(holder) => holder,
                },
                (Call::Take { holder, .. } | Call::RemoveHolder { holder, .. }, _) => holder,
                (
                    Call::Renew { lease, .. }
                    | Call::Report { lease, .. }
                    | Call::Return { lease, .. },
                    _,
                ) => match self.owners.get(lease) {
                    Some((holder, _)) => holder,
                    None => return true,
                },
                _ => return true,
            },
        };
        if self.is_about(other, holder) {
            return true;
        }
        // Or it makes room for what is granted.
        let takes = matches!(other, Step::Asked(Call::Take { .. }, _));
        let full = State {
            capacity: Some(0),
            ..state.clone()
        };
        let free = State {
            capacity: None,
            ..state.clone()
        };
        !takes
            && state.capacity.is_some()
            && self.step(state, step).is_empty()
            && self.step(&full, step).len() < self.step(&free, step).len()
    }
}

impl<'a> Leases<'a> {
    fn asked(&self, state: &State<'a>, call: &'a Call, answer: &'a Answer) -> Vec<State<'a>> {
        let unchanged = |legal: bool| if legal { vec![state.clone()] } else { vec![] };
        if let Answer::Refused(refused) = answer {
            return unchanged(self.may_refuse(state, call, &refused.reason));
        }
        match call {
            Call::Take {
                holder,
                epoch,
                seq,
                wanted,
                ..
            } => {
                let asked = Asked {
                    holder,
                    epoch: *epoch,
                    seq: *seq,
                };
                self.take(state, asked, *wanted, answer)
            }
            Call::Renew {
                lease,
                seq,
                kept,
                wanted,
                ..
            }
            | Call::Report {
                lease,
                seq,
                kept,
                wanted,
                ..
            } => self.keep(state, *lease, *seq, (*kept, *wanted), answer),
            Call::Return { lease, seq, .. } => self.give_back(state, *lease, *seq, answer),
            Call::RemoveHolder {
                request_id,
                holder,
                pool,
            } => {
                let Some(state) = self.first_time(state, request_id) else {
                    return unchanged(true);
                };
                remove(&state, holder, pool.is_some(), answer)
            }
            Call::Configure {
                request_id,
                changes,
                ..
            } => {
                let Some(state) = self.first_time(state, request_id) else {
                    return unchanged(true);
                };
                self.configure(state, changes).into_iter().collect()
            }
            Call::Inspect { .. } => match answer {
                Answer::Inspected {
                    capacity,
                    held,
                    leases,
                    ..
                } => unchanged(state.shows(*capacity, *held, *leases)),
                _ => unchanged(matches!(answer, Answer::Unknown(_))),
            },
            Call::Leases { .. } => match answer {
                Answer::Leases(listed) => self.listed(state, listed).into_iter().collect(),
                _ => unchanged(matches!(answer, Answer::Unknown(_))),
            },
            Call::Budget { .. } => unchanged(true),
        }
    }

    /// Whether a request may be refused so in this state; of reasons that the model does not know it may.
    fn may_refuse(&self, state: &State<'a>, call: &Call, reason: &str) -> bool {
        match call {
            Call::Take {
                holder, epoch, seq, ..
            } => {
                let current = state.holders.get(holder.as_str()).map(|h| &h.current);
                match (reason, current) {
                    ("STALE_EPOCH", current) => current.is_some_and(|c| c.epoch > *epoch),
                    ("STALE_SEQ", current) => {
                        current.is_some_and(|c| c.epoch == *epoch && c.seq > *seq)
                    }
                    ("LEASE_ENDED", current) => current
                        .is_some_and(|c| (c.epoch, c.seq, c.phase) == (*epoch, *seq, Phase::Ended)),
                    _ => true,
                }
            }
            Call::Renew { lease, seq, .. }
            | Call::Report { lease, seq, .. }
            | Call::Return { lease, seq, .. } => {
                let known = self.find(state, *lease).filter(|l| l.phase != Phase::Ended);
                // One of a name that is not known yet may be this one or not.
                let known = known.filter(|l| l.id.is_some());
                match reason {
                    "LEASE_ENDED" | "NO_SUCH_LEASE" => known.is_none(),
                    "LEASE_CLOSING" => known.is_none_or(|l| l.phase == Phase::Closing),
                    "STALE_SEQ" => known.is_none_or(|l| l.seq > *seq),
                    _ => true,
                }
            }
            Call::RemoveHolder { holder, .. } if reason == "NO_SUCH_HOLDER" => {
                !state.holders.contains_key(holder.as_str())
            }
            _ => true,
        }
    }

    /// The state in which the request is remembered, unless it was carried out before.
    fn first_time(&self, state: &State<'a>, request_id: &'a str) -> Option<State<'a>> {
        let mut state = state.clone();
        let retried = self.retried.contains(request_id);
        (!retried || state.asked.insert(request_id)).then_some(state)
    }

    fn take(
        &self,
        state: &State<'a>,
        asked: Asked<'a>,
        wanted: u64,
        answer: &Answer,
    ) -> Vec<State<'a>> {
        let Asked { holder, epoch, seq } = asked;
        let Some(granted) = granted(answer) else {
            return vec![];
        };
        let unchanged = |known: bool| if known { vec![] } else { vec![state.clone()] };
        let before = state.holders.get(holder).map(|h| Holder::clone(h));
        if let Some(before) = &before {
            let current = &before.current;
            if epoch < current.epoch || (epoch == current.epoch && seq < current.seq) {
                return unchanged(granted.is_some());
            }
            if epoch == current.epoch && (seq == current.seq || current.phase == Phase::Live) {
                let mut lease = current.clone();
                if granted.is_some_and(|granted| lease.id.is_some_and(|id| id != granted.lease)) {
                    return vec![];
                }
                lease.id = lease.id.or(granted.map(|granted| granted.lease));
                return self.kept(state, holder, lease, seq, None, wanted, granted);
            }
        }
        let slots = granted.map_or((0, wanted), |granted| (granted.slots, granted.slots));
        if granted.is_some_and(|granted| granted.slots > wanted) {
            return vec![];
        }
        let current = Lease {
            id: granted.map(|granted| granted.lease),
            epoch,
            seq,
            slots,
            phase: Phase::Live,
            answer: granted.map(Answered::of),
        };
        let superseded = match before {
            None => vec![Holder {
                current,
                closing: vec![],
                returned: BTreeMap::new(),
            }],
            Some(before) => before
                .supersede()
                .into_iter()
                .map(|mut holder| {
                    if holder.current.phase == Phase::Closing {
                        holder.closing.push(holder.current);
                    }
                    holder.current = current.clone();
                    holder
                })
                .collect(),
        };
        superseded
            .into_iter()
            .filter_map(|after| state.grown(holder, after, slots.0 > 0))
            .collect()
    }

    /// A live lease is kept: `kept` slots of it, or all where `None`; or the request is the last one again.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a request says, and of which lease"
    )]
    fn kept(
        &self,
        state: &State<'a>,
        holder: &'a str,
        mut lease: Lease,
        seq: u64,
        kept: Option<u64>,
        wanted: u64,
        granted: Option<Granted>,
    ) -> Vec<State<'a>> {
        if lease.phase == Phase::Ended {
            return if granted.is_some() {
                vec![]
            } else {
                vec![state.clone()]
            };
        }
        let (mut least, mut most) = lease.slots;
        let mut grows = false;
        if seq > lease.seq {
            if kept.is_some_and(|kept| kept > most) {
                return if granted.is_some() {
                    vec![]
                } else {
                    vec![state.clone()]
                };
            }
            (least, most) = kept.map_or((least, most), |kept| (kept, kept));
            grows = granted.is_some_and(|granted| granted.slots > most);
            most = most.max(wanted);
            (lease.seq, lease.answer) = (seq, None);
        }
        if let Some(granted) = granted {
            let answered = Answered::of(granted);
            let same = lease.answer.is_none_or(|before| before == answered);
            if !same || !(least..=most).contains(&granted.slots) {
                return vec![];
            }
            (least, most) = (granted.slots, granted.slots);
            lease.answer = Some(answered);
        }
        lease.slots = (least, most);
        state.with_lease(holder, lease, grows).into_iter().collect()
    }

    fn keep(
        &self,
        state: &State<'a>,
        id: u64,
        seq: u64,
        (kept, wanted): (u64, u64),
        answer: &Answer,
    ) -> Vec<State<'a>> {
        let Some(granted) = granted(answer) else {
            return vec![];
        };
        let unchanged = || {
            if granted.is_some() {
                vec![]
            } else {
                vec![state.clone()]
            }
        };
        if granted.is_some_and(|granted| granted.lease != id) {
            return vec![];
        }
        let (Some(&(holder, _)), Some(found)) = (self.owners.get(&id), self.find(state, id)) else {
            // Nothing says whose it is; or it is no more.
            return if self.owners.contains_key(&id) {
                unchanged()
            } else {
                vec![state.clone()]
            };
        };
        let fresh = seq > found.seq;
        if seq < found.seq || (fresh && found.phase != Phase::Live) {
            return unchanged();
        }
        let lease = Lease {
            id: Some(id),
            ..found.clone()
        };
        self.kept(state, holder, lease, seq, Some(kept), wanted, granted)
    }

    fn give_back(&self, state: &State<'a>, id: u64, seq: u64, answer: &Answer) -> Vec<State<'a>> {
        let returned = match answer {
            Answer::Returned { slots } => Some(*slots),
            Answer::Unknown(_) => None,
            _ => return vec![],
        };
        let unchanged = || {
            if returned.is_some() {
                vec![]
            } else {
                vec![state.clone()]
            }
        };
        let Some(&(name, epoch)) = self.owners.get(&id) else {
            return vec![state.clone()];
        };
        let Some(mut holder) = state.holders.get(name).map(|h| Holder::clone(h)) else {
            return unchanged();
        };
        if let Some((by, before)) = holder.returned.get_mut(&id) {
            let same = *by == seq && before.is_none_or(|before| Some(before) == returned);
            if !same || returned.is_none() {
                return unchanged();
            }
            *before = returned;
            return state.grown(name, holder, false).into_iter().collect();
        }
        let place = holder.place(Some(id), epoch);
        let lease = place.and_then(|place| holder.leases_mut().nth(place));
        let Some(lease) = lease.filter(|lease| lease.phase != Phase::Ended) else {
            return unchanged();
        };
        if seq <= lease.seq {
            return unchanged();
        }
        if returned.is_some_and(|slots| slots < lease.slots.0 || slots > lease.slots.1) {
            return vec![];
        }
        (lease.phase, lease.seq) = (Phase::Ended, seq);
        lease.id = Some(id);
        holder.closing.retain(|lease| lease.phase != Phase::Ended);
        holder.returned.insert(id, (seq, returned));
        state.grown(name, holder, false).into_iter().collect()
    }

    fn configure(&self, mut state: State<'a>, changes: &[Change]) -> Option<State<'a>> {
        for change in changes {
            match change {
                Change::Capacity { pool, capacity } if pool == self.pool => {
                    state.capacity = Some(*capacity).filter(|_| self.holder.is_none());
                }
                Change::RemovePool { pool } if pool == self.pool => {
                    if state.counted().0 > 0 {
                        return None;
                    }
                    (state.capacity, state.holders) = (None, BTreeMap::new());
                }
                _ => {}
            }
        }
        Some(state)
    }

    /// The state in which just these leases count; or a holder of whom that can't be.
    fn listed(&self, state: &State<'a>, listed: &'a [Listed]) -> Result<State<'a>, &'a str> {
        let mut shown: BTreeMap<&'a str, Vec<&'a Listed>> = BTreeMap::new();
        for lease in listed {
            if self.holder.is_none_or(|holder| holder == lease.holder) {
                shown.entry(&lease.holder).or_default().push(lease);
            }
        }
        let mut state = state.clone();
        for (&name, holder) in &mut state.holders {
            let shown = shown.remove(name).unwrap_or_default();
            if let Some(after) = holder.listed(&shown).ok_or(name)? {
                *holder = Rc::new(after);
            }
        }
        match shown.keys().next() {
            None => Ok(state),
            Some(unknown) => Err(unknown),
        }
    }

    /// Whether a step is about this holder.
    fn is_about(&self, step: &Step<'a>, holder: &str) -> bool {
        match step {
            Step::Expires(asked) | Step::Forgets(asked) => asked.holder == holder,
            Step::Asked(call, _) => match call {
                Call::Take { holder: of, .. } | Call::RemoveHolder { holder: of, .. } => {
                    of == holder
                }
                Call::Renew { lease, .. }
                | Call::Report { lease, .. }
                | Call::Return { lease, .. } => {
                    self.owners.get(lease).is_some_and(|(of, _)| *of == holder)
                }
                // A read may have to come before whoever changes what it shows.
                Call::Configure { .. } | Call::Inspect { .. } | Call::Leases { .. } => true,
                Call::Budget { .. } => false,
            },
        }
    }

    fn find<'s>(&self, state: &'s State<'a>, id: u64) -> Option<&'s Lease> {
        let (holder, epoch) = self.owners.get(&id)?;
        let holder = state.holders.get(holder)?;
        holder.leases().nth(holder.place(Some(id), *epoch)?)
    }
}

/// The grant of an answer, or that it is not known; none where it is neither.
fn granted(answer: &Answer) -> Option<Option<Granted>> {
    match answer {
        Answer::Granted(granted) => Some(Some(*granted)),
        Answer::Unknown(_) => Some(None),
        _ => None,
    }
}

fn expire<'a>(state: &State<'a>, asked: Asked<'a>) -> Option<State<'a>> {
    let mut holder = Holder::clone(state.holders.get(asked.holder)?);
    let lease = holder
        .leases_mut()
        .find(|lease| (lease.epoch, lease.seq) == (asked.epoch, asked.seq))
        .filter(|lease| lease.phase != Phase::Ended)?;
    lease.phase = Phase::Ended;
    holder.closing.retain(|lease| lease.phase != Phase::Ended);
    state.grown(asked.holder, holder, false)
}

fn forget<'a>(state: &State<'a>, asked: Asked<'a>) -> Option<State<'a>> {
    let holder = state.holders.get(asked.holder)?;
    let current = &holder.current;
    let last = (current.epoch, current.seq) == (asked.epoch, asked.seq);
    (last && current.phase == Phase::Ended && holder.closing.is_empty()).then(|| {
        let mut state = state.clone();
        state.holders.remove(asked.holder);
        state
    })
}

/// A holder's leases are closed by an operator.
fn remove<'a>(
    state: &State<'a>,
    name: &'a str,
    here_alone: bool,
    answer: &Answer,
) -> Vec<State<'a>> {
    let Some(holder) = state.holders.get(name) else {
        return vec![state.clone()];
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
        .filter_map(|after| state.grown(name, after, false))
        .collect()
}

impl<'a> State<'a> {
    /// At least and at most so many slots count, in so many leases.
    fn counted(&self) -> (u64, u64, u64) {
        let leases = self.holders.values().flat_map(|holder| holder.leases());
        leases.filter(|lease| lease.phase != Phase::Ended).fold(
            (0, 0, 0),
            |(least, most, leases), lease| {
                (least + lease.slots.0, most + lease.slots.1, leases + 1)
            },
        )
    }

    fn shows(&self, capacity: u64, held: u64, leases: u64) -> bool {
        let (least, most, counted) = self.counted();
        self.capacity.is_none_or(|known| known == capacity)
            && (least..=most).contains(&held)
            && leases == counted
    }

    fn with_lease(&self, holder: &'a str, lease: Lease, grows: bool) -> Option<Self> {
        let mut after = Holder::clone(self.holders.get(holder)?);
        let place = after.place(lease.id, lease.epoch)?;
        *after.leases_mut().nth(place)? = lease;
        self.grown(holder, after, grows)
    }

    /// With a holder as it is now; where it has grown only if the pool has room for that.
    fn grown(&self, name: &'a str, holder: Holder, grows: bool) -> Option<Self> {
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
    fn leases(&self) -> impl Iterator<Item = &Lease> {
        std::iter::once(&self.current).chain(&self.closing)
    }

    fn leases_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        std::iter::once(&mut self.current).chain(&mut self.closing)
    }

    /// Where the lease of this name is; one whose name is not known yet may be it.
    fn place(&self, id: Option<u64>, epoch: u64) -> Option<usize> {
        let named = self
            .leases()
            .position(|lease| lease.id.is_some() && lease.id == id);
        let unnamed = |lease: &Lease| lease.id.is_none() && lease.epoch == epoch;
        named.or_else(|| self.leases().position(unnamed))
    }

    /// The holder of which just these leases count, where it is another for that; none where it can't be.
    fn listed(&self, shown: &[&Listed]) -> Option<Option<Self>> {
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
    fn supersede(self) -> Vec<Self> {
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
    fn of(granted: Granted) -> Self {
        Self {
            slots: granted.slots,
            target: granted.target,
            ttl_ms: granted.ttl_ms,
            drift_ppm: granted.drift_ppm,
        }
    }
}
