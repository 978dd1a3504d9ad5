//! The morning of 6 April 2021, as a model: who opens a portal when, and how long they stay.
//!
//! Known are the pupils (12 million), where they live and the time there. Everything else is assumed, and
//! said in [`Assumed`].

use serde::Serialize;

use crate::failure::Failure;

/// Pupils in all, shared out in proportion to population.
pub const PUPILS: u64 = 12_000_000;
/// The regions of France: population and time zone.
const REGIONS: &str = include_str!("../../../../deploy/data/regions.csv");

/// What the model assumes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Assumed {
    /// When school begins, in minutes of the local day.
    pub school_begins_min: i64,
    /// Half of a region's pupils have come by then. Arrivals follow a logistic curve, of this scale: 76 %
    /// of them come within twice it of the middle.
    pub arrival_scale_s: f64,
    /// A region's curve lies up to this much earlier or later, by chance.
    pub stagger_s: f64,
    /// Sessions end at random, as a phone call does: after this time on average...
    pub session_mean_s: f64,
    /// ... but not before this, and not after that.
    pub session_shortest_s: f64,
    pub session_longest_s: f64,
    /// The parts of all users that are teachers, and that sit an exam this year, where the pool has classes
    /// `teachers` and `exams`; the other classes have equal parts of the rest.
    pub teachers: f64,
    pub exams: f64,
    /// The part of the morning that is played, in minutes of the day in Paris. The next morning follows at
    /// once.
    pub from_min: i64,
    pub to_min: i64,
}

impl Default for Assumed {
    fn default() -> Self {
        Self {
            school_begins_min: 9 * 60,
            arrival_scale_s: 60.0,
            stagger_s: 90.0,
            session_mean_s: 600.0,
            session_shortest_s: 60.0,
            session_longest_s: 1_800.0,
            teachers: 0.06,
            exams: 0.15,
            from_min: 8 * 60 + 56,
            to_min: 9 * 60 + 41,
        }
    }
}

impl Assumed {
    /// How long a morning lasts, in seconds.
    pub fn length_s(&self) -> f64 {
        ((self.to_min - self.from_min) * 60) as f64
    }

    /// The time in Paris that many seconds after the first morning began, as `HH:MM:SS`.
    pub fn clock(&self, seconds: f64) -> String {
        let into = (seconds.max(0.0) % self.length_s()) as i64;
        let day = self.from_min * 60 + into;
        format!("{:02}:{:02}:{:02}", day / 3_600, day / 60 % 60, day % 60)
    }

    /// Each of these classes with the part of all users that is up to it and those before it.
    pub fn classes(&self, names: &[String]) -> Vec<(String, f64)> {
        let known = |name: &str| match name {
            "teachers" => Some(self.teachers),
            "exams" => Some(self.exams),
            _ => None,
        };
        let sum: f64 = names.iter().filter_map(|name| known(name)).sum();
        let others = names.iter().filter(|name| known(name).is_none()).count();
        let other = (1.0 - sum) / others.max(1) as f64;
        let mut up_to = 0.0;
        let part = names.iter().map(|name| {
            up_to += known(name).unwrap_or(other);
            (name.clone(), up_to)
        });
        part.collect()
    }

    /// How long a session lasts, in seconds.
    pub fn session_s(&self, rng: &mut fastrand::Rng) -> f64 {
        // `1 - f64()` is never 0.
        let drawn = -self.session_mean_s * (1.0 - rng.f64()).ln();
        drawn.clamp(self.session_shortest_s, self.session_longest_s)
    }
}

/// The pupils of a region.
#[derive(Debug, Clone, PartialEq)]
pub struct Pupils {
    /// How many, at the scale.
    pub count: u64,
    /// When half of them have come, in seconds after the morning begins; negative where that was before.
    middle_s: f64,
}

