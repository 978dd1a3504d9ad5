//! Figures of one run, and what several runs of the same come to.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use preau::parts::Failure;
use serde::Serialize;

/// Latencies are told apart up to this many microseconds; a longer one counts as this long.
const LONGEST_US: u64 = 600 * 1_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// How long each call took, in microseconds. Kept as they come, so that counting is no part of the load.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// One more.
    pub fn add(&mut self, us: u64) {
        self.0.push(u32::try_from(us).unwrap_or(u32::MAX));
    }

    /// How many calls that were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of somebody else.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The figures, where those calls were about so many leases in so many seconds.
    pub fn figures(
        &self,
        seconds: f64,
        leases: u64,
        errors: BTreeMap<String, u64>,
    ) -> Result<Figures, Failure> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_US, DIGITS)
            .map_err(|e| Failure::operation(format!("can't make a histogram: {e}")))?;
        for us in &self.0 {
            histogram.saturating_record(u64::from(*us));
        }
        Ok(Figures {
            seconds,
            calls: self.0.len() as u64,
            leases,
            per_second: leases as f64 / seconds.max(1e-6),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p99_9_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
            errors,
        })
    }
}

/// What was measured once.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// How long was measured.
    pub seconds: f64,
    /// Calls that were answered well.
    pub calls: u64,
    /// Leases that they were about.
    pub leases: u64,
    /// Leases a second.
    pub per_second: f64,
    /// How long a call took: on average,
    pub mean_us: f64,
    /// half of them at most,
    pub p50_us: u64,
    /// 99 in 100,
    pub p99_us: u64,
    /// 999 in 1,000,
    pub p99_9_us: u64,
    /// and the longest.
    pub max_us: u64,
    /// Calls that failed, by why.
    pub errors: BTreeMap<String, u64>,
}

/// Several values of the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// None of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            lowest,
            highest,
        })
    }
}

/// What was measured, and how it came out in every run.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Of whom, and how.
    pub target: String,
    /// What was done.
    pub what: String,
    /// Clients at a time.
    pub clients: usize,
    /// Leases that one call is about.
    pub leases_per_call: usize,
    /// One for each run, in their order.
    pub runs: Vec<Figures>,
}

impl Row {
    /// One figure over all runs.
    pub fn spread(&self, figure: impl Fn(&Figures) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(figure)).unwrap_or(Spread {
            median: 0.0,
            lowest: 0.0,
            highest: 0.0,
        })
    }

    /// Leases a second.
    pub fn per_second(&self) -> Spread {
        self.spread(|run| run.per_second)
    }

    /// Calls that failed, in all runs.
    pub fn failed(&self) -> u64 {
        let failed = self.runs.iter().map(|run| run.errors.values().sum::<u64>());
        failed.sum()
    }
}

/// All that was measured, in the order in which it came first.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a run has measured.
    pub fn add(
        &mut self,
        (target, leases_per_call): (&str, usize),
        what: &str,
        clients: usize,
        figures: Figures,
    ) {
        match self.find_mut(target, what, clients) {
            Some(row) => row.runs.push(figures),
            None => self.0.push(Row {
                target: target.into(),
                what: what.into(),
                clients,
                leases_per_call,
                runs: vec![figures],
            }),
        }
    }

    fn find_mut(&mut self, target: &str, what: &str, clients: usize) -> Option<&mut Row> {
        let same =
            |row: &&mut Row| row.target == target && row.what == what && row.clients == clients;
        self.0.iter_mut().find(same)
    }

    /// What was measured of this.
    pub fn find(&self, target: &str, what: &str, clients: usize) -> Option<&Row> {
        let same = |row: &&Row| row.target == target && row.what == what && row.clients == clients;
        self.0.iter().find(same)
    }
}

/// How two compare, run by run: what was next to each other in time is divided by each other.
pub fn ratio(over: &Row, under: &Row, figure: impl Fn(&Figures) -> f64) -> Option<Spread> {
    let pairs = over.runs.iter().zip(&under.runs);
    let ratios = pairs.filter_map(|(over, under)| {
        let (over, under) = (figure(over), figure(under));
        (under > 0.0).then(|| over / under)
    });
    Spread::of(ratios)
}

