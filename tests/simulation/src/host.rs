//! A machine: a runtime of its own on a clock of its own. It runs a little at a time, can stand still, and can
//! end between any two steps of any task.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::system;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The monotonic clock of the machine that runs now.
pub fn clock() -> Duration {
    let began = BEGAN.get();
    // A day, as machines run for a while before anything starts on them.
    Duration::from_secs(86_400) + began.map_or(Duration::ZERO, |began| began.elapsed())
}

/// The widest drift between two clocks of a run, in parts of a million, as its pools are told.
pub fn widest_drift_ppm(seed: u64) -> u32 {
    match seed % 8 {
        // A holder's margin is less than the way of a slow message there.
        5 => 1_000,
        // And here clocks part by far more than that.
        6 => 40_000,
        _ => 10_000,
    }
}

/// How fast a clock goes: often at a bound of what is allowed.
pub fn drift_ppm(random: &mut fastrand::Rng, widest_ppm: u32) -> i64 {
    // One clock may be ahead of the true time, and another behind.
    let part = match random.u32(0..4) {
        0 => -49,
        1 => 49,
        _ => random.i64(-49..=49),
    };
    i64::from(widest_ppm) * part / 100
}

/// A machine.
pub struct Host {
    runtime: Option<(Runtime, Instant)>,
    /// How much faster than the true time its clock goes, in parts of a million.
    pub drift_ppm: i64,
    /// What its wall clock shows beside the true time.
    pub wall_ns: i64,
    /// It stands still until then.
    pub stands_until_ns: u64,
    /// Local nanoseconds that it has still to live through; those while it stood come all at once.
    owed_ns: u64,
    stood_ns: u64,
}

impl Host {
    /// One that does not run yet.
    pub fn new(drift_ppm: i64) -> Self {
        Self {
            runtime: None,
            drift_ppm,
            wall_ns: 0,
            stands_until_ns: 0,
            owed_ns: 0,
            stood_ns: 0,
        }
    }

    /// Whether it runs, or stands still.
    pub fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// Starts a process on it.
    pub fn start(&mut self, process: impl Future<Output = ()> + Send + 'static) {
        let built = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .event_interval(2)
            .build();
        let Ok(runtime) = built else {
            unreachable!("a runtime without I/O needs nothing of the system");
        };
        let began = {
            let _in = runtime.enter();
            Instant::now()
        };
        runtime.spawn(process);
        (self.owed_ns, self.stood_ns, self.stands_until_ns) = (0, 0, 0);
        self.runtime = Some((runtime, began));
    }

    /// Lets it live through `true_ns` nanoseconds of true time.
    pub fn step(&mut self, true_ns: u64) {
        let Some((runtime, began)) = &self.runtime else {
            return;
        };
        let local = (true_ns as i64 + true_ns as i64 * self.drift_ppm / 1_000_000) as u64;
        if self.stands_until_ns > system::now_ns() {
            self.stood_ns += local;
            return;
        }
        self.owed_ns += local;
        let ms = self.owed_ns / 1_000_000;
        self.owed_ns -= ms * 1_000_000;
        let stood = Duration::from_millis(std::mem::take(&mut self.stood_ns) / 1_000_000);
        BEGAN.set(Some(*began));
        system::set_wall_ns(self.wall_ns);
        runtime.block_on(async move {
            if !stood.is_zero() {
                tokio::time::advance(stood).await;
            }
            match ms {
                0 => tokio::task::yield_now().await,
                ms => tokio::time::sleep(Duration::from_millis(ms)).await,
            }
        });
        BEGAN.set(None);
    }

    /// Ends it after `steps` more steps of its tasks.
    pub fn kill(&mut self, steps: u32) {
        let Some((runtime, began)) = self.runtime.take() else {
            return;
        };
        BEGAN.set(Some(began));
        system::set_wall_ns(self.wall_ns);
        if self.stands_until_ns <= system::now_ns() {
            runtime.block_on(async move {
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
            });
        }
        drop(runtime);
        BEGAN.set(None);
    }
}
