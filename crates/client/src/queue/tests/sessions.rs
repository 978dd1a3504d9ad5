//! How long sessions last.

use super::*;

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
