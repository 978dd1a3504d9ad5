//! When somebody is to ask again: seldom while it is far from their turn, and never so often that all who ask are more
//! than the gate is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quota::Wait;

/// The shortest pause of somebody in line, in seconds.
const LEAST_S: u32 = 2;
/// The longest that the estimated wait alone makes it.
const MOST_S: u32 = 60;
/// Where nothing is known of the wait, and others are ahead.
const UNKNOWN_S: u32 = 10;
/// Somebody is to have asked so many times before the wait that is thought likely is over.
const TIMES: u32 = 10;
/// Of four polls that are wanted so many are there for whoever asks, and the others for those whose turn is near.
const ALL_PART: u64 = 3;
const NEAR_PART: u64 = 1;
/// Whoever is told to come before this part of the pause of all others is one of the latter.
const NEAR: f64 = 0.5;
/// A pause is spread over so much of itself.
const SPREAD: f64 = 1.0 / 3.0;
/// Whoever has asked too often waits between so long and so long, in seconds.
const TOO_MANY_S: (u32, u32) = (5, 30);

/// What a pause follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Polls a second that are wanted at the most.
    pub polls_per_s: u32,
    /// After so many seconds without a poll a place is given up: at the most half of it is waited.
    pub silence_s: u32,
}

/// The polls that people have been told to come for: no more in a second than are wanted.
#[derive(Debug, Default)]
pub struct Booked {
    all: Line,
    near: Line,
}

/// Until when it is booked, in nanoseconds: the generic cell rate algorithm, ahead of time.
#[derive(Debug, Default)]
struct Line(AtomicU64);

impl Line {
    /// How long it is until the next poll that is not booked.
    fn next(&self, now_ns: u64) -> Duration {
        let until = self.0.load(Ordering::Relaxed);
        Duration::from_nanos(until.saturating_sub(now_ns))
    }

