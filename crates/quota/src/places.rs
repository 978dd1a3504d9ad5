//! Leases by their places, in blocks that never move: however many there are, one more copies none of them.

use crate::lease::Lease;

/// Places of a block. Few enough that little lies idle, and enough that there are few blocks.
const BLOCK: usize = 256;

/// A row of places, each with a lease or free. The last one is never free.
#[derive(Debug, Default)]
pub(crate) struct Places {
    blocks: Vec<Box<[Option<Lease>]>>,
    len: usize,
}

impl Places {
    /// One past the last place that has a lease.
    pub fn len(&self) -> u32 {
        self.len as u32
    }

    pub fn get(&self, place: u32) -> Option<&Lease> {
        let at = place as usize;
        self.blocks.get(at / BLOCK)?[at % BLOCK].as_ref()
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut Lease> {
        let at = place as usize;
        self.blocks.get_mut(at / BLOCK)?[at % BLOCK].as_mut()
    }

    /// Puts a lease at a place.
    pub fn put(&mut self, place: u32, lease: Lease) {
        let at = place as usize;
        while self.blocks.len() <= at / BLOCK {
            self.blocks.push((0..BLOCK).map(|_| None).collect());
        }
        self.blocks[at / BLOCK][at % BLOCK] = Some(lease);
        self.len = self.len.max(at + 1);
    }

    /// Frees a place.
    pub fn take(&mut self, place: u32) -> Option<Lease> {
        let at = place as usize;
        let lease = self.blocks.get_mut(at / BLOCK)?[at % BLOCK].take()?;
        while self.len > 0 && self.get(self.len() - 1).is_none() {
            self.len -= 1;
        }
        self.blocks.truncate(self.len.div_ceil(BLOCK));
        Some(lease)
    }
}
