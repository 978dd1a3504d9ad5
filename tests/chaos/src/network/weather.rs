//! What becomes of what is sent, by who sends it to whom: decided here alone, whatever carries it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LOAD;

/// What lies between the nodes. Cheap to clone; clones are the same weather.
#[derive(Clone)]
pub struct Weather(Arc<Mutex<State>>);

struct State {
    /// From, to: nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// Between nodes: at least, and up to so much more.
    delay: Option<(Duration, Duration)>,
    /// Between nodes: of a hundred packets.
    loss: u32,
    rng: fastrand::Rng,
    dropped: u64,
}

impl Weather {
    /// Everything passes.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            cut: BTreeSet::new(),
            delay: None,
            loss: 0,
            rng: fastrand::Rng::with_seed(seed),
            dropped: 0,
        })))
    }

    /// Stops everything from one to the other.
    pub fn cut(&self, from: u64, to: u64) {
        self.lock().cut.insert((from, to));
    }

    /// Stops everything between two, both ways.
    pub fn part(&self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Delays what nodes send each other.
    pub fn delay(&self, least: Duration, jitter: Duration) {
        self.lock().delay = Some((least, jitter));
    }

    /// Loses so many of a hundred packets between nodes.
    pub fn lose(&self, percent: u32) {
        self.lock().loss = percent;
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.cut.clear();
        state.delay = None;
        state.loss = 0;
    }

    /// Everything passes again from and to one.
    pub fn join(&self, number: u64) {
        let mut state = self.lock();
        state
            .cut
            .retain(|(from, to)| *from != number && *to != number);
    }

    /// How many have been stopped or lost.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// How long a packet is under way; none where it is lost.
    pub fn fate(&self, from: u64, to: u64) -> Option<Duration> {
        let mut state = self.lock();
        let between_nodes = from != LOAD && to != LOAD;
        let lost = between_nodes && state.rng.u32(0..100) < state.loss;
        if lost || state.cut.contains(&(from, to)) {
            state.dropped += 1;
            return None;
        }
        Some(match state.delay {
            Some((least, jitter)) if between_nodes => least + jitter.mul_f64(state.rng.f64()),
            _ => Duration::ZERO,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_of_one_direction() {
        let weather = Weather::new(1);
        weather.cut(1, 2);
        assert_eq!(weather.fate(1, 2), None);
        assert_eq!(weather.fate(2, 1), Some(Duration::ZERO));
        assert_eq!(weather.dropped(), 1);
    }

    #[test]
    fn loss_and_delay_are_between_nodes_alone() {
        let weather = Weather::new(1);
        weather.lose(30);
        let lost = (0..10_000).filter(|_| weather.fate(1, 2).is_none()).count();
        assert!((2_700..3_300).contains(&lost), "{lost}");
        assert!((0..1_000).all(|_| weather.fate(LOAD, 2).is_some()));
        weather.heal();
        let (least, jitter) = (Duration::from_millis(200), Duration::from_millis(100));
        weather.delay(least, jitter);
        for _ in 0..1_000 {
            let delay = weather.fate(2, 1).unwrap();
            assert!(delay >= least && delay < least + jitter, "{delay:?}");
            assert_eq!(weather.fate(2, LOAD), Some(Duration::ZERO));
        }
    }
}