impl Pupils {
    /// When those come who come in this part of the day, in seconds after the morning begins and in order.
    pub fn arrivals(&self, assumed: &Assumed, rng: &mut fastrand::Rng) -> Vec<f64> {
        let shift = assumed.stagger_s * (2.0 * rng.f64() - 1.0);
        let mut times: Vec<f64> = (0..self.count)
            .filter_map(|_| {
                // Strictly between 0 and 1, so that the logarithm is finite.
                let part = rng.f64().clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                let time =
                    self.middle_s + shift + assumed.arrival_scale_s * (part / (1.0 - part)).ln();
                (0.0..assumed.length_s()).contains(&time).then_some(time)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// The pupils of each of `regions`, one for every `scale` in life.
pub fn pupils(regions: &[String], scale: u64, assumed: &Assumed) -> Result<Vec<Pupils>, Failure> {
    let known: Vec<Known> = REGIONS.lines().skip(1).filter_map(Known::parse).collect();
    let of_region = |name: &String| {
        known.iter().find(|known| known.region == name).ok_or_else(|| {
            Failure::usage(format!(
                "region {name:?} of the file is none of the 18 whose pupils are known ({}); with \
                 --no-load any will do",
                known.iter().map(|known| known.region).collect::<Vec<_>>().join(", ")
            ))
        })
    };
    let regions: Vec<&Known> = regions.iter().map(of_region).collect::<Result<_, _>>()?;
    // By the whole country, so that a file with fewer regions has fewer pupils.
    let population: u64 = known.iter().map(|known| known.population).sum();
    Ok(regions
        .into_iter()
        .map(|known| {
            let pupils = PUPILS as f64 * known.population as f64 / population as f64;
            let middle_min =
                assumed.school_begins_min - known.ahead_of_paris_min - assumed.from_min;
            Pupils {
                count: (pupils / scale as f64).round() as u64,
                middle_s: (middle_min * 60) as f64,
            }
        })
        .collect())
}

/// A line of the table of regions.
struct Known {
    region: &'static str,
    population: u64,
    ahead_of_paris_min: i64,
}

impl Known {
    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split(',').skip(1);
        let region = fields.next()?;
        let population = fields.nth(1)?.parse().ok()?;
        Some(Self {
            region,
            population,
            ahead_of_paris_min: ahead_of_paris_min(fields.next()?)?,
        })
    }
}

/// How far the clocks there are ahead of those in Paris, in minutes, on 6 April 2021: it is summer time in
/// Paris (UTC+2), and nowhere else is there such a thing.
fn ahead_of_paris_min(timezone: &str) -> Option<i64> {
    let utc_offset = match timezone {
        "Europe/Paris" => 2,
        "Indian/Reunion" => 4,
        "Indian/Mayotte" => 3,
        "America/Cayenne" => -3,
        "America/Guadeloupe" | "America/Martinique" => -4,
        _ => return None,
    };
    Some((utc_offset - 2) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<String> {
        let names = REGIONS.lines().skip(1);
        names
            .map(|line| line.split(',').nth(1).unwrap().to_owned())
            .collect()
    }

    fn morning(seed: u64) -> Vec<Vec<f64>> {
        let assumed = Assumed::default();
        let mut rng = fastrand::Rng::with_seed(seed);
        let pupils = pupils(&all(), 1_000, &assumed).unwrap();
        pupils
            .iter()
            .map(|p| p.arrivals(&assumed, &mut rng))
            .collect()
    }

    #[test]
    fn every_region_is_known_and_the_pupils_add_up() {
        let regions = all();
        assert_eq!(regions.len(), 18);
        let pupils = pupils(&regions, 1_000, &Assumed::default()).unwrap();
        let count: u64 = pupils.iter().map(|p| p.count).sum();
        assert!(count.abs_diff(12_000) <= 9, "{count}");
        assert_eq!(
            pupils[0].count, 2_188,
            "Île-de-France: 12,463,067 of 68,350,798"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_morning() {
        assert_eq!(morning(7), morning(7));
        assert_ne!(morning(7), morning(8));
    }

    #[test]
    fn arrivals_peak_at_nine_and_the_overseas_regions_are_idle_then() {
        let by_region = morning(1);
        for (region, times) in all().iter().zip(&by_region) {
            assert!(times.is_sorted());
            let overseas = [
                "guadeloupe",
                "martinique",
                "guyane",
                "la-reunion",
                "mayotte",
            ];
            assert_eq!(
                times.is_empty(),
                overseas.contains(&region.as_str()),
                "{region}"
            );
        }
        let times: Vec<f64> = by_region.concat();
        let between = |from: f64, to: f64| {
            times.iter().filter(|t| (from..to).contains(*t)).count() as f64 / times.len() as f64
        };
        assert!(
            between(120.0, 360.0) > 0.7,
            "08:58 to 09:02: {}",
            between(120.0, 360.0)
        );
        assert!(between(600.0, 2_700.0) < 0.01);
    }

    #[test]
    fn a_region_that_nobody_knows_is_named() {
        let message = pupils(&["atlantide".into()], 1, &Assumed::default()).unwrap_err();
        assert!(
            message
                .to_string()
                .contains("region \"atlantide\" of the file")
        );
        assert!(message.to_string().contains("normandie"));
    }

    #[test]
    fn sessions_last_ten_minutes_on_average_within_their_bounds() {
        let assumed = Assumed::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let drawn: Vec<f64> = (0..10_000).map(|_| assumed.session_s(&mut rng)).collect();
        assert!(drawn.iter().all(|s| (60.0..=1_800.0).contains(s)));
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((550.0..620.0).contains(&mean), "{mean}");
    }

    #[test]
    fn the_clock_shows_paris_and_begins_again_each_morning() {
        let assumed = Assumed::default();
        assert_eq!(assumed.clock(0.0), "08:56:00");
        assert_eq!(assumed.clock(245.5), "09:00:05");
        assert_eq!(assumed.clock(45.0 * 60.0 + 1.0), "08:56:01");
    }
}
