//! The order of service against its definition.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The definition: one user after the other, each the next by the rules.
fn slow(lines: &[Line], terms: Terms<'_>, free: u64) -> Served {
    let mut left: Vec<BTreeMap<u32, u64>> = lines.iter().map(|l| l.seconds.clone()).collect();
    let mut passes: Vec<u128> = lines.iter().map(|line| line.pass).collect();
    let mut served = [0; MAX_CLASSES];
    for _ in 0..free {
        let heads: Vec<(usize, u32)> = left
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((at, *line.first_key_value()?.0)))
            .filter(|&(_, second)| second < terms.horizon)
            .collect();
        let overdue = |second| terms.overdue_s.is_some_and(|overdue| second <= overdue);
        let late = heads.iter().filter(|(_, second)| overdue(*second));
        let late = late.min_by_key(|(at, second)| (*second, *at));
        let first = heads.iter().find(|(at, _)| terms.is_first(*at));
        let by_weight = heads.iter().min_by_key(|(at, _)| (passes[*at], *at));
        let Some(&(at, second)) = late.or(first).or(by_weight) else {
            break;
        };
        if late.is_none() && first.is_none() {
            passes[at] += terms.stride(at);
        }
        served[at] += 1;
        let users = left[at].get_mut(&second).unwrap();
        *users -= 1;
        if *users == 0 {
            left[at].remove(&second);
        }
    }
    served
}

fn line() -> impl Strategy<Value = Line> {
    let seconds = prop::collection::btree_map(0u32..20, 1u64..8, 0..8);
    (seconds, 0u128..(5 * STRIDE)).prop_map(|(seconds, pass)| Line {
        total: seconds.values().sum(),
        seconds,
        pass,
        ..Line::default()
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let class = (
        prop_oneof![1u32..5, Just(1_000_000)],
        prop::bool::weighted(0.3),
    );
    prop::collection::vec(class, 4).prop_map(|classes| Rules {
        classes: classes
            .into_iter()
            .map(|(weight, first)| Class {
                name: String::new(),
                weight,
                first,
            })
            .collect(),
        ..Rules::default()
    })
}

proptest! {
    #[test]
    fn is_that_of_one_after_the_other(
        lines in prop::collection::vec(line(), 0..5),
        rules in rules(),
        horizon in 0u32..25,
        overdue_s in prop::option::of(0u32..20),
        free in 0u64..120,
    ) {
        let terms = Terms { rules: &rules, horizon, overdue_s, in_turn: false, each_second: false };
        prop_assert_eq!(serve(&lines[..lines.len().min(4)], terms, free), slow(&lines[..lines.len().min(4)], terms, free));
    }

    /// In turn, nobody of a holder is admitted while another holder has anyone of the class before them; and
    /// somebody is always next, so that all are served in the end.
    #[test]
    fn in_turn_nobody_is_passed(
        all in prop::collection::vec((0u8..3, 0u32..12, 1u32..6, 0usize..3), 0..40),
        rules in rules(),
        free in 0u64..100,
        mine in 0usize..3,
    ) {
        let mut holders = vec![BTreeMap::<(u8, u32), u32>::new(); 3];
        let mut lines = vec![Line::default(); 3];
        for (class, second, users, holder) in all {
            *holders[holder].entry((class, second)).or_default() += users;
            let line = &mut lines[usize::from(class)];
            *line.seconds.entry(second).or_default() += u64::from(users);
            line.total += u64::from(users);
        }
        let buckets = |holder: usize| -> Vec<Bucket> {
            let all = holders[holder].iter();
            all.map(|(&(class, second), &users)| Bucket { class, second, users }).collect()
        };
        let terms = Terms { rules: &rules, horizon: 10, overdue_s: None, in_turn: true, each_second: false };
        let served = serve(&lines, terms, free);
        for admission in admit(&mut lines.clone(), terms, &served, &buckets(mine), &mut Vec::new()) {
            for other in (0..3).filter(|&other| other != mine) {
                let passed = |&(class, second): &(u8, u32)| class == admission.class && second < admission.until_s;
                prop_assert!(!holders[other].keys().any(passed), "{admission:?}");
            }
        }
        let some = (0..3).any(|holder| !admit(&mut lines.clone(), terms, &served, &buckets(holder), &mut Vec::new()).is_empty());
        prop_assert_eq!(some, served.iter().any(|&users| users > 0));
    }

    /// The holders of a region together admit who is served, whoever reports first; and the passes come
    /// to the same as if one had reported for all.
    #[test]
    fn holders_share_who_is_served(
        all in prop::collection::vec((0u8..3, 0u32..12, 1u32..6, 0usize..3), 0..40),
        rules in rules(),
        free in 0u64..100,
    ) {
        let mut holders = vec![BTreeMap::<(u8, u32), u32>::new(); 3];
        let mut lines = vec![Line::default(); 3];
        for (class, second, users, holder) in all {
            *holders[holder].entry((class, second)).or_default() += users;
            let line = &mut lines[usize::from(class)];
            *line.seconds.entry(second).or_default() += u64::from(users);
            line.total += u64::from(users);
        }
        let terms = Terms { rules: &rules, horizon: 10, overdue_s: Some(2), in_turn: false, each_second: false };
        let expected = serve(&lines, terms, free);
        let mut free = free;
        let mut sum = [0; MAX_CLASSES];
        for holder in holders {
            let buckets: Vec<Bucket> = holder
                .into_iter()
                .map(|((class, second), users)| Bucket { class, second, users })
                .collect();
            let served = serve(&lines, terms, free);
            let mut rest = Vec::new();
            let admitted = admit(&mut lines, terms, &served, &buckets, &mut rest);
            let users = |buckets: &[Bucket]| buckets.iter().map(|b| u64::from(b.users)).sum::<u64>();
            let all: u64 = admitted.iter().map(|a| u64::from(a.users)).sum();
            prop_assert_eq!(users(&rest) + all, users(&buckets));
            for (class, second, gone) in gone(&buckets, &rest) {
                let line = &mut lines[usize::from(class)];
                let left = line.seconds.get_mut(&second).unwrap();
                *left -= gone;
                line.total -= gone;
                line.seconds.retain(|_, users| *users > 0);
            }
            for admission in admitted {
                sum[usize::from(admission.class)] += u64::from(admission.users);
                free -= u64::from(admission.users);
            }
        }
        prop_assert_eq!(sum, expected);
    }
}

fn gone(buckets: &[Bucket], rest: &[Bucket]) -> Vec<(u8, u32, u64)> {
    let left = |b: &Bucket| {
        rest.iter()
            .find(|r| (r.class, r.second) == (b.class, b.second))
    };
    let gone = |b: &Bucket| u64::from(b.users - left(b).map_or(0, |r| r.users));
    buckets
        .iter()
        .map(|b| (b.class, b.second, gone(b)))
        .collect()
}
