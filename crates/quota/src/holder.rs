//! Which leases the holders of a pool have.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use smol_str::SmolStr;

/// The holders of a pool, by name.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// The newest lease of each, live or not.
    newest: BTreeMap<SmolStr, u32>,
    past: BTreeMap<SmolStr, Past>,
}

/// What few holders have: any other lease, or an epoch above that of the newest.
#[derive(Debug)]
struct Past {
    /// The highest epoch seen, which outlasts the lease that was taken with it.
    epoch: u64,
    /// Leases that others superseded and that are still known.
    older: Vec<u32>,
}

/// One holder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    pub name: &'a SmolStr,
    /// The newest lease, live or not.
    pub newest: u32,
    past: Option<&'a Past>,
}

impl<'a> Holder<'a> {
    /// The highest epoch seen, where the newest lease has this one.
    pub fn epoch(&self, newest: u64) -> u64 {
        self.past.map_or(newest, |past| past.epoch)
    }

    /// Leases that others superseded and that are still known.
    pub fn older(&self) -> &'a [u32] {
        self.past.map_or(&[], |past| &past.older)
    }

    /// All leases, the newest last.
    pub fn leases(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.older().iter().copied().chain([self.newest])
    }
}

impl Holders {
    pub fn get(&self, name: &str) -> Option<Holder<'_>> {
        let holder = self.newest.get_key_value(name);
        holder.map(|holder| self.holder(holder))
    }

    /// All of them in order, or those in a range.
    pub fn range(&self, from: Bound<&str>, to: Bound<&str>) -> impl Iterator<Item = Holder<'_>> {
        let range = self.newest.range::<str, _>((from, to));
        range.map(|holder| self.holder(holder))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Holder<'_>> {
        self.newest.iter().map(|holder| self.holder(holder))
    }

    fn holder<'a>(&'a self, (name, &newest): (&'a SmolStr, &u32)) -> Holder<'a> {
        let past = self.past.get(name);
        Holder { name, newest, past }
    }

    /// Enters a newcomer whose first lease will be at this place. A holder that is known stays as it is, and is
    /// given: however many names there are, either takes one walk through them.
    pub fn enter<'a>(&'a mut self, name: &'a SmolStr, place: u32) -> Option<Holder<'a>> {
        match self.newest.entry(name.clone()) {
            Entry::Vacant(newcomer) => {
                newcomer.insert(place);
                None
            }
            Entry::Occupied(known) => Some(Holder {
                name,
                newest: *known.get(),
                past: self.past.get(name),
            }),
        }
    }

    /// A holder takes a lease in this epoch, beside those that it has.
    pub fn take(&mut self, name: SmolStr, place: u32, epoch: u64) {
        let older = self.newest.insert(name.clone(), place);
        if let Some(older) = older {
            self.remember(name, epoch, [older]);
        }
    }

    /// A holder has seen this epoch and has these leases beside the newest, after those that are known.
    pub fn remember(&mut self, name: SmolStr, epoch: u64, older: impl IntoIterator<Item = u32>) {
        let past = self.past.entry(name).or_insert(Past {
            epoch,
            older: Vec::new(),
        });
        past.epoch = epoch;
        past.older.extend(older);
    }

    /// Forgets a lease of a holder, and the holder with its last one. `epoch` is that of a lease.
    pub fn forget(&mut self, name: &SmolStr, place: u32, epoch: impl Fn(u32) -> Option<u64>) {
        let Entry::Occupied(mut newest) = self.newest.entry(name.clone()) else {
            return;
        };
        let Some(past) = self.past.get_mut(name) else {
            if *newest.get() == place {
                newest.remove();
            }
            return;
        };
        if *newest.get() != place {
            past.older.retain(|&older| older != place);
        } else if let Some(older) = past.older.pop() {
            newest.insert(older);
        } else {
            newest.remove();
            self.past.remove(name);
            return;
        }
        if past.older.is_empty() && epoch(*newest.get()) == Some(past.epoch) {
            self.past.remove(name);
        }
    }
}
