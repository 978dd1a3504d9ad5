//! Cluster time, as far as a front-end knows it.

use std::time::Duration;

/// Estimates cluster time from the answers' time and the front-end's own clock. It never goes back: where
/// the cluster's time has fallen behind, because for a while there was no leader to count it, the estimate
/// goes at half speed until it is met, so that who comes later still gets a later second.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClusterClock(Option<Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    at: Duration,
    /// What the cluster said.
    cluster: Duration,
    /// What the estimate was by then.
    estimate: Duration,
}

impl ClusterClock {
    /// The cluster said its time in an answer that came at `now`.
    pub fn learn(&mut self, now: Duration, cluster_ms: u64) {
        let cluster = Duration::from_millis(cluster_ms);
        let estimate = self.estimate(now).unwrap_or(cluster).max(cluster);
        self.0 = Some(Known {
            at: now,
            cluster,
            estimate,
        });
    }

    /// The second of cluster time at `now`; `None` before the cluster has said it.
    pub fn second(&self, now: Duration) -> Option<u32> {
        let seconds = self.estimate(now)?.as_secs();
        // Below what stands for no second at all.
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    fn estimate(&self, now: Duration) -> Option<Duration> {
        let known = self.0?;
        let passed = now.saturating_sub(known.at);
        Some((known.cluster + passed).max(known.estimate + passed / 2))
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
    fn goes_slower_and_never_back_until_the_cluster_has_caught_up() {
        let mut clock = ClusterClock::default();
        clock.learn(s(0), 0);
        clock.learn(s(100), 60_000);
        let seconds: Vec<_> = (100..200).map(|t| clock.second(s(t)).unwrap()).collect();
        assert!(seconds.is_sorted());
        assert_eq!(
            (seconds[0], seconds[40], seconds[80], seconds[99]),
            (100, 120, 140, 159)
        );
    }
}
