//! `share` against a slow and obvious reference, and the promises that it makes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::cases;
use common::reference::*;
use proptest::prelude::*;
use quota::{Claim, share};

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

    /// Where the nominals add up to more than there is each region is sure of its proportional part.
    #[test]
    fn nominals_over_the_capacity_are_cut_alike((capacity, asked) in asked(100), percent in 0u64..100) {
        let nominals: u64 = asked.iter().map(|a| a.nominal).sum();
        let capacity = capacity.min(nominals) * percent / 100;
        let granted = share(capacity, &claims(&asked));
        let possible: u64 = asked.iter().map(Asked::limit).sum();
        prop_assert_eq!(granted.iter().sum::<u64>(), capacity.min(possible));
        for (asked, granted) in asked.iter().zip(granted) {
            let sure = if nominals > capacity { asked.nominal * capacity / nominals } else { asked.nominal };
            prop_assert!(granted <= asked.limit());
            prop_assert!(granted >= asked.limit().min(sure));
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
