//! How long somebody will wait, from how fast the queue has moved.

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
