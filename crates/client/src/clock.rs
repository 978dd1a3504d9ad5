//! The clock that leases are measured with: it only goes forward, and it goes on while the machine
//! sleeps. Wall clocks take no part.

use std::time::Duration;

/// Time since some fixed moment before this process began.
#[cfg(target_os = "linux")]
pub fn now() -> Duration {
    // Unlike `Instant`, this counts the time that the machine spent suspended: the cluster counted it.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Time since some fixed moment before this process began.
#[cfg(not(target_os = "linux"))]
pub fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed()
}
