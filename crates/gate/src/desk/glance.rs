//! How things stood a moment ago.

use std::time::{Duration, Instant};

use client::QueueStatus;

/// The coordinator is called unreachable when it has been for so long: a change of leader takes less.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// How things stood at some moment, for what need not be known to the instant.
#[derive(Debug)]
pub struct Glance {
    /// The queue.
    pub status: QueueStatus,
    /// The class of whoever is of none in particular.
    pub first_class: String,
    at: Instant,
    /// When the coordinator was last heard.
    connected_at: Instant,
    /// Until when the lease lasts, or when it ended.
    leased_until: Instant,
}

impl Glance {
    /// How things stand at `now`, after how they stood `before`.
    pub fn new(
        before: Option<&Self>,
        status: QueueStatus,
        first_class: String,
        now: Instant,
    ) -> Self {
        let connected_at = match before {
            Some(before) if !status.lease.connected => before.connected_at,
            _ => now,
        };
        let lasts = status.lease.expires_in;
        let leased_until = match before {
            Some(before) if lasts.is_zero() => before.leased_until.min(now),
            _ => now + lasts,
        };
        Self {
            status,
            first_class,
            at: now,
            connected_at,
            leased_until,
        }
    }

    /// Whether nothing can be asked of the coordinator at `now`, or nothing is to be had from it.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        let lease = &self.status.lease;
        let silent_since = |since| now.saturating_duration_since(since) >= SILENT_FOR;
        // Without a lease, or under another's name, nobody is let in whatever the coordinator answers.
        if lease.superseded || silent_since(self.leased_until) {
            return true;
        }
        !lease.connected && (self.leased_until <= now || silent_since(self.connected_at))
    }

    /// The second of cluster time.
    pub fn second(&self) -> u32 {
        let since = u32::try_from(self.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.status.second.saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Status;
    use client::queue::Accuracy;

    fn glance(before: Option<&Glance>, lease: Status, at: Instant) -> Glance {
        let status = QueueStatus {
            lease,
            waiting: 0,
            open: true,
            mode: quota::Mode::Open,
            reason: String::new(),
            floor: 0,
            second: 0,
            accuracy: Accuracy::default(),
        };
        Glance::new(before, status, String::new(), at)
    }

    #[test]
    fn cut_off_is_who_hears_nothing_for_long_or_has_nothing_to_give() {
        let (start, s) = (Instant::now(), Duration::from_secs);
        let lease = |expires_in, connected| Status {
            expires_in,
            connected,
            ..Status::default()
        };
        let well = glance(None, lease(s(10), true), start);
        assert!(!well.is_cut_off(start + s(1)));
        let silent = glance(Some(&well), lease(s(9), false), start + s(1));
        assert!(!silent.is_cut_off(start + s(4)));
        assert!(silent.is_cut_off(start + s(5)));
        let short = glance(Some(&well), lease(s(1), false), start + s(1));
        assert!(
            short.is_cut_off(start + s(2)),
            "silent, and without a lease"
        );

        // The coordinator answers, and gives no lease any more.
        let mut without = glance(Some(&well), lease(s(0), true), start + s(2));
        for second in 3..7 {
            assert!(!without.is_cut_off(start + s(second)), "{second}");
            without = glance(Some(&without), lease(s(0), true), start + s(second));
        }
        assert!(without.is_cut_off(start + s(7)));
        let again = glance(Some(&without), lease(s(10), true), start + s(8));
        assert!(!again.is_cut_off(start + s(8)));

        let superseded = Status {
            superseded: true,
            ..lease(s(10), true)
        };
        assert!(glance(None, superseded, start).is_cut_off(start));
    }
}
