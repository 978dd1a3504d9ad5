//! What a queue does, by itself.

mod moves;
mod reports;
mod sessions;
mod turns;

use super::*;
use quota::Admission;
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
                at_ms: 0,
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
    assert_eq!(queue.in_use(), 0, "the answer came too late");
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
fn who_sits_on_the_floor_takes_no_slot_from_whoever_is_admitted() {
    let floor = |grant| Grant { floor: 2, ..grant };
    let mut queue = queue(quiet(), &floor(grant(10, 0, &[])));
    let sitting: Vec<_> = (10..12).map(|t| waits(queue.arrive(at(t), 0)).id).collect();
    queue.run_out(at(12), true);
    assert_eq!(called(&mut queue), sitting);
    let waiting: Vec<_> = (13..16).map(|t| waits(queue.arrive(at(t), 0)).id).collect();
    // The cluster has found slots for two, and knows of no session.
    let report = queue.report(at(16));
    assert_eq!((report.kept, report.in_use), (0, 0));
    queue.granted(at(16), LATE, &floor(grant(16, 2, &[(0, 2, 14)])));
    assert_eq!(called(&mut queue), waiting[..2]);
    assert_eq!(queue.in_use(), 4);
    let report = queue.report(at(17));
    assert_eq!((report.kept, report.in_use, report.floor), (2, 2, 2));
    // No more than the slots and the floor, whatever is said.
    queue.granted(at(17), LATE, &floor(grant(17, 2, &[(0, 9, 15)])));
    assert_eq!(queue.in_use(), 4);
    // And nobody new sits on the floor, where a node can be reached.
    queue.granted(at(18), LATE, &floor(open(18, 2)));
    queue.leave(at(19), sitting[0]);
    waits(queue.arrive(at(19), 0));
    assert_eq!(queue.in_use(), 3);
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
        (0, 0, 2, 2),
        "nobody has come lately, and two sit on the floor"
    );
    queue.leave(at(31), seated[1].id);
    assert_eq!(
        queue.report(at(31)).floor,
        1,
        "once the floor's sessions are fewer"
    );
}
