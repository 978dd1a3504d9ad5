//! Leases that are taken, kept and given back.

use std::collections::BTreeMap;

use super::state::{Answered, Holder, Lease, Phase, State};
use super::{Asked, Leases};
use crate::history::{Answer, Granted};

impl<'a> Leases<'a> {
    pub(super) fn take(
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
        let (mut grows, before) = (false, most);
        if seq > lease.seq {
            if kept.is_some_and(|kept| kept > most) {
                return if granted.is_some() {
                    vec![]
                } else {
                    vec![state.clone()]
                };
            }
            (least, most) = kept.map_or((least, most), |kept| (kept, kept));
            grows = granted.is_some_and(|granted| granted.slots > before);
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

    pub(super) fn keep(
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

    pub(super) fn give_back(
        &self,
        state: &State<'a>,
        id: u64,
        seq: u64,
        answer: &Answer,
    ) -> Vec<State<'a>> {
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
}

/// The grant of an answer, or that it is not known; none where it is neither.
fn granted(answer: &Answer) -> Option<Option<Granted>> {
    match answer {
        Answer::Granted(granted) => Some(Some(*granted)),
        Answer::Unknown(_) => Some(None),
        _ => None,
    }
}
