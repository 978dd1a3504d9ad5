//! A front-end is killed and started again, and goes on with its lease.

use super::*;
use crate::queue::BACK_WITHIN_S;

/// How long whoever comes back may have to wait until that is settled.
const SETTLED_MS: u64 = 1_200;

fn region(capacity: u64, fronts: usize) -> Region {
    let mut region = Region::new(capacity, fronts);
    region.in_turn = true;
    region
}

impl Region {
    /// Kills a front-end, and starts it again a second later, unless its lease has ended. `late` has it send a
    /// request before that is carried out after the new one has looked how the lease stands.
    pub(super) fn restart(&mut self, at: usize, late: bool) {
        let (now, front) = (self.now(), &mut self.fronts[at]);
        let sent = front.keeper.poll(now, &mut front.queue).filter(|_| late);
        front.runs = false;
        self.run(1_000);
        let name = self.fronts[at].name.clone();
        let leases = self.state.leases("ent", None, Some(&name), None, 10);
        let live = |view: &&quota::LeaseView| view.phase == quota::LeasePhase::Live;
        let mut front = FrontEnd::new(at, 1_000 + self.now_ms);
        front.keeper = Keeper::new(FrontEnd::SETTINGS, self.now_ms);
        if let Some(lease) = leases.iter().find(live) {
            let in_use = self.state.report_of(lease.lease).map_or(0, |r| r.in_use);
            let (id, epoch) = (lease.lease.0, lease.epoch);
            front.keeper = front.keeper.resume(id, epoch, lease.seq, lease.slots);
            front.queue.resume(lease.slots, in_use);
        }
        if let Some((_, request)) = sent {
            let command = self.command(at, request);
            // It may be refused.
            let _ = self.apply(command);
        }
        let firsts = self.firsts.clone();
        front.queue.set_classes(firsts);
        self.fronts[at] = front;
    }

    /// The region is full: the seats of those who are in.
    fn seats(&mut self, slots: usize) -> Vec<Shown> {
        let all = self.fill(slots).into_iter();
        // Who waited for a moment has the seat since then.
        all.map(|shown| Shown {
            start_s: shown.start_s.or(Some(shown.second)),
            ..shown
        })
        .collect()
    }

    /// Somebody shows the token that they had, as a door takes it.
    pub(super) fn show(&mut self, at: usize, shown: Shown) -> Standing {
        let (now, front) = (self.now(), &mut self.fronts[at]);
        let issued_s = shown.start_s.unwrap_or(shown.second);
        let own = shown.issuer == front.issuer() && !front.queue.gave_up(shown.id);
        if own && front.queue.is_from_before(shown.id, issued_s) {
            let issuer = quota::KEPT;
            front.queue.show(now, Shown { issuer, ..shown })
        } else if own || front.queue.arrival(shown.id).is_some() {
            front.queue.poll(now, shown.id)
        } else {
            front.queue.show(now, shown)
        }
    }

    /// Somebody who was in comes back, and asks until it is settled how they stand.
    fn come_back(&mut self, at: usize, seat: Shown) -> Standing {
        self.waiting.insert(seat.id, (seat.class, seat.second));
        self.show(at, seat);
        self.run(SETTLED_MS);
        let standing = self.show(at, seat);
        self.waiting.remove(&seat.id);
        standing
    }

    /// Everybody who waits shows the ticket, for so long.
    fn all_ask(&mut self, at: usize, tickets: &[Shown], seconds: u64) {
        for _ in 0..seconds {
            for &ticket in tickets {
                if self.waiting.contains_key(&ticket.id) {
                    self.show(at, ticket);
                }
            }
            self.run(1_000);
        }
    }
}

fn is_in(standing: &Standing) -> bool {
    matches!(standing, Standing::Seated(_))
}

