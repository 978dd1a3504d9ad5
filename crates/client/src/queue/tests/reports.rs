//! What the coordinator and users are told.

use super::*;

#[test]
fn no_more_is_used_than_a_report_kept_until_it_is_answered() {
    let settings = Settings {
        reserve: 2,
        ..quiet()
    };
    let mut queue = queue(settings, &open(10, 10));
    let seated: Vec<_> = (0..3).map(|_| sits(queue.arrive(at(10), 0))).collect();
    let report = queue.report(at(11));
    assert_eq!(
        (report.kept, report.in_use, report.spare),
        (7, 3, 4),
        "half as many again"
    );
    for _ in 0..4 {
        sits(queue.arrive(at(11), 0));
    }
    waits(queue.arrive(at(11), 0));
    queue.leave(at(11), seated[0].id);
    assert_eq!(queue.in_use(), 7);
}

#[test]
fn a_waiting_user_takes_less_than_64_bytes() {
    assert_eq!(size_of::<Entry>(), 56);
    let mut queue = queue(Settings::default(), &grant(0, 0, &[]));
    queue.set_classes([false; 3]);
    for n in 0..200_000_u64 {
        waits(queue.arrive(at(n / 100), (n % 3) as u8));
    }
    let lines: usize = queue.waiting.iter().map(Line::bytes).sum();
    let bytes = queue.users.bytes() + lines + queue.wheel.bytes();
    let each = bytes as f64 / 200_000.0;
    assert!(each < 64.0, "{each} bytes");
}

#[test]
fn a_report_is_bounded_and_exact_for_the_oldest() {
    let mut queue = queue(quiet(), &grant(0, 0, &[]));
    queue.set_classes([false; 16]);
    for n in 0..40_000_u64 {
        waits(queue.arrive(at(n / 20), (n % 16) as u8));
    }
    let report = queue.report(at(2_000));
    assert!(
        report.waiting.len() <= MAX_BUCKETS,
        "{}",
        report.waiting.len()
    );
    assert!(report.waiting.is_sorted_by_key(|b| (b.class, b.second)));
    let users: u64 = report.waiting.iter().map(|b| u64::from(b.users)).sum();
    assert_eq!(users, 40_000, "nobody is left out");
    assert_eq!(
        report.exact_until_s, 2_001,
        "others may still arrive from then on"
    );
    for class in 0..16 {
        // 96 seconds for 16 classes.
        let of_class = report.waiting.iter().filter(|b| b.class == class);
        let oldest: Vec<_> = of_class.take(6).map(|b| (b.second, b.users)).collect();
        let there = queue.waiting[usize::from(class)].seconds().take(6);
        assert_eq!(oldest, there.collect::<Vec<_>>(), "class {class}");
    }
    let one = {
        let mut queue = self::queue(quiet(), &grant(0, 0, &[]));
        for t in 0..50 {
            waits(queue.arrive(at(t), 0));
        }
        queue.report(at(60))
    };
    assert_eq!(
        (one.exact_until_s, one.waiting.len()),
        (61, 50),
        "all of it is exact"
    );
}

#[test]
fn a_class_that_came_just_now_is_told_by_the_second_however_long_another_waits() {
    let mut queue = queue(quiet(), &grant(0, 0, &[]));
    queue.set_classes([true, false]);
    for t in 0..500 {
        waits(queue.arrive(at(t), 1));
    }
    for t in 490..500 {
        waits(queue.arrive(at(t), 0));
    }
    let report = queue.report(at(500));
    let first: Vec<u32> = report
        .waiting
        .iter()
        .filter(|b| b.class == 0)
        .map(|b| b.second)
        .collect();
    assert_eq!(first, (490..500).collect::<Vec<_>>());
    assert_eq!(report.exact_until_s, 501);
    let other = report.waiting.iter().filter(|b| b.class == 1);
    assert!(
        other
            .clone()
            .take(86)
            .map(|b| (b.second, b.users))
            .eq((0..86).map(|t| (t, 1)))
    );
}

#[test]
fn waits_are_foretold_from_the_regions_flow_and_measured() {
    let flow = Flow {
        class: 0,
        waiting: 40,
        rate: 2_000,
        low_rate: 1_000,
    };
    let mut queue = queue(quiet(), &grant(0, 0, &[]));
    for _ in 0..10 {
        assert!(matches!(
            queue.arrive(at(0), 0),
            Arrival::Waiting(_, Place { wait: None, .. })
        ));
    }
    queue.report(at(1));
    queue.granted(
        at(1),
        LATE,
        &Grant {
            flows: vec![flow],
            ..grant(1, 0, &[])
        },
    );
    let Arrival::Waiting(user, place) = queue.arrive(at(1), 0) else {
        panic!("seated");
    };
    // 10 of 11 who wait here are ahead, and so 37 of the region's 40: 38 turns at two a second.
    assert_eq!(place.ahead, 10);
    assert_eq!(place.wait, quota::estimate(37, 2_000, 1_000));
    assert_eq!(place.wait.map(|wait| wait.p50_s), Some(19));
    queue.report(at(29));
    queue.granted(at(29), LATE, &grant(29, 11, &[(0, 11, 29)]));
    assert!(called(&mut queue).contains(&user.id));
    let accuracy = *queue.accuracy();
    assert_eq!(
        (accuracy.told, accuracy.within_p50, accuracy.within_p90),
        (1, 0, 1)
    );
    assert_eq!(accuracy.quarters[28 * 4 / 19], 1);
}
