//! What happens in a region, one story at a time.

use super::*;

#[test]
fn open_seats_everybody_and_one_user_too_many_waits() {
    let mut region = Region::new(10, 2);
    region.arrivals(10, 400);
    assert_eq!(region.waiting.len(), 0, "there is room for all");
    let last = region.arrive(1, 0).unwrap();
    region.run(3_000);
    assert_eq!(region.waiting.keys().collect::<Vec<_>>(), [&last.id]);
}

#[test]
fn the_oldest_second_is_served_first_whichever_front_end_it_waits_at() {
    let mut region = Region::new(10, 3);
    let seated = region.fill(10);
    // They come at uneven front-ends: two of three at the first.
    for n in 0..45 {
        region.arrive([0, 0, 1, 0, 2, 0][n % 6], 0);
        region.run(350);
    }
    assert_eq!(region.waiting.len(), 45);
    let mut leaving: Vec<_> = seated.iter().map(|user| user.id).collect();
    while !region.waiting.is_empty() {
        let id = leaving.remove(0);
        let at = (0..3).find(|&at| region.fronts[at].queue.arrival(id).is_some());
        region.leave(at.unwrap(), id);
        let before = region.called.len();
        region.run(1_700);
        assert!(
            region.called.len() > before || region.waiting.is_empty(),
            "no slot idles"
        );
        leaving.extend(region.called[before..].iter().map(|called| called.1));
    }
    let seconds: Vec<_> = region.called.iter().map(|called| called.2).collect();
    assert!(seconds.is_sorted(), "{seconds:?}");
    for at in 0..3 {
        assert!(region.called.iter().any(|called| called.0 == at));
    }
}

#[test]
fn who_waits_at_a_front_end_that_dies_keeps_the_place_at_another() {
    let mut region = Region::new(6, 2);
    let seated = region.fill(6);
    let waiting = region.arrivals(40, 500);
    assert_eq!((region.waiting_at(0), region.waiting_at(1)), (20, 20));
    region.fronts[0].runs = false;
    // They come to the other one within a few seconds, the last first, and come again until it knows them.
    let lost: Vec<_> = waiting.iter().step_by(2).rev().copied().collect();
    for _ in 0..20 {
        for &shown in &lost {
            let now = region.now();
            region.fronts[1].queue.show(now, shown);
        }
        region.run(1_000);
    }
    assert_eq!(region.waiting_at(1) as usize, 40 - region.called.len());
    // The dead front-end's seats are free by now; those of the living one leave one by one.
    let mut at_one: Vec<_> = seated
        .iter()
        .skip(1)
        .step_by(2)
        .map(|user| user.id)
        .collect();
    while !region.waiting.is_empty() {
        let before = region.called.len();
        region.run(1_500);
        at_one.extend(region.called[before..].iter().map(|called| called.1));
        if !at_one.is_empty() {
            let id = at_one.remove(0);
            region.leave(1, id);
        }
    }
    let order: Vec<_> = region.called.iter().map(|called| called.1).collect();
    let mut seconds: Vec<_> = region.called.iter().map(|called| called.2).collect();
    assert_eq!(order.len(), 40, "nobody is lost");
    assert!(seconds.is_sorted(), "{seconds:?}");
    seconds.dedup();
    assert!(seconds.len() > 15, "they came in many seconds");
}

#[test]
fn a_ticket_shown_at_two_front_ends_is_at_one_only_and_seated_once() {
    let mut region = Region::new(4, 3);
    let seated = region.fill(4);
    let ticket = region.arrive(0, 0).unwrap();
    region.run(1_200);
    for round in 0..12 {
        for at in 1..3 {
            let now = region.now();
            region.fronts[at].queue.show(now, ticket);
        }
        region.run(500);
        let places = (0..3).filter(|&at| region.fronts[at].queue.arrival(ticket.id).is_some());
        assert!(places.count() <= 1, "round {round}");
    }
    let now = region.now();
    let at = (0..3).find(|&at| region.fronts[at].queue.arrival(ticket.id).is_some());
    // It may be on its way between the two that ask for it; it comes to rest once one of them alone does.
    let at = at.unwrap_or(1);
    region.fronts[at].queue.show(now, ticket);
    region.run(4_000);
    region.leave(1, seated[1].id);
    for _ in 0..10 {
        let now = region.now();
        region.fronts[at].queue.show(now, ticket);
        region.run(500);
    }
    assert_eq!(region.called.len(), 1);
    // Over: the ticket is good nowhere any more.
    let now = region.now();
    let at = region.called[0].0;
    assert!(matches!(
        region.fronts[at].queue.poll(now, ticket.id),
        Standing::Seated(_)
    ));
    region.leave(at, ticket.id);
    let other = (at + 1) % 3;
    for _ in 0..10 {
        let now = region.now();
        region.fronts[other].queue.show(now, ticket);
        region.run(500);
    }
    let now = region.now();
    assert_eq!(region.fronts[other].queue.show(now, ticket), Standing::Gone);
    assert_eq!(region.called.len(), 1);
}

