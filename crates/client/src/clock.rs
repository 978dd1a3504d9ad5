//! The clock that leases are measured with: it only goes forward, and it goes on while the machine
//! sleeps. Wall clocks take no part.

use std::sync::OnceLock;
use std::time::Duration;

static SIMULATED: OnceLock<fn() -> Duration> = OnceLock::new();

/// Time since some fixed moment before this process began.
pub fn now() -> Duration {
    SIMULATED.get().map_or_else(machine, |now| now())
}

/// Has another clock stand for the machine's, for the whole process and for good: that of a simulation.
pub fn simulate(now: fn() -> Duration) {
    let _ = SIMULATED.set(now);
}

#[cfg(target_os = "linux")]
fn machine() -> Duration {
    // Unlike `Instant`, this counts the time that the machine spent suspended: the cluster counted it.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(target_os = "linux"))]
fn machine() -> Duration {
    use std::time::Instant;
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed()
}