    /// Books it.
    fn book(&self, each_ns: u64, most_ns: u64, now_ns: u64) {
        let next = |until: u64| {
            let next = until.max(now_ns).saturating_add(each_ns);
            Some(next.min(now_ns.saturating_add(most_ns)))
        };
        // It never fails: there is always a next.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

/// The longest that anybody is sent away for who is given up after `silence_s`, in seconds.
pub const fn longest_s(silence_s: u32) -> u32 {
    let half = silence_s / 2;
    if half < LEAST_S { LEAST_S } else { half }
}

impl Pace {
    /// Seconds until the next poll of somebody who has `ahead` people before them and is foretold `wait`, which is
    /// theirs alone. Who is near is not sent away for longer than half the wait, for meanwhile the slot that they
    /// are called for would stand idle. `dice`, 0 to 1, spreads those who came together: by a sixth either way.
    pub fn turn_s(
        self,
        booked: &Booked,
        ahead: u64,
        wait: Option<Wait>,
        now: Duration,
        dice: f64,
    ) -> u32 {
        let usual = match wait {
            Some(wait) => wait.p50_s / TIMES,
            None if ahead == 0 => LEAST_S,
            None => UNKNOWN_S,
        };
        let pause = self.pause(booked, usual.clamp(LEAST_S, MOST_S), now, dice);
        let near = wait.map(|wait| f64::from((wait.p50_s / 2).max(LEAST_S)));
        let Some(near) = near.filter(|near| *near < pause) else {
            return self.whole(pause);
        };
        let delay = booked.near.next(ns(now));
        self.whole(pause.min(near.max(delay.as_secs_f64())))
    }

    /// Seconds until the next poll of somebody who waits for what comes for all at once in `left_s` seconds.
    pub fn opening_s(self, booked: &Booked, left_s: Option<u32>, now: Duration, dice: f64) -> u32 {
        let usual = left_s.map_or(UNKNOWN_S, |left| left / TIMES);
        self.ask_in_s(booked, usual.clamp(LEAST_S, MOST_S), now, dice)
    }

    /// Seconds until the next poll of somebody who would ask again after `usual_s`: later where others have been told
    /// to come then.
    pub fn ask_in_s(self, booked: &Booked, usual_s: u32, now: Duration, dice: f64) -> u32 {
        self.whole(self.pause(booked, usual_s, now, dice))
    }

    /// Seconds until the next request of somebody whose requests are too many for `pause` yet.
    pub fn too_many_s(self, pause: Duration, dice: f64) -> u32 {
        let (least, most) = (f64::from(TOO_MANY_S.0), f64::from(TOO_MANY_S.1));
        let spread = least + (most - least) * dice.clamp(0.0, 1.0);
        self.whole(pause.as_secs_f64().ceil().clamp(spread, most))
    }

    /// Books a poll for somebody who was told to come after `pause_s`.
    pub fn book(self, booked: &Booked, pause_s: u32, now: Duration) {
        let (now_ns, longest_ns) = (ns(now), self.longest_ns());
        let is_near = f64::from(pause_s) < booked.all.next(now_ns).as_secs_f64() * NEAR;
        if is_near {
            booked
                .near
                .book(self.each_ns(NEAR_PART), longest_ns, now_ns);
        }
        booked.all.book(self.each_ns(ALL_PART), longest_ns, now_ns);
    }

    fn pause(self, booked: &Booked, usual_s: u32, now: Duration, dice: f64) -> f64 {
        let dice = dice.clamp(0.0, 1.0);
        let delay = booked.all.next(ns(now)).as_secs_f64();
        let pause = f64::from(usual_s) * (1.0 + (dice - 0.5) * SPREAD) + delay;
        let longest = f64::from(longest_s(self.silence_s));
        // More ask than are wanted, and can't be put off for longer: those who came together part at least.
        match pause > longest {
            true => longest * (1.0 - dice * SPREAD),
            false => pause,
        }
    }

    fn whole(self, pause: f64) -> u32 {
        // In range whatever was given: a float is cut off at the bounds of its type.
        (pause.round() as u32).clamp(1, longest_s(self.silence_s))
    }

    /// Between two polls, where `part` of four are booked.
    fn each_ns(self, part: u64) -> u64 {
        4_000_000_000 / (u64::from(self.polls_per_s.max(1)) * part)
    }

    fn longest_ns(self) -> u64 {
        u64::from(longest_s(self.silence_s)).saturating_mul(1_000_000_000)
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace {
        polls_per_s: 1_000,
        silence_s: 120,
    };
    const NOW: Duration = Duration::from_secs(1_000);

    fn wait(p50_s: u32) -> Option<Wait> {
        let p90_s = p50_s.saturating_mul(2);
        Some(Wait { p50_s, p90_s })
    }

    fn turn_s(ahead: u64, wait: Option<Wait>, dice: f64) -> u32 {
        PACE.turn_s(&Booked::default(), ahead, wait, NOW, dice)
    }

    #[test]
    fn pauses_are_shorter_the_nearer_the_turn() {
        let pauses = [0, 20, 100, 300, 600, 100_000].map(|s| turn_s(9, wait(s), 0.5));
        assert_eq!(pauses, [2, 2, 10, 30, 60, 60]);
        assert_eq!([9, 0].map(|ahead| turn_s(ahead, None, 0.5)), [10, 2]);
        assert_eq!([0.0, 1.0].map(|dice| turn_s(9, wait(300), dice)), [25, 35]);
    }

    #[test]
    fn many_ask_less_often_whatever_they_are_told() {
        let booked = Booked::default();
        let asks = || {
            let pause = PACE.ask_in_s(&booked, 1, NOW, 0.5);
            PACE.book(&booked, pause, NOW);
            pause
        };
        assert_eq!(asks(), 1);
        let pauses: Vec<u32> = (0..30_000).map(|_| asks()).collect();
        // 750 a second.
        assert_eq!((pauses[7_499], pauses[29_999]), (11, 41));
        assert_eq!(PACE.opening_s(&booked, Some(5), NOW, 0.5), 42);
        // Those of whom few are near do not stand behind them.
        assert_eq!(PACE.turn_s(&booked, 3, wait(8), NOW, 0.5), 4);
        let later = NOW + Duration::from_secs(41);
        assert_eq!(PACE.ask_in_s(&booked, 1, later, 0.5), 1);
    }

    #[test]
    fn too_many_come_back_spread_and_while_their_place_is_kept() {
        let short = Pace {
            silence_s: 30,
            ..PACE
        };
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let pauses = [0.0, 0.5, 1.0].map(|dice| PACE.too_many_s(second, dice));
        assert_eq!(pauses, [5, 18, 30]);
        assert_eq!(PACE.too_many_s(minute, 0.0), 30);
        assert_eq!(short.too_many_s(minute, 0.0), 15);
    }

    /// A line of 100,000 from which 20 a second are called: no more polls than are wanted, and nobody who was called
    /// is long in coming.
    #[test]
    fn a_long_line_asks_no_more_than_is_wanted_and_its_head_comes_at_once() {
        const PEOPLE: u32 = 100_000;
        const PER_S: u32 = 20;
        let pace = Pace {
            polls_per_s: 1_000,
            silence_s: 600,
        };
        let (booked, mut dice) = (Booked::default(), fastrand::Rng::with_seed(7));
        // All come within 20 seconds.
        let mut due: BinaryHeap<_> = (0..PEOPLE)
            .map(|nth| Reverse((u64::from(nth) * 20_000 / u64::from(PEOPLE), nth)))
            .collect();
        let (mut polls, mut late) = (vec![0_u32; 900], Vec::new());
        while let Some(Reverse((at_ms, nth))) = due.pop().filter(|next| next.0.0 < 900_000) {
            let at_s = u32::try_from(at_ms / 1_000).unwrap();
            polls[at_s as usize] += 1;
            let ahead = nth.saturating_sub(at_s.saturating_sub(20) * PER_S);
            if ahead == 0 {
                late.push(at_s.saturating_sub(20).saturating_sub(nth / PER_S));
                continue;
            }
            let now = Duration::from_millis(at_ms);
            let wait = wait(ahead.div_ceil(PER_S));
            let pause = pace.turn_s(&booked, ahead.into(), wait, now, dice.f64());
            pace.book(&booked, pause, now);
            due.push(Reverse((at_ms + u64::from(pause) * 1_000, nth)));
        }
        let busiest = polls[25..]
            .chunks(10)
            .map(|ten| ten.iter().sum::<u32>() / 10)
            .max();
        assert!(busiest.is_some_and(|most| most <= 1_020), "{busiest:?}");
        late.sort_unstable();
        assert!(late.len() > 15_000, "{}", late.len());
        let (half, most) = (late[late.len() / 2], late[late.len() * 99 / 100]);
        assert!(half <= 2 && most <= 10, "half {half} s, most {most} s");
    }

    /// Twice as many as can be put off come within five seconds: after some minutes they ask spread, and not at once.
    #[test]
    fn more_than_can_be_put_off_do_not_ask_in_step() {
        const PEOPLE: u64 = 90_000;
        let (booked, mut dice) = (Booked::default(), fastrand::Rng::with_seed(7));
        let mut due: BinaryHeap<_> = (0..PEOPLE)
            .map(|nth| Reverse(nth * 5_000 / PEOPLE))
            .collect();
        let mut polls = vec![0_u64; 600];
        while let Some(Reverse(at_ms)) = due.pop().filter(|next| next.0 < 600_000) {
            polls[usize::try_from(at_ms / 1_000).unwrap()] += 1;
            let now = Duration::from_millis(at_ms);
            let pause = PACE.turn_s(&booked, 100_000, wait(100_000), now, dice.f64());
            PACE.book(&booked, pause, now);
            due.push(Reverse(at_ms + u64::from(pause) * 1_000));
        }
        let late = &polls[300..];
        let mean = late.iter().sum::<u64>() / late.len() as u64;
        let most = late.iter().max().copied().unwrap_or_default();
        assert!(most < 2 * mean, "{most} in a second, {mean} on average");
    }

    proptest! {
        #[test]
        fn nobody_is_sent_away_for_longer_than_the_place_is_kept(
            ahead: u64, p50_s: u32, before in 0_usize..40, dice: f64, polls_per_s in 1u32.., silence_s in 30u32..3_600,
        ) {
            let (pace, booked) = (Pace { polls_per_s, silence_s }, Booked::default());
            for _ in 0..before {
                let pause = pace.ask_in_s(&booked, 1, NOW, dice);
                pace.book(&booked, pause, NOW);
            }
            for pause in [
                pace.turn_s(&booked, ahead, wait(p50_s), NOW, dice),
                pace.opening_s(&booked, Some(p50_s), NOW, dice),
                pace.ask_in_s(&booked, 30, NOW, dice),
                pace.too_many_s(Duration::from_secs(p50_s.into()), dice),
            ] {
                prop_assert!((1..=silence_s / 2).contains(&pause));
            }
        }
    }
}
