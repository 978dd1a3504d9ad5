//! Users who go from one front-end to another.

use super::*;
use quota::limits::MAX_CLAIMS_PER_REPORT;

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
    assert!(a.report(at(14)).released.is_empty());
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
fn more_tokens_than_a_report_can_hold_are_claimed_in_turn() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let shown = |id| Shown {
        id,
        issuer: 9,
        class: 0,
        second: 10,
        start_s: None,
    };
    for id in 0..600 {
        queue.show(at(10), shown(id));
    }
    assert!(queue.is_pressed(), "and soon");
    let mut claimed = std::collections::BTreeSet::new();
    for t in 11..14 {
        let claims = queue.report(at(t)).claims;
        assert!(claims.len() <= MAX_CLAIMS_PER_REPORT);
        let pending = claims
            .iter()
            .map(|claim| (claim.id, quota::Claimed::Pending));
        let claims = pending.collect();
        let answer = Grant {
            claims,
            ..grant(t, 0, &[])
        };
        claimed.extend(answer.claims.iter().map(|claim| claim.0));
        queue.granted(at(t), LATE, &answer);
    }
    assert_eq!(claimed.len(), 600);
    for id in 0..599 {
        assert!(queue.leave(at(14), id), "withdrawn");
    }
    queue.show(at(14), shown(7));
    let claims = queue.report(at(14)).claims;
    let ids: std::collections::BTreeSet<_> = claims.iter().map(|claim| claim.id).collect();
    assert_eq!((claims.len(), ids), (2, [7, 599].into()), "each once");
    assert!(!queue.is_pressed());
}

#[test]
fn seats_are_claimed_first_and_what_is_pending_again_before_what_came_later() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let shown = |id, second, start_s| Shown {
        id,
        issuer: 9,
        class: 0,
        second,
        start_s,
    };
    queue.show(at(10), shown(1, 9, None));
    queue.show(at(10), shown(2, 8, None));
    queue.show(at(10), shown(3, 10, Some(10)));
    let ids = |queue: &mut Queue, t| {
        let claims = queue.report(at(t)).claims;
        claims.iter().map(|claim| claim.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut queue, 11), [3, 2, 1]);
    let pending = [1, 2, 3].map(|id| (id, quota::Claimed::Pending));
    let answer = Grant {
        claims: pending.into(),
        ..grant(11, 0, &[])
    };
    queue.granted(at(11), LATE, &answer);
    for id in 0..600 {
        queue.show(at(11), shown(100 + id, 9, None));
    }
    // They are of one round, and 2 is the oldest.
    let second = ids(&mut queue, 12);
    assert_eq!((second[..3].to_vec(), second.len()), (vec![3, 2, 1], 256));
    let answer = Grant {
        claims: second
            .iter()
            .map(|&id| (id, quota::Claimed::Pending))
            .collect(),
        ..grant(12, 0, &[])
    };
    queue.granted(at(12), LATE, &answer);
    // What was shown with them comes before they do again.
    let third = ids(&mut queue, 13);
    assert_eq!(third[0], 3);
    assert!(third[1..].iter().all(|id| !second.contains(id)));
}

