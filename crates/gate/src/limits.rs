//! How many requests are borne from one place: by address and by network for whoever shows no good token, and by
//! ticket for whoever waits.
//!
//! What is counted goes into tables of a fixed size, by a seeded hash: nothing is stored of whoever comes, however many
//! they are. Each key has a cell in each of two rows, as in a count-min sketch (Cormode and Muthukrishnan, 2005), and
//! is refused only where both are used up; so whoever does nothing wrong is refused only if they share both
//! with somebody who does. A cell is a leaky bucket in one word (the generic cell rate algorithm, ITU-T I.371).

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::address::{home, network};
use crate::config::ConfigError;

/// Cells of a row: 8 bytes each, so that a table comes to 2 MiB.
const CELLS: usize = 1 << 17;
const ROWS: usize = 2;

/// Rates, in requests a second after a burst of so many.
///
/// A whole school comes from one address, a thousand pupils within two minutes with some requests each; and phones
/// by the ten thousand from one carrier's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Of an address without a good token; an IPv6 address counts by its /56.
    pub address_per_s: u32,
    /// Before that.
    pub address_burst: u32,
    /// Of a network, /24 or /48, without a good token.
    pub network_per_s: u32,
    /// Before that.
    pub network_burst: u32,
    /// Of one ticket.
    pub ticket_per_s: u32,
    /// Before that.
    pub ticket_burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address_per_s: 50,
            address_burst: 3_000,
            network_per_s: 500,
            network_burst: 30_000,
            ticket_per_s: 2,
            ticket_burst: 60,
        }
    }
}

impl Config {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const MOST: u32 = 1_000_000;
        for (field, given) in [
            ("limits.rates.address_per_s", self.address_per_s),
            ("limits.rates.address_burst", self.address_burst),
            ("limits.rates.network_per_s", self.network_per_s),
            ("limits.rates.network_burst", self.network_burst),
            ("limits.rates.ticket_per_s", self.ticket_per_s),
            ("limits.rates.ticket_burst", self.ticket_burst),
        ] {
            if !(1..=MOST).contains(&given) {
                return Err(ConfigError::new(field, given, format!("1 to {MOST}")));
            }
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug)]
pub struct Limits {
    places: Places,
    tickets: Meter,
    told: Meter,
}

impl Limits {
    /// With nothing counted yet.
    pub fn new(config: &Config) -> Self {
        Self {
            places: Places::new(config),
            tickets: Meter::new(config.ticket_per_s, config.ticket_burst),
            told: Meter::new(1, 1),
        }
    }

    /// A request by whoever shows no good token, at `now` since some fixed moment.
    ///
    /// # Errors
    /// How long until the next would be borne.
    pub fn fresh(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.places.take(address, now)
    }

    /// A poll by a ticket.
    ///
    /// # Errors
    /// As [`Limits::fresh`].
    pub fn poll(&self, ticket: &str, now: Duration) -> Result<(), Duration> {
        self.tickets.take(ticket, now)
    }

    /// Whether whoever shows a ticket is told when to ask again for the first time in a second.
    pub fn told(&self, ticket: &str, now: Duration) -> bool {
        self.told.take(ticket, now).is_ok()
    }
}

/// What comes from each address, and from each network.
#[derive(Debug)]
pub struct Places {
    addresses: Meter,
    networks: Meter,
}

impl Places {
    /// With nothing counted yet.
    pub fn new(config: &Config) -> Self {
        Self {
            addresses: Meter::new(config.address_per_s, config.address_burst),
            networks: Meter::new(config.network_per_s, config.network_burst),
        }
    }

    /// One more, at `now` since some fixed moment.
    ///
    /// # Errors
    /// How long until the next would be borne.
    pub fn take(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.addresses.take(home(address), now)?;
        self.networks.take(network(address), now)
    }

    /// Whether one more would be borne.
    pub fn has_room(&self, address: IpAddr, now: Duration) -> bool {
        self.addresses.has_room(home(address), now) && self.networks.has_room(network(address), now)
    }
}

/// One table. No lock, no allocation.
#[derive(Debug)]
struct Meter {
    /// Nanoseconds that one request uses up.
    each: u64,
    /// Nanoseconds that may be used up ahead of time.
    ahead: u64,
    /// When each bucket is empty again, in nanoseconds.
    rows: [Box<[AtomicU64]>; ROWS],
    /// Nobody can know who shares a cell with whom.
    seed: RandomState,
}

