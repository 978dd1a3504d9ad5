//! What a queue does, by itself.

use super::*;
use quota::limits::MAX_BUCKETS;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A deadline that never comes.
const LATE: Duration = Duration::from_secs(1_000_000);

fn quiet() -> Settings {
    Settings {
        silence_s: None,
        reserve: 0,
    }
}

/// A grant in the second `t`, which is also that of the front-end's own clock.
fn grant(t: u64, slots: u64, admit: &[(u8, u32, u32)]) -> Grant {
    Grant {
        slots,
        cluster_ms: t * 1_000,
        admit: admit
            .iter()
            .map(|&(class, users, until_s)| Admission {
                class,
                users,
                until_s,
            })
            .collect(),
        ..Grant::default()
    }
}

fn open(t: u64, slots: u64) -> Grant {
    Grant {
        open: true,
        ..grant(t, slots, &[])
    }
}

fn queue(settings: Settings, first: &Grant) -> Queue {
    let mut queue = Queue::new(settings, 7);
    queue.granted(Duration::from_millis(first.cluster_ms), LATE, first);
    queue
}

fn waits(arrival: Arrival) -> User {
    match arrival {
        Arrival::Waiting(user, _) => user,
        other => panic!("{other:?}"),
    }
}

fn sits(arrival: Arrival) -> User {
    match arrival {
        Arrival::Seated(user) => user,
        other => panic!("{other:?}"),
    }
}

fn called(queue: &mut Queue) -> Vec<u64> {
    queue
        .events()
        .filter_map(|event| match event {
            Event::Called(user) => Some(user.id),
            _ => None,
        })
        .collect()
}

#[test]
fn before_the_cluster_has_said_its_time_nobody_comes() {
    let mut queue = Queue::new(quiet(), 1);
    assert_eq!(queue.arrive(at(1), 0), Arrival::Refused(NoEntry::NotReady));
    queue.granted(at(1), LATE, &open(50, 1));
    assert_eq!(
        queue.arrive(at(1), 1),
        Arrival::Refused(NoEntry::NoSuchClass)
    );
    sits(queue.arrive(at(1), 0));
    assert_eq!(queue.second(at(3)), Some(52));
}

#[test]
fn open_seats_at_once_and_then_whoever_waits_as_slots_are_freed() {
    let mut queue = queue(quiet(), &open(10, 2));
    let first = sits(queue.arrive(at(10), 0));
    sits(queue.arrive(at(10), 0));
    let third = waits(queue.arrive(at(11), 0));
    let fourth = waits(queue.arrive(at(12), 0));
    assert!(queue.leave(at(13), first.id));
    assert_eq!(called(&mut queue), [third.id]);
    assert!(!queue.leave(at(13), first.id), "once");
    assert!(matches!(queue.poll(at(14), third.id), Standing::Seated(_)));
    assert_eq!(
        queue.poll(at(14), fourth.id),
        Standing::Waiting(Place {
            ahead: 0,
            wait: None
        })
    );
    assert_eq!(queue.poll(at(14), first.id), Standing::Gone);
    assert_eq!(queue.in_use(), 2);
}

#[test]
fn ordered_seats_by_admission_alone_and_gives_idle_slots_back() {
    let mut queue = queue(quiet(), &grant(10, 3, &[]));
    let users: Vec<_> = (10..14).map(|t| waits(queue.arrive(at(t), 0))).collect();
    assert_eq!(queue.in_use(), 0, "three idle slots seat nobody");
    let report = queue.report(at(14));
    assert_eq!((report.kept, report.in_use), (0, 0));
    assert_eq!(report.waiting.len(), 4);
    queue.granted(at(14), LATE, &grant(14, 3, &[(0, 3, 11)]));
    assert_eq!(
        called(&mut queue),
        [users[0].id, users[1].id],
        "none after the second 11"
    );
    assert!(queue.leave(at(15), users[0].id));
    let report = queue.report(at(15));
    assert_eq!((report.kept, report.in_use, report.left), (1, 1, 1));
    queue.granted(at(15), LATE, &grant(15, 1, &[]));
    assert_eq!(queue.report(at(16)).left, 0, "told once it is answered");
}

