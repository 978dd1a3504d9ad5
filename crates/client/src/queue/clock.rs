//! Cluster time, as far as a front-end knows it.

use std::time::Duration;

/// How many answers are looked back on.
const ANSWERS: usize = 8;
/// Cluster time is told in whole milliseconds.
const TICK_US: i64 = 1_000;

/// Estimates cluster time from the answers' time and the front-end's own clock, by the answer of the last
/// few that was quickest on its way. Where there was no leader for a while, the cluster's time has fallen
/// behind: that shows as soon as an answer says less than those before it would have by when its request was
/// sent, and they count no more then.
///
/// The seconds of those who come never go back: they go at half speed then until the cluster's time is met, so
/// that who comes later still gets a later one.
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
    /// What those who come go by then.
    arrivals: Duration,
}

impl ClusterClock {
    /// The cluster said its time in an answer that came at `now`, to what was asked at `asked`.
    pub fn learn(&mut self, asked: Duration, now: Duration, cluster_ms: u64) {
        let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let said_us = i64::try_from(cluster_ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        let (at_least, at_most) = (
            said_us.saturating_sub(us(now)),
            said_us.saturating_sub(us(asked)).saturating_add(TICK_US),
        );
        let seen = &self.ahead_us[..self.answers.min(ANSWERS)];
        let before = seen.iter().max().copied();
        if before.is_some_and(|before| before > at_most) {
            self.answers = 0;
        }
        self.ahead_us[self.answers % ANSWERS] = at_least;
        self.answers += 1;
        let seen = &self.ahead_us[..self.answers.min(ANSWERS)];
        let ahead_us = seen.iter().max().copied().unwrap_or(0);
        let cluster_us = us(now).saturating_add(ahead_us).max(0);
        let cluster = Duration::from_micros(cluster_us.unsigned_abs());
        let arrivals = self.arrivals(now).unwrap_or(cluster).max(cluster);
        self.known = Some(Known {
            at: now,
            cluster,
            arrivals,
        });
    }

    /// The second for those who come at `now`; `None` before the cluster has said its time.
    pub fn second(&self, now: Duration) -> Option<u32> {
        let seconds = self.arrivals(now)?.as_secs();
        // Below what stands for no second at all.
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    fn arrivals(&self, now: Duration) -> Option<Duration> {
        let known = self.known?;
        let passed = now.saturating_sub(known.at);
        Some((known.cluster + passed).max(known.arrivals + passed / 2))
    }

    /// Cluster time at `now`; `None` before the cluster has said it.
    pub fn time(&self, now: Duration) -> Option<Duration> {
        let known = self.known?;
        Some(known.cluster + now.saturating_sub(known.at))
    }

    /// When it will be that cluster time, on the own clock, as far as is known now.
    pub fn when(&self, cluster: Duration) -> Option<Duration> {
        let known = self.known?;
        Some(known.at + cluster.saturating_sub(known.cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What was asked at `asked` seconds was answered half a second later.
    fn learn(clock: &mut ClusterClock, asked: u64, cluster_ms: u64) {
        clock.learn(s(asked), s(asked) + HALF, cluster_ms);
    }

    const HALF: Duration = Duration::from_millis(500);

    #[test]
    fn follows_the_cluster_and_its_own_clock_in_between() {
        let mut clock = ClusterClock::default();
        assert_eq!(clock.second(s(5)), None);
        clock.learn(s(5), s(5), 100_000);
        assert_eq!(clock.second(s(5)), Some(100));
        assert_eq!(clock.second(s(9)), Some(104));
        clock.learn(s(10), s(10), 200_900);
        assert_eq!(clock.second(s(10)), Some(200));
    }

    #[test]
    fn goes_by_the_answer_that_was_quickest_on_its_way() {
        let mut clock = ClusterClock::default();
        for (at, late_ms) in [(1, 20), (2, 5), (3, 90), (4, 30)] {
            clock.learn(s(at), s(at) + ms(late_ms), 100_000 + at * 1_000);
        }
        let lag = s(110) - clock.time(s(10)).unwrap();
        assert_eq!(lag, ms(5));
        assert_eq!(clock.when(s(111)), Some(s(11) + lag));
    }

    #[test]
    fn what_was_known_before_the_clusters_time_stood_counts_no_more() {
        let mut clock = ClusterClock::default();
        (0..4).for_each(|at| learn(&mut clock, at, at * 1_000));
        // It may have stood for as long as the answer was under way, and not longer.
        learn(&mut clock, 4, 3_600);
        assert_eq!(clock.time(s(5)), Some(ms(4_500)));
        learn(&mut clock, 5, 2_000);
        assert_eq!(clock.time(s(5) + HALF), Some(s(2)));
        learn(&mut clock, 6, 3_000);
        assert_eq!(clock.time(s(7)), Some(ms(3_500)));
        assert_eq!(clock.when(ms(3_500)), Some(s(7)));
    }

    #[test]
    fn seconds_of_arrival_go_slower_and_never_back_until_the_cluster_has_caught_up() {
        let mut clock = ClusterClock::default();
        clock.learn(s(0), s(0), 0);
        clock.learn(s(100), s(100), 60_000);
        let seconds: Vec<_> = (100..200).map(|t| clock.second(s(t)).unwrap()).collect();
        assert!(seconds.is_sorted());
        assert_eq!(
            (seconds[0], seconds[40], seconds[80], seconds[99]),
            (100, 120, 140, 159)
        );
        assert_eq!(clock.time(s(120)), Some(s(80)), "whose turn it is by");
    }
}