#[test]
fn a_seat_goes_on_at_another_front_end_with_its_start() {
    let mut region = Region::new(4, 2);
    let seats = region.fill(4);
    let waits = region.arrive(1, 0).unwrap();
    region.run(2_000);
    let seat = seats[0];
    region.waiting.insert(seat.id, (0, seat.second));
    for _ in 0..12 {
        let now = region.now();
        region.fronts[1].queue.show(now, seat);
        region.run(500);
    }
    let now = region.now();
    let standing = region.fronts[1].queue.show(now, seat);
    assert!(
        matches!(standing, Standing::Seated(Session { start_s, .. }) if Some(start_s) == seat.start_s),
        "{standing:?}"
    );
    assert!(
        region.waiting.contains_key(&waits.id),
        "and takes nobody's turn"
    );
    let now = region.now();
    assert_eq!(region.fronts[0].queue.poll(now, seat.id), Standing::Gone);
}

#[test]
fn who_is_first_goes_first_and_weights_share_the_rest() {
    let class = |name: &str, weight, first| Class {
        name: name.into(),
        weight,
        first,
    };
    let classes = vec![
        class("pupils", 3, false),
        class("others", 1, false),
        class("teachers", 1, true),
    ];
    let rules = Rules {
        classes,
        ..Rules::default()
    };
    let mut region = Region::with(8, 2, rules);
    region.loose = true;
    let mut seated: Vec<_> = region.fill(8).iter().map(|user| user.id).collect();
    for n in 0..60 {
        region.arrive(n % 2, (n % 3) as u8);
        region.run(200);
    }
    let classes: BTreeMap<u64, u8> = region
        .waiting
        .iter()
        .map(|(&id, &(class, _))| (id, class))
        .collect();
    while region.called.len() < 44 {
        let id = seated.remove(0);
        let at = (0..2).find(|&at| region.fronts[at].queue.arrival(id).is_some());
        region.leave(at.unwrap(), id);
        let before = region.called.len();
        region.run(1_500);
        seated.extend(region.called[before..].iter().map(|called| called.1));
    }
    let order: Vec<_> = region
        .called
        .iter()
        .map(|called| classes[&called.1])
        .collect();
    assert!(order[..20].iter().all(|&class| class == 2), "{order:?}");
    let pupils = order[20..44].iter().filter(|&&class| class == 0).count();
    assert!(
        (17..=19).contains(&pupils),
        "{pupils} of 24 by weight 3 to 1"
    );
}

/// Ten slots, two front-ends, and a floor of two for the first.
fn with_a_floor() -> Region {
    let mut region = Region::new(10, 2);
    let floor = Change::SetFloor {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: Some("portal-0".into()),
        slots: 2,
    };
    let smaller = SetRegion {
        pool: "ent".into(),
        name: "normandie".into(),
        nominal: 8,
        ceiling: None,
        weight: 1,
    };
    region.configure("floor", vec![Change::SetRegion(smaller), floor]);
    region
}

#[test]
fn cut_off_a_front_end_goes_to_its_end_then_by_its_floor_and_comes_back() {
    let mut region = with_a_floor();
    region.run(3_000);
    assert_eq!(region.fronts[0].queue.floor(), 2);
    let seated = region.fill(8);
    region.arrivals(8, 500);
    assert!(!region.waiting.is_empty());
    region.fronts[0].connected = false;
    region.run(20_000);
    assert_eq!(
        region.fronts[0].queue.in_use(),
        2,
        "what its floor covers goes on"
    );
    assert!(region.ended.iter().all(|ended| ended.1 == Why::Uncovered));
    let covered = seated
        .iter()
        .find(|user| region.fronts[0].queue.arrival(user.id).is_some());
    let id = covered.unwrap().id;
    region
        .waiting
        .retain(|id, _| region.fronts[0].queue.arrival(*id).is_some());
    region.leave(0, id);
    let before = region.called.len();
    region.run(1_000);
    assert_eq!(
        region.called.len(),
        before + 1,
        "the floor's slot is used again"
    );
    region.fronts[0].connected = true;
    region.run(5_000);
    let standing = {
        let front = &mut region.fronts[0];
        front.keeper.standing(
            Duration::from_millis(region.now_ms),
            Front::Queue(&mut front.queue),
        )
    };
    assert!(standing.expires_in > Duration::from_secs(5), "{standing:?}");
    assert_eq!(standing.overdue, 0);
}

#[test]
fn a_front_end_that_was_vouched_to_be_gone_and_is_not_comes_back() {
    for cut_off in [false, true] {
        let mut region = with_a_floor();
        region.fill(8);
        assert_eq!(region.fronts[0].queue.floor(), 2);
        if cut_off {
            region.fronts[0].connected = false;
            region.run(20_000);
            // Whoever vouches for it says that nobody sits there any more.
            region.fronts[0].queue.end_newest(u64::MAX);
        }
        let gone = quota::RemoveHolder {
            request_id: "gone".into(),
            holder: "portal-0".into(),
            pool: Some("ent".into()),
        };
        region.apply(Command::RemoveHolder(gone)).unwrap();
        region.fronts[0].connected = true;
        region.run(20_000);
        let front = &region.fronts[0];
        assert_eq!(front.queue.floor(), 2, "told anew; cut off: {cut_off}");
        assert!(front.keeper.ever_granted());
        region.waiting.clear();
        region.loose = true;
        region.arrive(0, 0);
        region.run(3_000);
        assert!(region.fronts[0].queue.in_use() > 0);
    }
}
