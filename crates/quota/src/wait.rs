//! How long somebody will wait, from how fast the queue has moved.

use serde::{Deserialize, Serialize};

/// How long a wait will be: within `p50_s` seconds half of the time, and within `p90_s` nine times in ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Seconds.
    pub p50_s: u32,
    /// Seconds, at least `p50_s`.
    pub p90_s: u32,
}

/// The wait of somebody with `ahead` users of the class before them, where users are served at these rates,
/// in thousandths of a user per second: the usual one and a slow one. `None` where nothing is known.
///
/// It takes `ahead + 1` departures until it is their turn. At a steady rate departures come at random
/// moments, so that n of them take a time that varies by the square root of n (a Poisson process); the 90 %
/// figure allows for that with 1.28 standard deviations, at the slow rate.
pub fn estimate(ahead: u64, rate: u64, low_rate: u64) -> Option<Wait> {
    let low_rate = low_rate.min(rate);
    if low_rate == 0 {
        return None;
    }
    let turns = u128::from(ahead) + 1;
    let seconds = |milli_users: u128, rate: u64| {
        u32::try_from(milli_users.div_ceil(u128::from(rate))).unwrap_or(u32::MAX)
    };
    // The square root of a million times as much is the root in thousandths.
    let margin = (turns * 1_000_000).isqrt() * 1_282 / 1_000;
    Some(Wait {
        p50_s: seconds(turns * 1_000, rate),
        p90_s: seconds(turns * 1_000 + margin, low_rate),
    })
}

/// Seconds of a window in which departures are counted.
const WINDOW_S: u32 = 10;
/// How many whole windows are looked at: five minutes.
const WINDOWS: usize = 30;
/// How many of the last say how fast it goes now: two minutes.
const LATE: usize = 12;

/// How many sessions of a region ended, in each of the last windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departures {
    /// The window that time is in.
    window: u32,
    /// How many ended in it.
    now: u64,
    /// The whole windows before it, the newest last: none before the first in which a session ended.
    before: Vec<u64>,
}

/// How fast slots come free in a region, in thousandths of a slot per second; 0 where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// As is usual.
    pub usual: u64,
    /// In a slow tenth of the time.
    pub low: u64,
}

impl Departures {
    /// Counts sessions that have ended.
    pub fn add(&mut self, now_s: u32, left: u64) {
        let window = now_s / WINDOW_S;
        let passed = window.saturating_sub(self.window) as usize;
        if passed > 0 {
            self.window = window;
            let ended = std::mem::take(&mut self.now);
            if ended > 0 || !self.before.is_empty() {
                self.before.push(ended);
                let empty = (passed - 1).min(WINDOWS);
                self.before.resize(self.before.len() + empty, 0);
                let old = self.before.len().saturating_sub(WINDOWS);
                self.before.drain(..old);
            }
        }
        self.now = self.now.saturating_add(left);
    }

    /// The median of the last two minutes' windows, since sessions end faster as the morning goes on, and the
    /// lowest tenth of all, which is never taken for less than a quarter of the median: sessions go on ending.
    pub fn rates(&self) -> Rates {
        let all = &self.before;
        let late = &all[all.len().saturating_sub(LATE)..];
        let count = late.len();
        let Some((median, tenth)) = nth(late, count / 2).zip(nth(all, all.len() / 10)) else {
            return Rates::default();
        };
        let all = late.iter().fold(0_u64, |sum, &n| sum.saturating_add(n));
        // Users a window to thousandths of a user a second.
        let scale = 1_000 / u64::from(WINDOW_S);
        let usual = match median {
            0 => all.saturating_mul(scale) / count as u64,
            _ => median.saturating_mul(scale),
        };
        let low = tenth.saturating_mul(scale).max(usual / 4);
        Rates { usual, low }
    }

    /// How many there were in the windows of the five minutes up to a time.
    pub fn sum(&self, now_s: u32) -> u64 {
        let window = now_s / WINDOW_S;
        let passed = window.saturating_sub(self.window) as usize;
        let whole = self
            .before
            .iter()
            .rev()
            .take(WINDOWS.saturating_sub(passed));
        let now = if passed <= WINDOWS { self.now } else { 0 };
        whole.fold(now, |sum, &n| sum.saturating_add(n))
    }

    /// Whether it is one that [`Departures::add`] leads to by the time given.
    pub fn is_sound(&self, now_s: u32) -> bool {
        self.window <= now_s / WINDOW_S && self.before.len() <= WINDOWS
    }
}

/// The one of some windows that so many come before by size.
fn nth(windows: &[u64], n: usize) -> Option<u64> {
    let mut sorted = [0; WINDOWS];
    let sorted = sorted.get_mut(..windows.len())?;
    sorted.copy_from_slice(windows);
    sorted.sort_unstable();
    sorted.get(n).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_region_has_its_rate() {
        let mut departures = Departures::default();
        assert_eq!(departures.rates(), Rates::default());
        for second in 0..100 {
            departures.add(second, 7);
        }
        assert_eq!(
            departures.rates(),
            Rates {
                usual: 7_000,
                low: 7_000
            }
        );
        // A silence of any length is windows without departures, and no more of them than are kept.
        departures.add(400_000_000, 0);
        assert_eq!(departures.rates(), Rates { usual: 0, low: 0 });
        assert!(departures.before.len() <= WINDOWS);
        assert_eq!(estimate(0, 0, 0), None);
    }

    #[test]
    fn a_slow_tenth_is_told() {
        let mut departures = Departures::default();
        for second in 0..310 {
            departures.add(second, if second / 10 % 5 == 0 { 4 } else { 10 });
        }
        assert_eq!(
            departures.rates(),
            Rates {
                usual: 10_000,
                low: 4_000
            }
        );
    }

    #[test]
    fn estimates_are_a_range() {
        // 99 ahead at 10 a second: the turn comes with the hundredth departure.
        assert_eq!(
            estimate(99, 10_000, 10_000),
            Some(Wait {
                p50_s: 10,
                p90_s: 12
            })
        );
        assert_eq!(
            estimate(99, 10_000, 5_000),
            Some(Wait {
                p50_s: 10,
                p90_s: 23
            })
        );
        assert_eq!(
            estimate(0, 1, 9),
            Some(Wait {
                p50_s: 1_000,
                p90_s: 2_282
            })
        );
        let most = u32::MAX;
        assert_eq!(
            estimate(u64::MAX, 1, 1),
            Some(Wait {
                p50_s: most,
                p90_s: most
            })
        );
    }
}
