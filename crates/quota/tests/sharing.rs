//! `share` against a slow and obvious reference, and the promises that it makes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::cases;
use proptest::prelude::*;
use quota::{Claim, share};

#[derive(Debug, Clone)]
struct Asked {
    name: String,
    demand: u64,
    nominal: u64,
    ceiling: Option<u64>,
    weight: u32,
}

impl Asked {
    fn claim(&self) -> Claim<'_> {
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
    fn limit(&self) -> u64 {
        self.demand.min(self.ceiling.unwrap_or(u64::MAX))
    }
    fn base(&self) -> u64 {
        self.limit().min(self.nominal)
    }
}

/// A fraction of two numbers, compared without dividing.
fn less_or_equal(a: (u128, u128), b: (u128, u128)) -> bool {
    a.0 * b.1 <= b.0 * a.1
}

/// The definition, step by step: raise all open regions together until one is full or nothing is left.
/// The level is a fraction with the weights' sum below the line.
fn slow_share(capacity: u64, asked: &[Asked]) -> Vec<u64> {
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

fn asked(scale: u64) -> impl Strategy<Value = (u64, Vec<Asked>)> {
    let region = (
        0..scale,
        0..scale,
        prop::option::of(0..scale),
        1u32..6,
        0u8..40,
    );
    (
        prop::collection::btree_map("[a-e]{1,3}", region, 0..9),
        0..scale,
    )
        .prop_map(|(regions, spare)| {
            let asked: Vec<Asked> = regions
                .into_iter()
                .map(|(name, (demand, nominal, ceiling, weight, zero))| {
                    let demand = if zero == 0 { 0 } else { demand };
                    let ceiling = ceiling.map(|c| c.max(nominal));
                    Asked {
                        name,
                        demand,
                        nominal,
                        ceiling,
                        weight,
                    }
                })
                .collect();
            let nominals: u64 = asked.iter().map(|a| a.nominal).sum();
            (nominals + spare, asked)
        })
}

fn claims(asked: &[Asked]) -> Vec<Claim<'_>> {
    asked.iter().map(Asked::claim).collect()
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn equals_the_slow_reference((capacity, asked) in prop_oneof![asked(12), asked(1_000), asked(1_000_000_000_000)]) {
        prop_assert_eq!(share(capacity, &claims(&asked)), slow_share(capacity, &asked));
    }

    #[test]
    fn conserves_work_and_keeps_every_bound((capacity, asked) in asked(100)) {
        let granted = share(capacity, &claims(&asked));
        let possible: u64 = asked.iter().map(Asked::limit).sum();
        prop_assert_eq!(granted.iter().sum::<u64>(), capacity.min(possible));
        for (asked, granted) in asked.iter().zip(granted) {
            prop_assert!(granted <= asked.limit());
            prop_assert!(granted >= asked.base());
        }
    }

    /// Whoever goes short has, for its weight, as much above its base as anyone, to the slot.
    #[test]
    fn is_max_min_above_the_nominals((capacity, asked) in asked(100)) {
        let granted = share(capacity, &claims(&asked));
        for (short, mine) in asked.iter().zip(&granted) {
            if *mine == short.limit() {
                continue;
            }
            let mine = u128::from(mine - short.base());
            for (other, theirs) in asked.iter().zip(&granted) {
                let theirs = u128::from((theirs - other.base()).saturating_sub(1));
                prop_assert!(less_or_equal(
                    (theirs, other.weight.into()),
                    (mine + 1, short.weight.into()),
                ));
            }
        }
    }

    #[test]
    fn depends_on_no_order((capacity, asked) in asked(60), turn in 0usize..9) {
        let granted = share(capacity, &claims(&asked));
        let mut turned = asked.clone();
        let by = turn % asked.len().max(1);
        turned.rotate_left(by);
        turned.reverse();
        let again = share(capacity, &claims(&turned));
        for (asked, granted) in asked.iter().zip(granted) {
            let at = turned.iter().position(|t| t.name == asked.name).unwrap();
            prop_assert_eq!(again[at], granted);
        }
    }
}

#[test]
fn one_region_takes_what_there_is() {
    let claim = Claim {
        name: "normandie",
        demand: 1_000,
        nominal: 0,
        ceiling: Some(200),
        weight: 1,
    };
    assert_eq!(share(120, &[claim]), [120]);
    assert_eq!(share(500, &[claim]), [200]);
    assert_eq!(share(0, &[claim]), [0]);
    assert_eq!(share(10, &[]), Vec::<u64>::new());
}

#[test]
fn even_nominals_over_the_capacity_never_give_more_than_there_is() {
    let claim = |name| Claim {
        name,
        demand: 10,
        nominal: 10,
        ceiling: None,
        weight: 1,
    };
    assert_eq!(share(7, &[claim("b"), claim("a")]), [3, 4]);
}
