//! Who is seated when, where a grant says so.

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn admission(users: u32, until_s: u32, at_ms: u64) -> Admission {
    Admission {
        class: 0,
        users,
        until_s,
        at_ms,
    }
}

/// At 10 s, three slots: one for whoever came in second 3 at 11.5 s, and two for second 5 at 11.52 s.
fn admits() -> Grant {
    Grant {
        admit: vec![admission(1, 3, 11_500), admission(2, 5, 11_520)],
        ..grant(10, 3, &[])
    }
}

fn three() -> (Queue, [User; 3]) {
    let mut queue = queue(quiet(), &grant(3, 0, &[]));
    let first = waits(queue.arrive(at(3), 0));
    let others = [(); 2].map(|()| waits(queue.arrive(at(5), 0)));
    queue.report(at(9));
    queue.granted(at(10), LATE, &admits());
    (queue, [first, others[0], others[1]])
}

#[test]
fn whoever_is_admitted_is_called_when_their_turn_is() {
    let (mut queue, [first, second, third]) = three();
    assert_eq!((queue.in_use(), queue.waiting()), (3, 0));
    assert_eq!(called(&mut queue), [0; 0]);
    assert!(matches!(queue.poll(at(11), first.id), Standing::Waiting(_)));
    assert_eq!(queue.turn_at(at(11)), Some(ms(11_500)));
    queue.tick(ms(11_499));
    assert_eq!(called(&mut queue), [0; 0]);
    queue.tick(ms(11_500));
    assert_eq!(called(&mut queue), [first.id]);
    // A report in between has them among those in use.
    assert_eq!(queue.report(ms(11_510)).in_use, 3);
    assert_eq!(queue.turn_at(ms(11_510)), Some(ms(11_520)));
    queue.tick(ms(11_530));
    assert_eq!(called(&mut queue), [second.id, third.id]);
    assert_eq!(queue.turn_at(ms(11_530)), None);
    queue.check();
}

#[test]
fn whoever_goes_before_their_turn_gives_the_slot_back() {
    let (mut queue, [first, second, _]) = three();
    assert!(queue.leave(at(11), second.id));
    assert_eq!(queue.in_use(), 2);
    queue.tick(at(12));
    let called = called(&mut queue);
    assert_eq!((called.len(), called[0]), (2, first.id));
    queue.check();
}

#[test]
fn where_the_slots_are_gone_before_their_turn_they_wait_again() {
    for pause in [false, true] {
        let (mut queue, [first, ..]) = three();
        if pause {
            let paused = Grant {
                mode: Mode::Paused,
                ..grant(11, 3, &[])
            };
            queue.granted(at(11), LATE, &paused);
        } else {
            queue.run_out(at(11), false);
        }
        assert_eq!((queue.in_use(), queue.waiting()), (0, 3));
        queue.check();
        queue.tick(at(20));
        assert_eq!(called(&mut queue), [0; 0]);
        queue.granted(at(20), LATE, &grant(20, 1, &[(0, 1, 3)]));
        assert_eq!(called(&mut queue), [first.id]);
    }
}

#[test]
fn nobody_takes_a_seat_on_slots_that_ran_out_during_a_pause() {
    for polled in [false, true] {
        let mut queue = queue(quiet(), &grant(3, 0, &[]));
        let first = waits(queue.arrive(at(3), 0));
        queue.report(at(9));
        let admit = vec![admission(1, 3, 11_500)];
        let grant = Grant {
            admit,
            ..grant(10, 3, &[])
        };
        queue.granted(at(10), ms(11_600), &grant);
        // It stood still from before their turn until after the lease was over.
        match polled {
            true => assert!(matches!(queue.poll(at(12), first.id), Standing::Waiting(_))),
            false => queue.tick(at(12)),
        }
        assert_eq!(called(&mut queue), [0; 0]);
        assert_eq!((queue.in_use(), queue.waiting()), (0, 1));
        queue.check();
    }
}

#[test]
fn a_region_opens_at_the_moment_it_was_told_one_second_after_the_other() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let early: Vec<_> = [10, 10, 11].map(|t| waits(queue.arrive(at(t), 0))).into();
    queue.report(ms(11_100));
    let opens = Grant {
        turns_ms: 12_000,
        ..grant(11, 9, &[])
    };
    queue.granted(ms(11_000), LATE, &opens);
    waits(queue.arrive(ms(11_400), 0));
    assert_eq!(called(&mut queue), [0; 0]);
    assert_eq!(queue.turn_at(ms(11_400)), Some(at(12)));
    // It keeps slots for those who wait, until then, and to have three ready.
    let report = queue.report(ms(11_500));
    assert_eq!((report.kept, report.in_use), (4 + 3, 0));
    for (t, count) in [(11_999, 0), (12_019, 0), (12_020, 2), (12_040, 2)] {
        queue.tick(ms(t));
        assert_eq!(called(&mut queue).len(), count, "at {t} ms");
    }
    assert_eq!(early.len(), 3);
    // Nobody who comes now walks in before the others have sat down everywhere.
    waits(queue.arrive(ms(12_050), 0));
    assert_eq!(queue.turn_at(ms(12_050)), Some(ms(12_060)));
    queue.check();
}

#[test]
fn where_an_opening_is_called_off_whoever_is_admitted_is_seated_as_if_it_were_not() {
    let mut queue = queue(quiet(), &grant(10, 0, &[]));
    let [first, second] = [(); 2].map(|()| waits(queue.arrive(at(10), 0)).id);
    queue.report(at(11));
    let opens = Grant {
        turns_ms: 14_000,
        ..grant(11, 9, &[])
    };
    queue.granted(ms(11_000), LATE, &opens);
    let third = waits(queue.arrive(at(12), 0)).id;
    queue.report(ms(13_900));
    let shuts = |cluster_ms, admit| Grant {
        cluster_ms,
        admit,
        ..grant(13, 3, &[])
    };
    let admits = vec![admission(1, 10, 0), admission(1, 10, 15_400)];
    queue.granted(ms(13_900), LATE, &shuts(13_900, admits));
    assert_eq!(called(&mut queue), [first], "the turn of whom it was");
    assert!(!queue.is_open());
    for (t, seated) in [(13_999, vec![]), (14_000, vec![second])] {
        queue.tick(ms(t));
        assert_eq!(called(&mut queue), seated, "at {t} ms");
    }
    // The moment of the last seconds is still to come.
    queue.report(ms(14_010));
    let admits = vec![admission(1, 12, 15_510)];
    queue.granted(ms(14_010), LATE, &shuts(14_010, admits));
    queue.tick(ms(14_020));
    assert_eq!(called(&mut queue), [third]);
    // It is no use to whoever hears of it later.
    let late = waits(queue.arrive(ms(14_100), 0));
    queue.report(ms(14_200));
    queue.granted(
        ms(14_200),
        LATE,
        &Grant {
            slots: 4,
            ..shuts(14_200, vec![admission(1, 14, 15_700)])
        },
    );
    assert_eq!(queue.turn_at(ms(14_200)), Some(ms(15_700)));
    queue.tick(ms(15_700));
    assert_eq!(called(&mut queue), [late.id]);
    queue.check();
}
