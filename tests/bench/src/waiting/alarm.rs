//! Waits to the microsecond. The runtime's own timers tick in whole milliseconds: whatever is due within one goes out
//! together, and a load of many requests becomes bursts.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel's, for one who waits.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set. It belongs to the runtime that it is made in.
    ///
    /// # Errors
    /// Where the kernel gives no timer, as when too many files are open.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "what replaces it is unsafe, as others might close or change their file: an `OwnedFd` does neither"
        )]
        AsyncFd::new(timer).map(Self)
    }

    /// Until it is `due`, and not before.
    ///
    /// # Errors
    /// Where the kernel refuses to set or to read the timer.
    pub async fn wait(&mut self, due: Instant) -> io::Result<()> {
        let rest = due.saturating_duration_since(Instant::now());
        // A timer that is set to nothing is one that never fires.
        if rest.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO)?,
            it_value: timespec(rest)?,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let fired = ready.try_io(|timer| {
                let mut times = [0; 8];
                Ok(rustix::io::read(timer.get_ref(), &mut times)?)
            });
            // What it was set to before and nobody waited for any more may have woken this one.
            if let Ok(fired) = fired {
                return fired.map(drop);
            }
        }
    }
}

fn timespec(time: Duration) -> io::Result<Timespec> {
    Timespec::try_from(time).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any of these waits takes, on however busy a machine.
    const BOUND: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_fires_and_not_before_its_time() {
        let mut alarm = Alarm::new().unwrap();
        for us in [1, 50, 300, 2_500, 20_000] {
            let due = Instant::now() + Duration::from_micros(us);
            let waited = tokio::time::timeout(BOUND, alarm.wait(due)).await;
            waited.unwrap().unwrap();
            assert!(Instant::now() >= due, "{us}");
        }
        // What is past is not waited for.
        let waited = tokio::time::timeout(BOUND, alarm.wait(Instant::now())).await;
        waited.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_wakes_nobody_early() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..20 {
            let given_up = Duration::from_millis(1);
            let soon = Instant::now() + Duration::from_micros(1_100);
            let _ = tokio::time::timeout(given_up, alarm.wait(soon)).await;
            let due = Instant::now() + Duration::from_millis(5);
            let waited = tokio::time::timeout(BOUND, alarm.wait(due)).await;
            waited.unwrap().unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
