//! Chance by counter: what a user draws depends on the seed, the user and what is drawn, and on nothing
//! that happened before. So every policy meets the same users.

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Draw {
    /// A region's place around the hour.
    Stagger,
    /// When a user comes, and of which class they are.
    Arrival,
    /// How long a session lasts.
    Session,
    /// How long a user waits before they give up, and whether they say so.
    Patience,
    /// When a user tries again.
    Retry,
    /// Which front-end a user comes to, and when a front-end reports.
    FrontEnd,
    /// Delays and losses of messages.
    Network,
    /// Who is next, by lot.
    Lot,
}

/// A generator for one thing that one user (or region, or front-end) draws.
pub fn rng(seed: u64, draw: Draw, of: u64) -> fastrand::Rng {
    // An odd multiple spreads the counters over all 64 bits, and the generator's own mixing does the rest.
    let counter = (of << 4 | draw as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    fastrand::Rng::with_seed(seed.rotate_left(32) ^ counter)
}

/// Above 0 and under 1, so that every logarithm is finite.
pub fn open_unit(rng: &mut fastrand::Rng) -> f64 {
    rng.f64().clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}

/// Exponentially distributed, of that mean.
pub fn exponential(rng: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * open_unit(rng).ln()
}

/// Normally distributed, of mean 0 and deviation 1 (Box and Muller).
pub fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * open_unit(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_neighbours_and_of_one_user_are_apart() {
        let mut seen: Vec<u64> = (0..1_000)
            .flat_map(|user| {
                [Draw::Arrival, Draw::Session, Draw::Patience].map(|d| rng(7, d, user).u64(..))
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3_000);
    }

    #[test]
    fn the_mean_over_users_is_that_of_the_distribution() {
        let mean = |f: &dyn Fn(&mut fastrand::Rng) -> f64| {
            (0..100_000)
                .map(|user| f(&mut rng(1, Draw::Session, user)))
                .sum::<f64>()
                / 100_000.0
        };
        let exponential = mean(&|rng| exponential(rng, 600.0));
        assert!((595.0..605.0).contains(&exponential), "{exponential}");
        let normal = mean(&|rng| normal(rng));
        assert!(normal.abs() < 0.02, "{normal}");
    }
}
