//! Floors: slots set aside for holders that are cut off from every node. They are taken off the capacity
//! before anything is shared, so that a holder that goes by its floor never breaks the budget.
//!
//! What a holder was *told* is the most that it may go by. It outlasts the lease, since a holder that is
//! cut off goes by its floor for days, and comes down only once the holder has confirmed less, has given
//! its lease back, or is vouched to be gone.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::check::invalid;
use crate::outcome::Refusal;

/// The floors of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Floors {
    /// Slots that all holders that report share.
    pub shared: u64,
    /// Slots of single holders.
    pub of: BTreeMap<SmolStr, u64>,
    /// What each life of a holder was told, where it is anything.
    pub told: BTreeMap<(SmolStr, u64), u64>,
    /// Sum of what was told.
    pub told_sum: u64,
}

impl Floors {
    /// Slots that were set.
    pub fn configured(&self) -> u64 {
        self.of.values().sum::<u64>() + self.shared
    }

    /// Slots that are taken off the capacity.
    pub fn set_aside(&self) -> u64 {
        self.configured().max(self.told_sum)
    }

    /// What a life of a holder was told.
    pub fn told(&self, holder: &SmolStr, epoch: u64) -> u64 {
        if self.told.is_empty() {
            return 0;
        }
        let key = (holder.clone(), epoch);
        self.told.get(&key).copied().unwrap_or(0)
    }

    /// Whether the holder may go by the floor that it says it does.
    pub fn check(&self, holder: &SmolStr, epoch: u64, floor: u64) -> Result<(), Refusal> {
        let told = self.told(holder, epoch);
        if floor <= told {
            return Ok(());
        }
        let expected = format!("at most the {told} that the holder was told");
        Err(invalid("floor", floor, expected))
    }

    /// A holder goes by `confirmed`, and is told its floor: what is set for it, and its part of what is
    /// shared among `sharers`. It grows by `room` at most, and within what no other was told.
    pub fn tell(
        &mut self,
        holder: &SmolStr,
        epoch: u64,
        confirmed: u64,
        sharers: u64,
        room: u64,
    ) -> u64 {
        if self.told.is_empty() && self.of.is_empty() && self.shared == 0 {
            return 0;
        }
        let own = self.of.get(holder).copied().unwrap_or(0);
        let due = own + self.shared / sharers.max(1);
        let others = self.told_sum - self.told(holder, epoch);
        // Room is what could come on top of all that was told before this.
        let room = room.saturating_add(self.told(holder, epoch) - confirmed);
        let free = self.configured().saturating_sub(others + confirmed);
        let floor = due.min(confirmed + room.min(free));
        self.set_told(holder, epoch, floor.max(confirmed));
        floor
    }

    /// Sets what a life of a holder was told.
    pub fn set_told(&mut self, holder: &SmolStr, epoch: u64, slots: u64) {
        let key = (holder.clone(), epoch);
        let before = if slots == 0 {
            self.told.remove(&key)
        } else {
            self.told.insert(key, slots)
        };
        self.told_sum = self.told_sum - before.unwrap_or(0) + slots;
    }

    /// What all lives of a holder were told.
    pub fn told_to(&self, holder: &str) -> u64 {
        self.lives(holder).map(|(_, told)| told).sum()
    }

    /// Nobody goes by what the lives of a holder were told.
    pub fn release(&mut self, holder: &str) {
        let gone: Vec<(SmolStr, u64)> = self.lives(holder).map(|(key, _)| key.clone()).collect();
        for (holder, epoch) in gone {
            self.set_told(&holder, epoch, 0);
        }
    }

    fn lives(&self, holder: &str) -> impl Iterator<Item = (&(SmolStr, u64), &u64)> {
        let holder: SmolStr = SmolStr::from(holder);
        self.told.range((holder.clone(), 0)..=(holder, u64::MAX))
    }
}