#[test]
fn admissions_never_use_more_than_was_granted_nor_after_the_deadline() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    for _ in 0..5 {
        waits(queue.arrive(at(10), 0));
    }
    queue.report(at(11));
    queue.granted(at(11), LATE, &grant(11, 2, &[(0, 5, 11)]));
    assert_eq!(queue.in_use(), 2);
    queue.report(at(12));
    queue.granted(at(12), at(12), &grant(12, 5, &[(0, 3, 12)]));
    assert_eq!(queue.in_use(), 2, "the answer came too late");
}

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
fn the_order_is_by_second_and_class_and_who_goes_first() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    queue.set_classes([false, true, false]);
    let everyone = waits(queue.arrive(at(10), 0));
    let other = waits(queue.arrive(at(11), 2));
    let teacher = waits(queue.arrive(at(12), 1));
    queue.report(at(13));
    queue.granted(at(13), LATE, &open(13, 3));
    assert_eq!(called(&mut queue), [teacher.id, everyone.id, other.id]);
}

#[test]
fn who_comes_while_closed_is_drawn_and_not_by_who_came_first() {
    let closed = Grant {
        mode: Mode::Closed,
        closed_s: Some(5),
        ..grant(100, 0, &[])
    };
    let mut queue = queue(quiet(), &closed);
    for t in 0..1_200 {
        waits(queue.arrive(at(100 + t / 10), 0));
    }
    let report = queue.report(at(300));
    assert!(
        report.waiting.iter().all(|b| (5..125).contains(&b.second)),
        "{report:?}"
    );
    assert!(report.waiting.len() > 90);
    let mut again = Queue::new(quiet(), 7);
    again.granted(at(100), LATE, &closed);
    for t in 0..1_200 {
        waits(again.arrive(at(100 + t / 10), 0));
    }
    assert_eq!(
        again.report(at(300)),
        report,
        "the same seed draws the same"
    );
}

#[test]
fn modes_say_who_may_come() {
    let mode = |mode| Grant {
        mode,
        ..grant(10, 5, &[])
    };
    let mut queue = queue(quiet(), &mode(Mode::Paused));
    waits(queue.arrive(at(10), 0));
    queue.granted(at(11), LATE, &mode(Mode::Draining));
    assert_eq!(queue.arrive(at(11), 0), Arrival::Refused(NoEntry::Draining));
    assert_eq!(queue.waiting(), 1, "who waited keeps the place");
    queue.stop();
    queue.granted(at(12), LATE, &open(12, 5));
    assert_eq!(queue.in_use(), 0, "a front-end that stops lets nobody in");
}

#[test]
fn the_silent_are_dropped_and_whoever_polls_is_not() {
    let mut queue = queue(Settings::default(), &grant(10, 0, &[]));
    let (silent, alive) = (
        waits(queue.arrive(at(10), 0)),
        waits(queue.arrive(at(10), 0)),
    );
    queue.poll(at(60), alive.id);
    queue.tick(at(69));
    assert_eq!(queue.waiting(), 2);
    queue.tick(at(70));
    assert_eq!(
        queue.events().collect::<Vec<_>>(),
        [Event::Abandoned(silent)]
    );
    queue.report(at(71));
    queue.granted(at(71), LATE, &grant(71, 1, &[(0, 1, 71)]));
    assert_eq!(queue.in_use(), 1);
    queue.tick(at(131));
    assert_eq!(queue.in_use(), 0, "called, and never came");
    assert_eq!(queue.poll(at(131), alive.id), Standing::Gone);
}