/// How fast `y` grows with `x`, as the power of `x` that fits best: the slope of a straight line through the
/// logarithms of both, by least squares. 1 is in proportion, and 0 not at all. None of fewer than two different `x`.
pub fn power(points: &[(f64, f64)]) -> Option<Power> {
    let logs = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let logs: Vec<(f64, f64)> = logs.map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let across: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
    let along: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
    (along > 0.0).then(|| {
        let slope = across / along;
        Power {
            slope,
            at_one: (y - slope * x).exp(),
        }
    })
}

/// `y = at_one * x ^ slope`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Power {
    pub slope: f64,
    pub at_one: f64,
}

impl Power {
    /// What it is at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.at_one * x.powf(self.slope)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Figures of so many calls, which took 1, 2, 3 … microseconds.
    pub fn figures(calls: u32, seconds: f64) -> Figures {
        let mut latencies = Latencies::default();
        (1..=calls).for_each(|us| latencies.add(us.into()));
        latencies
            .figures(seconds, calls.into(), BTreeMap::new())
            .unwrap()
    }

    #[test]
    fn the_median_is_the_middle_and_the_spread_is_both_ends() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        let of_three = spread(&[9.0, 1.0, 4.0]).unwrap();
        assert_eq!(
            (of_three.median, of_three.lowest, of_three.highest),
            (4.0, 1.0, 9.0)
        );
        assert_eq!(spread(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(spread(&[7.0]).unwrap().median, 7.0);
    }

    #[test]
    fn figures_are_of_all_calls() {
        let figures = figures(1_000, 2.0);
        assert_eq!((figures.calls, figures.per_second), (1_000, 500.0));
        assert_eq!(
            (figures.p50_us, figures.p99_us, figures.max_us),
            (500, 990, 1_000)
        );
    }

    #[test]
    fn a_latency_that_is_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.add(u64::MAX);
        let figures = latencies.figures(1.0, 1, BTreeMap::new()).unwrap();
        assert!(figures.max_us >= LONGEST_US - LONGEST_US / 1_000);
    }

    #[test]
    fn runs_of_the_same_come_together_and_compare_pair_by_pair() {
        let mut rows = Rows::default();
        for (ours, theirs) in [(300, 100), (600, 100), (900, 300)] {
            rows.add(("ours", 1), "grants", 64, figures(ours, 1.0));
            rows.add(("theirs", 1), "grants", 64, figures(theirs, 1.0));
        }
        assert_eq!(rows.0.len(), 2);
        let (ours, theirs) = (
            rows.find("ours", "grants", 64).unwrap(),
            rows.find("theirs", "grants", 64).unwrap(),
        );
        assert_eq!(ours.per_second().median, 600.0);
        let ratio = ratio(ours, theirs, |run| run.per_second).unwrap();
        assert_eq!((ratio.median, ratio.lowest, ratio.highest), (3.0, 3.0, 6.0));
        assert!(rows.find("ours", "grants", 1).is_none());
    }

    #[test]
    fn the_power_of_a_law_is_found_and_that_of_a_point_is_not() {
        let law = |slope: f64| {
            let point = |x: f64| (x, 3.0 * x.powf(slope));
            power(&[10.0, 100.0, 1_000.0, 10_000.0].map(point)).unwrap()
        };
        for slope in [0.0, 0.5, 1.0, 2.0] {
            let found = law(slope);
            assert!((found.slope - slope).abs() < 1e-9, "{found:?}");
            assert!((found.at_one - 3.0).abs() < 1e-6, "{found:?}");
            assert!((found.at(100.0) - 3.0 * 100_f64.powf(slope)).abs() < 1e-3);
        }
        // Nothing has no logarithm.
        let with_nothing = [(0.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 0.0)];
        assert!((power(&with_nothing).unwrap().slope - 1.0).abs() < 1e-9);
        assert_eq!(power(&[]), None);
        assert_eq!(power(&[(5.0, 1.0), (5.0, 2.0)]), None);
    }
}
