//! When requests come that are many people's: a Poisson process. Each comes at its own time, whenever the one before
//! came, and whatever was answered so far.

use std::time::Duration;

use fastrand::Rng;

/// How often in all, and which of all processes as often.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    /// A second, on average.
    pub rate: u32,
    /// The same seed gives the same times.
    pub seed: u64,
}

impl Arrivals {
    /// Shared out over as many askers: each one's is a Poisson process as well, and independent of the others'.
    pub fn share(self, askers: usize) -> impl Iterator<Item = Gaps> {
        let mean = askers as f64 / f64::from(self.rate.max(1));
        let mut rng = Rng::with_seed(self.seed);
        (0..askers).map(move |_| Gaps {
            mean,
            rng: rng.fork(),
        })
    }
}

/// The gaps from each of one asker's requests to the next, without end.
#[derive(Debug)]
pub struct Gaps {
    /// In seconds.
    mean: f64,
    rng: Rng,
}

impl Gaps {
    /// The next: exponential, as the gaps of what comes at random are.
    pub fn next(&mut self) -> Duration {
        // Of what is above 0 and at most 1, whose logarithm is finite: at the most it is 37 times the mean.
        let uniform = 1.0 - self.rng.f64();
        Duration::from_secs_f64(-uniform.ln() * self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, askers: usize, each: usize) -> Vec<Vec<f64>> {
        let of = |mut gaps: Gaps| (0..each).map(|_| gaps.next().as_secs_f64()).collect();
        arrivals.share(askers).map(of).collect()
    }

    #[test]
    fn gaps_are_exponential_and_as_long_as_the_rate_says() {
        let (askers, rate) = (50, 200);
        let all = gaps(Arrivals { rate, seed: 7 }, askers, 2_000).concat();
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let deviation = (all.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count).sqrt();
        // 50 askers at 200 a second in all are 4 a second each. Of 100,000, either is off by a third of a percent.
        assert!((mean - 0.25).abs() < 0.005, "{mean}");
        assert!((deviation - mean).abs() < 0.01, "{deviation}");
        let long = all.iter().filter(|gap| **gap > 0.5).count() as f64 / count;
        assert!((long - (-2_f64).exp()).abs() < 0.005, "{long}");
    }

    #[test]
    fn a_seed_gives_the_same_times_and_another_one_others() {
        let of = |seed| gaps(Arrivals { rate: 15_000, seed }, 64, 10);
        assert_eq!(of(1), of(1));
        let (one, two) = (of(1), of(2));
        assert!(one.iter().all(|gaps| !two.contains(gaps)));
        assert!(one.iter().skip(1).all(|gaps| *gaps != one[0]));
        // As long as a gap can be at the lowest rate is a time all the same.
        let rare = Arrivals { rate: 0, seed: 1 };
        assert!(gaps(rare, 10_000, 1).concat().iter().all(|gap| *gap >= 0.0));
    }
}
