//! A slow and obvious way to share.
#![allow(clippy::unwrap_used)]

use quota::Claim;

/// What a region asks.
#[derive(Debug, Clone)]
pub struct Asked {
    pub name: String,
    pub demand: u64,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
}

impl Asked {
    pub fn claim(&self) -> Claim<'_> {
        let &Self {
            demand,
            nominal,
            ceiling,
            weight,
            ..
        } = self;
        Claim {
            name: &self.name,
            demand,
            nominal,
            ceiling,
            weight,
        }
    }
    pub fn limit(&self) -> u64 {
        self.demand.min(self.ceiling.unwrap_or(u64::MAX))
    }
    pub fn base(&self) -> u64 {
        self.limit().min(self.nominal)
    }
}

/// A fraction of two numbers, compared without dividing.
pub fn less_or_equal(a: (u128, u128), b: (u128, u128)) -> bool {
    a.0 * b.1 <= b.0 * a.1
}

/// The definition, step by step: raise all open regions together until one is full or nothing is left.
/// The level is a fraction with the weights' sum below the line.
pub fn slow_share(capacity: u64, asked: &[Asked]) -> Vec<u64> {
    let mut granted: Vec<u64> = asked.iter().map(Asked::base).collect();
    let mut left = u128::from(capacity - granted.iter().sum::<u64>());
    let want = |i: usize| u128::from(asked[i].limit() - asked[i].base());
    let weight = |i: usize| u128::from(asked[i].weight);
    let mut open: Vec<usize> = (0..asked.len()).filter(|&i| want(i) > 0).collect();
    loop {
        let weights: u128 = open.iter().map(|&i| weight(i)).sum();
        let full: Vec<usize> = open
            .iter()
            .copied()
            .filter(|&i| less_or_equal((want(i), weight(i)), (left, weights)))
            .collect();
        if full.is_empty() {
            break;
        }
        // Only those that are full first leave, since their leaving raises the level for the others.
        let first = full
            .iter()
            .copied()
            .reduce(|a, b| {
                if less_or_equal((want(a), weight(a)), (want(b), weight(b))) {
                    a
                } else {
                    b
                }
            })
            .unwrap();
        granted[first] += want(first) as u64;
        left -= want(first);
        open.retain(|&i| i != first);
    }
    let weights: u128 = open.iter().map(|&i| weight(i)).sum();
    if weights == 0 {
        return granted;
    }
    for &i in &open {
        granted[i] += (left * weight(i) / weights) as u64;
    }
    let whole: u128 = open.iter().map(|&i| left * weight(i) / weights).sum();
    open.sort_by_key(|&i| {
        (
            u128::MAX - left * weight(i) % weights,
            asked[i].name.clone(),
        )
    });
    for &i in open.iter().take((left - whole) as usize) {
        granted[i] += 1;
    }
    granted
}
