//! How far off the foretold waits were.

use super::slab::Entry;

/// Counts of waits that were foretold on arrival, by how they came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accuracy {
    /// Users who were told, and have been called since.
    pub told: u64,
    /// Those of them who waited no longer than what half should.
    pub within_p50: u64,
    /// Those of them who waited no longer than what nine of ten should.
    pub within_p90: u64,
    /// The wait as a part of the foretold median, in quarters: below a quarter of it, below a half, and so
    /// on; the last has all from four times on.
    pub quarters: [u64; 17],
}

impl Accuracy {
    /// A user, who has waited until now, is called.
    pub fn count(&mut self, entry: &Entry, now_s: u32) {
        let [p50, p90] = entry.told.map(u32::from);
        if p50 == 0 {
            return;
        }
        let waited = now_s.saturating_sub(entry.second);
        self.told += 1;
        self.within_p50 += u64::from(waited <= p50);
        self.within_p90 += u64::from(waited <= p90);
        let quarter = u64::from(waited) * 4 / u64::from(p50);
        self.quarters[usize::try_from(quarter).unwrap_or(16).min(16)] += 1;
    }
}