impl Meter {
    fn new(per_s: u32, burst: u32) -> Self {
        let each = 1_000_000_000 / u64::from(per_s.max(1));
        let row = || (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Self {
            each,
            ahead: each.saturating_mul(burst.max(1).into()),
            rows: std::array::from_fn(|_| row()),
            seed: RandomState::new(),
        }
    }

    fn take(&self, key: impl Hash, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let waits = self.cells(key).map(|cell| self.pour(cell, now));
        match waits.into_iter().min().unwrap_or(0) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    fn has_room(&self, key: impl Hash, now: Duration) -> bool {
        let now = nanos(now);
        let cells = self.cells(key).into_iter();
        let mut over = cells.map(|cell| self.over(cell.load(Ordering::Relaxed), now));
        over.any(|over| over == 0)
    }

    /// A cell in each row.
    fn cells(&self, key: impl Hash) -> [&AtomicU64; ROWS] {
        // One hash has a place for each row, in bits of its own.
        let hash = self.seed.hash_one(&key);
        std::array::from_fn(|row| &self.rows[row][(hash >> (32 * row)) as usize % CELLS])
    }

    /// How long until one more request has room in a bucket that is empty then.
    fn over(&self, empty: u64, now: u64) -> u64 {
        let full = empty.max(now).saturating_add(self.each);
        full.saturating_sub(now.saturating_add(self.ahead))
    }

    /// Puts one request into a bucket; 0, or how long until it would have room.
    fn pour(&self, cell: &AtomicU64, now: u64) -> u64 {
        let mut empty = cell.load(Ordering::Relaxed);
        loop {
            let over = self.over(empty, now);
            if over > 0 {
                return over;
            }
            let full = empty.max(now).saturating_add(self.each);
            match cell.compare_exchange_weak(empty, full, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return 0,
                Err(other) => empty = other,
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_borne_and_then_the_rate() {
        let meter = Meter::new(10, 5);
        let borne = |now, times| (0..times).filter(|_| meter.take(7, now).is_ok()).count();
        assert_eq!(borne(SECOND, 100), 5);
        assert_eq!(meter.take(7, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(
            borne(2 * SECOND, 100),
            5,
            "no more than a burst is saved up"
        );
        assert_eq!(borne(2 * SECOND + Duration::from_millis(200), 100), 2);
        assert!(meter.take(8, SECOND).is_ok(), "another key");
    }

    proptest! {
        /// Alone, a key is held to exactly what a leaky bucket of its own would bear.
        #[test]
        fn one_key_alone_is_held_to_its_own_bucket(
            per_s in 1u32..1_000, burst in 1u32..50, pauses in prop::collection::vec(0u64..200, 1..200),
        ) {
            let meter = Meter::new(per_s, burst);
            let (mut now, mut level) = (0u64, 0u64);
            let (each, room) = (1_000_000_000 / u64::from(per_s), u64::from(burst));
            for pause in pauses {
                now += pause * 1_000_000;
                level = level.saturating_sub(pause * 1_000_000);
                let borne = level + each <= each * room;
                if borne {
                    level += each;
                }
                prop_assert_eq!(meter.take(1, Duration::from_nanos(now)).is_ok(), borne);
            }
        }
    }

    #[test]
    fn a_flood_from_everywhere_leaves_most_alone() {
        let meter = Meter::new(1, 10);
        for flood in 0..20_000u32 {
            for _ in 0..20 {
                let _ = meter.take(flood, SECOND);
            }
        }
        let refused = (1_000_000..1_010_000u32).filter(|key| meter.take(key, SECOND).is_err());
        // A cell in seven is full: one in 50 shares both.
        assert!(refused.count() < 400);
    }

    #[test]
    fn threads_that_come_together_get_no_more_than_one() {
        let meter = Meter::new(1, 1_000);
        let borne: usize = std::thread::scope(|scope| {
            let work = || (0..1_000).filter(|_| meter.take(1, SECOND).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        // Each row bears exactly the burst, and a request that only one of them had room for was borne by it.
        assert!((1_000..=2_000).contains(&borne), "{borne}");
    }

    #[test]
    fn a_school_and_a_carrier_get_in_and_a_flood_does_not() {
        let limits = Limits::new(&Config::default());
        let school: IpAddr = "192.0.2.1".parse().unwrap();
        // A thousand pupils, two requests each until they have a ticket, within a second even.
        assert!((0..2_000).all(|_| limits.fresh(school, SECOND).is_ok()));
        assert!(limits.places.has_room(school, SECOND));
        let carrier = |n: u32| IpAddr::from((0xC633_6400 | (n % 256)).to_be_bytes());
        assert!((0..25_000).all(|n| limits.fresh(carrier(n), SECOND).is_ok()));
        let flood = (0..100_000).filter(|n| limits.fresh(carrier(*n), SECOND).is_ok());
        assert!(flood.count() < 10_000);
        // A home's addresses are one person's in IPv6, in whichever of its 256 networks.
        let one =
            |n: u128| IpAddr::from((0x2001_0db8_u128 << 96 | (n % 256) << 64 | n).to_be_bytes());
        let borne = (0..100_000).filter(|n| limits.fresh(one(*n), SECOND).is_ok());
        assert_eq!(borne.count(), 3_000);
        assert!(!limits.places.has_room(one(7), SECOND));
        assert!(limits.places.has_room(one(7), 2 * SECOND));
        assert!(limits.poll("a ticket", SECOND).is_ok());
    }
}
