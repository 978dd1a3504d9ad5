//! Cluster time, as far as a front-end knows it.

use std::time::Duration;

/// How many answers are looked back on.
const ANSWERS: usize = 8;

/// Estimates cluster time from the answers' time and the front-end's own clock, by the answer of the last
/// few that was quickest on its way. It never goes back: where the cluster's time has fallen behind, because
/// for a while there was no leader to count it, the estimate goes at half speed until it is met, so that who
/// comes later still gets a later second.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClusterClock {
    known: Option<Known>,
    /// By how much cluster time was ahead of the own clock at least, by the last answers, in microseconds.
    ahead_us: [i64; ANSWERS],
    answers: usize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    at: Duration,
    /// What the cluster's time is by then.
    cluster: Duration,
    /// What the estimate was by then.
    estimate: Duration,
}

impl ClusterClock {
    /// The cluster said its time in an answer that came at `now`.
    pub fn learn(&mut self, now: Duration, cluster_ms: u64) {
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let said_us = i64::try_from(cluster_ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        self.ahead_us[self.answers % ANSWERS] = said_us.saturating_sub(now_us);
        self.answers += 1;
        let seen = &self.ahead_us[..self.answers.min(ANSWERS)];
        let ahead_us = seen.iter().max().copied().unwrap_or(0);
        let cluster_us = now_us.saturating_add(ahead_us).max(0);
        let cluster = Duration::from_micros(cluster_us.unsigned_abs());
        let estimate = self.time(now).unwrap_or(cluster).max(cluster);
        self.known = Some(Known {
            at: now,
            cluster,
            estimate,
        });
    }

    /// The second of cluster time at `now`; `None` before the cluster has said it.
    pub fn second(&self, now: Duration) -> Option<u32> {
        let seconds = self.time(now)?.as_secs();
        // Below what stands for no second at all.
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    /// Cluster time at `now`; `None` before the cluster has said it.
    pub fn time(&self, now: Duration) -> Option<Duration> {
        let known = self.known?;
        let passed = now.saturating_sub(known.at);
        Some((known.cluster + passed).max(known.estimate + passed / 2))
    }

    /// When it will be that cluster time, on the own clock, as far as is known now.
    pub fn when(&self, cluster: Duration) -> Option<Duration> {
        let known = self.known?;
        let straight = cluster.saturating_sub(known.cluster);
        let slowly = cluster.saturating_sub(known.estimate) * 2;
        Some(known.at + straight.min(slowly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn follows_the_cluster_and_its_own_clock_in_between() {
        let mut clock = ClusterClock::default();
        assert_eq!(clock.second(s(5)), None);
        clock.learn(s(5), 100_000);
        assert_eq!(clock.second(s(5)), Some(100));
        assert_eq!(clock.second(s(9)), Some(104));
        clock.learn(s(10), 200_900);
        assert_eq!(clock.second(s(10)), Some(200));
    }

    #[test]
    fn goes_by_the_answer_that_was_quickest_on_its_way() {
        let mut clock = ClusterClock::default();
        for (at, late_ms) in [(1, 20), (2, 5), (3, 90), (4, 30)] {
            clock.learn(s(at), 100_000 + at * 1_000 - late_ms);
        }
        let lag = s(110) - clock.time(s(10)).unwrap();
        assert_eq!(lag, Duration::from_millis(5));
        assert_eq!(clock.when(s(111)), Some(s(11) + lag));
    }

    #[test]
    fn goes_slower_and_never_back_until_the_cluster_has_caught_up() {
        let mut clock = ClusterClock::default();
        clock.learn(s(0), 0);
        for _ in 0..ANSWERS {
            clock.learn(s(100), 60_000);
        }
        let seconds: Vec<_> = (100..200).map(|t| clock.second(s(t)).unwrap()).collect();
        assert!(seconds.is_sorted());
        assert_eq!(
            (seconds[0], seconds[40], seconds[80], seconds[99]),
            (100, 120, 140, 159)
        );
        assert_eq!(clock.when(s(120)), Some(s(140)));
    }
}