#[test]
fn whoever_waits_where_the_lease_ended_is_asked_about_before_they_are_next() {
    let mut queue = queue(quiet(), &open(10, 2));
    let seated = sits(queue.arrive(at(10), 0));
    let stays = sits(queue.arrive(at(10), 0));
    let [moved, here, leaves] = [(); 3].map(|()| waits(queue.arrive(at(11), 0)));
    queue.report(at(12));
    let floor = Grant {
        floor: 2,
        ..grant(12, 2, &[])
    };
    queue.granted(at(12), LATE, &floor);
    queue.run_out(at(20), true);
    queue.lose();
    assert_eq!((queue.waiting(), queue.in_use()), (0, 2));
    assert_eq!(queue.poll(at(21), here.id), Standing::Checking);
    assert!(queue.leave(at(21), leaves.id));
    queue.check();
    let report = queue.report(at(22));
    assert_eq!(report.exact_until_s, 11, "nobody else is next before them");
    let mut claims = report.claims;
    claims.sort_unstable_by_key(|claim| claim.id);
    let mut kept = [seated, stays, moved, here].map(|user| user.id);
    kept.sort_unstable();
    assert!(claims.iter().all(|claim| claim.issuer == quota::KEPT));
    assert_eq!(
        claims.iter().map(|claim| claim.id).collect::<Vec<_>>(),
        kept
    );

    // Two have gone to another front-end meanwhile: one who waited, and one who sat on the floor.
    let (granted, refused) = (quota::Claimed::Granted, quota::Claimed::Refused);
    let told = Grant {
        claims: vec![
            (seated.id, refused),
            (stays.id, granted),
            (moved.id, refused),
            (here.id, granted),
        ],
        ..grant(22, 0, &[])
    };
    queue.events().for_each(drop);
    queue.granted(at(22), LATE, &told);
    let events: Vec<_> = queue.events().collect();
    assert_eq!(events, [Event::Moved(seated), Event::Moved(moved)]);
    assert_eq!((queue.waiting(), queue.in_use()), (1, 1));
    assert_eq!(queue.poll(at(22), moved.id), Standing::Gone);
    let back = |user: User| queue.gave_up(user.id);
    assert_eq!([moved, seated, here].map(back), [true, true, false]);
    assert!(matches!(queue.poll(at(22), here.id), Standing::Waiting(_)));
    assert!(matches!(queue.poll(at(22), stays.id), Standing::Seated(_)));
    let report = queue.report(at(23));
    assert_eq!((report.claims.len(), report.exact_until_s), (0, 24));
    queue.check();
}

#[test]
fn a_token_that_was_given_up_is_not_used_up() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let user = waits(queue.arrive(at(10), 0));
    queue.lose();
    queue.report(at(11));
    // Another had it before this lease could ask about it, and is told to ask here.
    let elsewhere = Grant {
        claims: vec![(user.id, quota::Claimed::Refused)],
        asked: vec![user.id],
        ..grant(11, 0, &[])
    };
    queue.granted(at(11), LATE, &elsewhere);
    let report = queue.report(at(12));
    assert_eq!(
        (&report.released[..], &report.refused[..]),
        (&[user.id][..], &[][..])
    );
}

#[test]
fn whoever_was_called_to_a_seat_of_the_floor_is_asked_about() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let user = waits(queue.arrive(at(10), 0));
    let floor = Grant {
        floor: 1,
        ..grant(11, 0, &[])
    };
    queue.report(at(11));
    queue.granted(at(11), LATE, &floor);
    queue.run_out(at(20), true);
    assert_eq!(called(&mut queue), [user.id]);
    queue.lose();
    let ids: Vec<u64> = queue.report(at(21)).claims.iter().map(|c| c.id).collect();
    assert_eq!(ids, [user.id]);
    let elsewhere = Grant {
        claims: vec![(user.id, quota::Claimed::Refused)],
        ..grant(21, 0, &[])
    };
    queue.granted(at(21), LATE, &elsewhere);
    assert_eq!(queue.in_use(), 0);
    assert!(queue.gave_up(user.id));
    queue.check();
}

#[test]
fn whoever_comes_before_a_lease_has_reported_is_asked_about() {
    let claimed = |report: Report| -> Vec<u64> {
        assert!(report.claims.iter().all(|c| c.issuer == quota::KEPT));
        report.claims.iter().map(|c| c.id).collect()
    };
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    queue.run_out(at(20), false);
    queue.lose();
    let early = waits(queue.arrive(at(21), 0));
    // The next lease was taken, and its first report goes out.
    queue.lose();
    assert_eq!(claimed(queue.report(at(22))), [early.id]);
    let late = waits(queue.arrive(at(22), 0));
    let kept = Grant {
        claims: vec![(early.id, quota::Claimed::Granted)],
        ..grant(22, 5, &[(0, 2, 22)])
    };
    queue.granted(at(22), LATE, &kept);
    assert_eq!(called(&mut queue), [early.id]);
    assert_eq!(queue.poll(at(22), late.id), Standing::Checking);
    assert_eq!(claimed(queue.report(at(23))), [late.id]);
    // From now on others ask here first.
    let other = waits(queue.arrive(at(23), 0));
    let settled = Grant {
        claims: vec![(late.id, quota::Claimed::Granted)],
        ..grant(23, 5, &[])
    };
    queue.granted(at(23), LATE, &settled);
    assert_eq!(queue.waiting(), 2);
    assert!(matches!(queue.poll(at(23), other.id), Standing::Waiting(_)));
    queue.check();
}
