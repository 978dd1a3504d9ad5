//! Which leases a holder has in a pool.

/// The leases of one holder.
#[derive(Debug)]
pub(crate) struct Holder {
    /// The newest lease, live or not.
    pub current: u32,
    /// What few holders have: any other lease, or an epoch above that of the newest.
    past: Option<Box<Past>>,
}

#[derive(Debug)]
struct Past {
    /// The highest epoch seen, which outlasts the lease that was taken with it.
    epoch: u64,
    /// Leases that others superseded and that are still known.
    older: Vec<u32>,
}

impl Holder {
    /// With one lease alone.
    pub fn new(current: u32) -> Self {
        Self {
            current,
            past: None,
        }
    }

    /// The highest epoch seen, where the newest lease has this one.
    pub fn epoch(&self, newest: u64) -> u64 {
        self.past.as_ref().map_or(newest, |past| past.epoch)
    }

    /// Leases that others superseded and that are still known.
    pub fn older(&self) -> &[u32] {
        self.past.as_ref().map_or(&[], |past| &past.older)
    }

    /// All leases, the newest last.
    pub fn leases(&self) -> impl Iterator<Item = u32> {
        self.older().iter().copied().chain([self.current])
    }

    /// Takes on a lease that supersedes the newest.
    pub fn supersede(&mut self, place: u32, epoch: u64) {
        let older = std::mem::replace(&mut self.current, place);
        self.remember(epoch, vec![older]);
    }

    /// Has seen this epoch and has these leases beside the newest, after those it has.
    pub fn remember(&mut self, epoch: u64, older: Vec<u32>) {
        match &mut self.past {
            Some(past) => {
                past.epoch = epoch;
                past.older.extend(older);
            }
            None => self.past = Some(Box::new(Past { epoch, older })),
        }
    }

    /// Forgets a lease, and says whether any is left. `epoch` is that of a lease.
    pub fn forget(&mut self, place: u32, epoch: impl Fn(u32) -> Option<u64>) -> bool {
        let Some(past) = &mut self.past else {
            return self.current != place;
        };
        if self.current != place {
            past.older.retain(|&older| older != place);
        } else if let Some(newest) = past.older.pop() {
            self.current = newest;
        } else {
            return false;
        }
        if past.older.is_empty() && epoch(self.current) == Some(past.epoch) {
            self.past = None;
        }
        true
    }
}
