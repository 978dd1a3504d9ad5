//! What is counted while the load runs, and the figures made of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::Code;

use crate::failure::Failure;

/// Latencies are told apart up to this; a longer one counts as this long.
const LONGEST_US: u64 = 600 * 1_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Holders share this many histograms at most: one each would take more memory than the load itself.
const SHARDS: usize = 16;

/// Counts what many holders do at once.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    /// Answers after this much time are not counted.
    window: Duration,
    shards: Vec<Mutex<Shard>>,
    /// Microseconds from the start to the last good answer, and the longest time without any.
    last_answer_us: AtomicU64,
    gap_us: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    latency_us: Histogram<u64>,
    counts: Counts,
}

/// Sums over answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    takes: u64,
    renews: u64,
    slots: u64,
    errors: BTreeMap<&'static str, u64>,
}

/// Which call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Take,
    Renew,
}

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// How long was measured.
    pub seconds: f64,
    /// Good answers.
    pub operations: u64,
    pub operations_per_second: f64,
    /// Those that took a lease.
    pub takes: u64,
    /// Those that kept one.
    pub renews: u64,
    /// Slots that answers added to what their holder had, a second.
    pub slots_per_second: f64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub max_us: u64,
    /// The longest time in which nobody had a good answer.
    pub gap_ms: f64,
    /// Failed tries, by status code.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Begins to measure, for as long as `window`.
    pub fn start(window: Duration) -> Result<Self, Failure> {
        let shard = || {
            Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
                .map(|latency_us| {
                    Mutex::new(Shard {
                        latency_us,
                        counts: Counts::default(),
                    })
                })
                .map_err(|e| Failure::operation(format!("can't make a histogram: {e}")))
        };
        Ok(Self {
            shards: (0..SHARDS).map(|_| shard()).collect::<Result<_, _>>()?,
            started: Instant::now(),
            window,
            last_answer_us: AtomicU64::new(0),
            gap_us: AtomicU64::new(0),
        })
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// When the measuring ends.
    pub fn end(&self) -> Instant {
        self.started + self.window
    }

    /// A good answer, from its first sending to now; `slots` is what it added.
    pub fn answered(&self, holder: usize, kind: Kind, sent: Duration, now: Duration, slots: u64) {
        if now > self.window {
            return;
        }
        let before = self
            .last_answer_us
            .fetch_max(micros(now), Ordering::Relaxed);
        self.gap_us
            .fetch_max(micros(now).saturating_sub(before), Ordering::Relaxed);
        let mut shard = self.shard(holder);
        shard
            .latency_us
            .saturating_record(micros(now.saturating_sub(sent)));
        shard.counts.slots += slots;
        match kind {
            Kind::Take => shard.counts.takes += 1,
            Kind::Renew => shard.counts.renews += 1,
        }
    }

    /// A try that failed.
    pub fn failed(&self, holder: usize, code: Code, now: Duration) {
        if now <= self.window {
            let mut shard = self.shard(holder);
            *shard.counts.errors.entry(code_name(code)).or_default() += 1;
        }
    }

    fn shard(&self, holder: usize) -> std::sync::MutexGuard<'_, Shard> {
        self.shards[holder % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Good answers so far.
    pub fn operations(&self) -> u64 {
        (0..SHARDS)
            .map(|at| {
                let shard = self.shard(at);
                shard.counts.takes + shard.counts.renews
            })
            .sum()
    }

    /// The figures so far; final once the window is over.
    pub fn figures(&self) -> Result<Figures, Failure> {
        let measured = self.now().min(self.window);
        let mut latency = Histogram::<u64>::new_with_bounds(1, LONGEST_US, DIGITS)
            .map_err(|e| Failure::operation(format!("can't make a histogram: {e}")))?;
        let mut sum = Counts::default();
        for at in 0..SHARDS {
            let shard = self.shard(at);
            latency
                .add(&shard.latency_us)
                .map_err(|e| Failure::operation(format!("can't add histograms: {e}")))?;
            sum.takes += shard.counts.takes;
            sum.renews += shard.counts.renews;
            sum.slots += shard.counts.slots;
            for (code, count) in &shard.counts.errors {
                *sum.errors.entry(code).or_default() += count;
            }
        }
        let since_last =
            micros(measured).saturating_sub(self.last_answer_us.load(Ordering::Relaxed));
        let gap_us = self.gap_us.load(Ordering::Relaxed).max(since_last);
        let operations = sum.takes + sum.renews;
        let seconds = measured.as_secs_f64();
        let a_second = |count: u64| rounded(count as f64 / seconds.max(f64::EPSILON), 1);
        Ok(Figures {
            seconds: rounded(seconds, 3),
            operations,
            operations_per_second: a_second(operations),
            takes: sum.takes,
            renews: sum.renews,
            slots_per_second: a_second(sum.slots),
            mean_us: rounded(latency.mean(), 1),
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            p99_9_us: latency.value_at_quantile(0.999),
            max_us: latency.max(),
            gap_ms: rounded(gap_us as f64 / 1_000.0, 1),
            errors: sum.errors,
        })
    }
}

/// Microseconds of a time.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// A status code by the name that gRPC's specification gives it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_figures_add_up_over_holders_and_leave_out_what_comes_late() {
        let stats = Stats::start(ms(1_000)).unwrap();
        for holder in 0..100 {
            let now = ms(5 * holder as u64);
            stats.answered(holder, Kind::Take, now.saturating_sub(ms(2)), now, 10);
        }
        stats.answered(3, Kind::Renew, ms(500), ms(900), 0);
        stats.answered(3, Kind::Renew, ms(0), ms(1_001), 99);
        stats.failed(1, Code::Unavailable, ms(10));
        stats.failed(2, Code::Unavailable, ms(10));
        stats.failed(2, Code::NotFound, ms(1_002));
        let figures = stats.figures().unwrap();
        assert_eq!(
            (figures.operations, figures.takes, figures.renews),
            (101, 100, 1)
        );
        assert_eq!(stats.operations(), 101);
        assert!((1_990..=2_010).contains(&figures.p50_us), "{figures:?}");
        assert!((399_000..=401_000).contains(&figures.max_us), "{figures:?}");
        assert_eq!(figures.errors, BTreeMap::from([("UNAVAILABLE", 2)]));
        assert_eq!(figures.gap_ms, 405.0, "from 495 ms to 900 ms");
    }

    #[test]
    fn no_answer_at_all_is_one_long_gap() {
        let stats = Stats::start(ms(20)).unwrap();
        std::thread::sleep(ms(30));
        let figures = stats.figures().unwrap();
        assert_eq!(figures.gap_ms, 20.0);
        assert_eq!((figures.operations, figures.max_us), (0, 0));
    }
}