#[test]
fn cut_off_the_floor_is_used_and_the_rest_ends() {
    let mut queue = queue(
        quiet(),
        &Grant {
            floor: 2,
            ..open(10, 4)
        },
    );
    let seated: Vec<_> = (10..14).map(|t| sits(queue.arrive(at(t), 0))).collect();
    let waiting = waits(queue.arrive(at(14), 0));
    queue.run_out(at(20), false);
    assert_eq!(queue.in_use(), 2);
    let ended: Vec<_> = queue.events().collect();
    assert_eq!(
        ended,
        [
            Event::Ended(seated[3], Why::Uncovered),
            Event::Ended(seated[2], Why::Uncovered)
        ]
    );
    queue.leave(at(21), seated[0].id);
    assert_eq!(
        queue.in_use(),
        1,
        "a node can still be reached: nobody is let in"
    );
    queue.run_out(at(22), true);
    assert_eq!(called(&mut queue), [waiting.id]);
    // Back, with a lease that has nothing yet, and a floor that is to be lower.
    queue.granted(
        at(30),
        LATE,
        &Grant {
            floor: 1,
            ..grant(30, 0, &[])
        },
    );
    let report = queue.report(at(30));
    assert_eq!(
        (report.kept, report.in_use, report.spare, report.floor),
        (0, 0, 7 + 2, 2),
        "for as many arrivals and half as many more, and for who sits on the floor"
    );
    queue.leave(at(31), seated[1].id);
    assert_eq!(
        queue.report(at(31)).floor,
        1,
        "once the floor's sessions are fewer"
    );
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

#[test]
fn sessions_end_at_their_limit_and_when_their_user_is_idle() {
    let session = SessionRules {
        limit_s: Some(100),
        idle_s: Some(30),
        notice_s: 10,
        ..SessionRules::default()
    };
    let mut queue = queue(
        quiet(),
        &Grant {
            session,
            ..open(0, 2)
        },
    );
    let (idle, alive) = (sits(queue.arrive(at(0), 0)), sits(queue.arrive(at(0), 0)));
    for t in [20, 40, 60, 80] {
        queue.tick(at(t));
        queue.poll(at(t), alive.id);
    }
    assert_eq!(
        queue.events().collect::<Vec<_>>(),
        [Event::Ended(idle, Why::Idle)]
    );
    let expected = Session {
        start_s: 0,
        ends_s: Some(100),
        notice: true,
    };
    assert_eq!(queue.poll(at(90), alive.id), Standing::Seated(expected));
    queue.tick(at(99));
    assert_eq!(queue.in_use(), 1);
    queue.tick(at(100));
    assert_eq!(
        queue.events().collect::<Vec<_>>(),
        [Event::Ended(alive, Why::Limit)]
    );
}

#[test]
fn while_others_wait_sessions_are_shorter_but_not_without_notice() {
    let session = SessionRules {
        when_waiting_s: Some(60),
        notice_s: 20,
        least_s: 30,
        ..SessionRules::default()
    };
    let mut queue = queue(
        quiet(),
        &Grant {
            session,
            ..open(0, 3)
        },
    );
    let (old, young) = (sits(queue.arrive(at(0), 0)), sits(queue.arrive(at(90), 0)));
    queue.report(at(100));
    queue.granted(
        at(100),
        LATE,
        &Grant {
            session,
            others_wait: true,
            ..grant(100, 2, &[])
        },
    );
    queue.tick(at(129));
    assert_eq!(
        queue.events().collect::<Vec<_>>(),
        [Event::Notice(old, 120), Event::Ended(old, Why::Waiting)]
    );
    queue.tick(at(130));
    assert_eq!(
        queue.events().collect::<Vec<_>>(),
        [Event::Notice(young, 150)]
    );
    queue.tick(at(150));
    assert_eq!(queue.in_use(), 0);
}

#[test]
fn shortening_takes_the_newest_sessions_and_counts_them_once() {
    let session = SessionRules {
        limit_s: Some(1_000),
        when_waiting_s: Some(60),
        notice_s: 5,
        least_s: 10,
        ..SessionRules::default()
    };
    let shorten = |t, shorten| Grant {
        session,
        shorten,
        ..grant(t, 4, &[])
    };
    let mut queue = queue(
        quiet(),
        &Grant {
            session,
            ..open(0, 4)
        },
    );
    let seated: Vec<_> = (0..4).map(|t| sits(queue.arrive(at(t), 0))).collect();
    queue.report(at(10));
    queue.granted(at(10), LATE, &shorten(10, 2));
    queue.report(at(11));
    queue.granted(at(11), LATE, &shorten(11, 2));
    let told: Vec<_> = queue.events().collect();
    assert_eq!(
        told,
        [Event::Notice(seated[3], 63), Event::Notice(seated[2], 62)]
    );
    queue.tick(at(63));
    assert_eq!(queue.in_use(), 2);
}

#[test]
fn a_ticket_goes_from_one_front_end_to_another_and_is_never_at_both() {
    let shown = |user: User, second| Shown {
        id: user.id,
        issuer: 9,
        class: 0,
        second,
        start_s: None,
    };
    let mut a = queue(quiet(), &grant(10, 0, &[]));
    let mut b = Queue::new(quiet(), 8);
    b.granted(at(10), LATE, &grant(10, 0, &[]));
    let user = waits(a.arrive(at(10), 0));
    let later = waits(b.arrive(at(11), 0));
    assert_eq!(b.show(at(12), shown(user, 10)), Standing::Checking);
    let report = b.report(at(12));
    assert_eq!(
        report.claims,
        [quota::TokenClaim {
            id: user.id,
            issuer: 9
        }]
    );
    let claims = |claimed| Grant {
        claims: vec![(user.id, claimed)],
        ..grant(12, 0, &[])
    };
    b.granted(at(12), LATE, &claims(quota::Claimed::Pending));
    assert_eq!(b.report(at(13)).claims.len(), 1, "until it is settled");
    a.granted(
        at(12),
        LATE,
        &Grant {
            asked: vec![user.id],
            ..grant(12, 0, &[])
        },
    );
    assert_eq!(
        a.poll(at(12), user.id),
        Standing::Gone,
        "dropped before it is said"
    );
    assert_eq!(a.report(at(13)).released, [user.id]);
    assert_eq!(
        a.report(at(13)).released,
        [user.id],
        "again, for the answer has not come"
    );
    a.granted(at(13), LATE, &grant(13, 0, &[]));
    assert_eq!(a.report(at(14)).released, []);
    b.granted(at(13), LATE, &claims(quota::Claimed::Granted));
    assert!(matches!(
        b.show(at(14), shown(user, 10)),
        Standing::Waiting(Place { ahead: 0, .. })
    ));
    b.report(at(14));
    b.granted(at(14), LATE, &grant(14, 1, &[(0, 1, 14)]));
    assert_eq!(called(&mut b), [user.id], "the place is kept");
    assert!(matches!(b.poll(at(15), later.id), Standing::Waiting(_)));
    // What is used up is refused, here and there.
    b.poll(at(15), user.id);
    b.leave(at(16), user.id);
    b.granted(
        at(16),
        LATE,
        &Grant {
            asked: vec![user.id],
            ..grant(16, 0, &[])
        },
    );
    assert_eq!(b.report(at(16)).refused, [user.id]);
    a.show(at(16), shown(user, 10));
    a.granted(at(17), LATE, &claims(quota::Claimed::Refused));
    assert_eq!(a.show(at(17), shown(user, 10)), Standing::Gone);
    assert_eq!(
        a.report(at(17)).claims,
        [],
        "remembered, and not claimed again"
    );
}

#[test]
fn a_seat_goes_on_elsewhere_before_who_waits_there_with_its_start() {
    let mut b = queue(quiet(), &grant(50, 0, &[]));
    waits(b.arrive(at(50), 0));
    let seat = Shown {
        id: 77,
        issuer: 9,
        class: 0,
        second: 10,
        start_s: Some(20),
    };
    b.show(at(51), seat);
    b.report(at(51));
    b.granted(
        at(51),
        LATE,
        &Grant {
            claims: vec![(77, quota::Claimed::Granted)],
            ..grant(51, 0, &[])
        },
    );
    b.report(at(52));
    b.granted(at(52), LATE, &grant(52, 1, &[(0, 1, 52)]));
    assert!(matches!(
        b.show(at(52), seat),
        Standing::Seated(Session { start_s: 20, .. })
    ));
}

#[test]
fn a_seat_from_elsewhere_that_has_lasted_too_long_is_told_and_ends_once() {
    let session = SessionRules {
        when_waiting_s: Some(60),
        notice_s: 20,
        ..SessionRules::default()
    };
    let waits = |t, slots| Grant {
        session,
        others_wait: true,
        ..grant(t, slots, &[])
    };
    let mut queue = queue(quiet(), &waits(500, 0));
    let seat = Shown {
        id: 77,
        issuer: 9,
        class: 0,
        second: 10,
        start_s: Some(20),
    };
    queue.show(at(501), seat);
    queue.report(at(501));
    let claims = vec![(77, quota::Claimed::Granted)];
    queue.granted(
        at(501),
        LATE,
        &Grant {
            claims,
            ..waits(501, 0)
        },
    );
    queue.report(at(502));
    let admit = grant(502, 1, &[(0, 1, 502)]).admit;
    queue.granted(
        at(502),
        LATE,
        &Grant {
            admit,
            ..waits(502, 1)
        },
    );
    queue.show(at(503), seat);
    queue.check();
    queue.tick(at(523));
    queue.check();
    let told = queue
        .events()
        .filter(|event| matches!(event, Event::Notice(_, 523)));
    assert_eq!(told.count(), 1);
    assert_eq!(queue.in_use(), 0);
}