#[test]
fn who_was_in_is_in_whoever_waits_and_asks_before_them() {
    let mut region = region(10, 1);
    let seats = region.seats(10);
    let tickets = region.arrivals(10, 1_100);
    region.restart(0, false);
    region.all_ask(0, &tickets, 30);
    assert_eq!(region.waiting_at(0), 10, "and nobody has lost their place");
    assert!(region.called.is_empty(), "{:?} was let in", region.called);
    assert_eq!(region.fronts[0].queue.in_use(), 10);
    for &seat in &seats[..6] {
        let standing = region.come_back(0, seat);
        assert!(
            matches!(standing, Standing::Seated(session) if Some(session.start_s) == seat.start_s),
            "{standing:?}"
        );
    }
    region
        .called
        .retain(|called| tickets.iter().any(|ticket| ticket.id == called.1));
    assert!(region.called.is_empty(), "{:?} was let in", region.called);

    // Four never come back: their slots go to whoever is next.
    region.all_ask(0, &tickets, u64::from(BACK_WITHIN_S));
    let called: Vec<u64> = region.called.iter().map(|called| called.1).collect();
    let first: Vec<u64> = tickets[..4].iter().map(|ticket| ticket.id).collect();
    assert_eq!(called, first);
    // Who comes later than that waits before everybody else.
    let late = seats[9];
    region.waiting.insert(late.id, (late.class, late.second));
    region.show(0, late);
    region.run(SETTLED_MS);
    assert!(matches!(region.show(0, late), Standing::Waiting(place) if place.ahead == 0));
}

#[test]
fn who_waits_at_another_front_end_gets_no_slot_of_who_was_in() {
    let mut region = region(10, 2);
    let seats = region.seats(10);
    region.arrive(1, 0).unwrap();
    region.run(2_000);
    region.restart(0, false);
    region.run(20_000);
    assert!(region.called.is_empty(), "{:?} was let in", region.called);
    for &seat in seats.iter().step_by(2) {
        let standing = region.come_back(0, seat);
        assert!(is_in(&standing), "{standing:?}");
    }
}

#[test]
fn sessions_go_on_after_a_restart_during_a_pause() {
    let mut region = region(4, 1);
    let seats = region.seats(4);
    let paused = Change::SetMode {
        pool: "ent".into(),
        region: None,
        mode: quota::Mode::Paused,
        reason: "a pause".into(),
    };
    region.configure("pause", vec![paused]);
    region.run(2_000);
    region.restart(0, false);
    region.run(2_000);
    for &seat in &seats {
        let standing = region.come_back(0, seat);
        assert!(is_in(&standing), "{standing:?}");
    }
}

#[test]
fn a_token_from_before_is_good_at_another_front_end_and_once() {
    let mut region = region(4, 2);
    let seats = region.seats(4);
    let ticket = region.arrive(0, 0).unwrap();
    region.run(2_000);
    region.restart(0, false);
    for _ in 0..6 {
        region.show(1, ticket);
        region.run(500);
    }
    assert!(matches!(region.show(1, ticket), Standing::Waiting(_)));
    region.run(2_000);
    assert_eq!(region.fronts[0].queue.arrival(ticket.id), None);
    // Who has come back and goes is gone.
    let seat = seats[0];
    let standing = region.come_back(0, seat);
    assert!(is_in(&standing), "{standing:?}");
    region.leave(0, seat.id);
    region.run(SETTLED_MS);
    assert_eq!(region.show(0, seat), Standing::Gone);
}

#[test]
fn a_lease_that_ended_meanwhile_is_taken_anew() {
    let mut region = region(4, 1);
    region.fill(4);
    region.restart(0, false);
    // Heard once, and then no more.
    region.run(1_000);
    assert_eq!(region.fronts[0].queue.in_use(), 4);
    region.fronts[0].connected = false;
    region.run(20_000);
    assert_eq!(region.fronts[0].queue.in_use(), 0, "others may have them");
    region.fronts[0].connected = true;
    region.run(3_000);
    assert_eq!(region.fronts[0].queue.in_use(), 0, "they are anybody's");
    region.arrive(0, 0);
    region.run(2_000);
    assert_eq!(region.fronts[0].queue.in_use(), 1);
}
