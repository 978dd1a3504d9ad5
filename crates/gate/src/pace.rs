//! When somebody who waits is to ask again: seldom while it is far from their turn, and never so often that all who
//! wait are more than the gate is asked for.

use quota::Wait;

/// The shortest pause, in seconds.
const LEAST_S: u32 = 2;
/// The longest that the estimated wait alone makes it.
const MOST_S: u32 = 60;
/// Where nothing is known of the wait, and others are ahead.
const UNKNOWN_S: u32 = 10;
/// Somebody is to have asked so many times before the wait that is thought likely is over.
const TIMES: u32 = 10;

/// What a pause follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Polls a second that are wanted at the most.
    pub polls_per_s: u32,
    /// After so many seconds without a poll a place is given up: at the most half of it is waited.
    pub silence_s: u32,
}

impl Pace {
    /// Seconds until the next poll of somebody who has `ahead` people before them and is foretold `wait`, where
    /// `waiting` people wait in all. `dice`, 0 to 1, spreads those who came together: by a sixth either way.
    pub fn ask_in_s(self, ahead: u64, wait: Option<Wait>, waiting: u64, dice: f64) -> u32 {
        let likely = match wait {
            Some(wait) => wait.p50_s / TIMES,
            None if ahead == 0 => LEAST_S,
            None => UNKNOWN_S,
        };
        let likely = likely.clamp(LEAST_S, MOST_S);
        let all = waiting.div_ceil(self.polls_per_s.max(1).into());
        let pause = likely.max(u32::try_from(all).unwrap_or(u32::MAX));
        let most = (self.silence_s / 2).max(LEAST_S);
        let pause = f64::from(pause.min(most));
        let spread = pause * (1.0 + (dice.clamp(0.0, 1.0) - 0.5) / 3.0);
        // In range whatever was given: a float is cut off at the bounds of its type.
        (spread.round() as u32).clamp(LEAST_S, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace {
        polls_per_s: 1_000,
        silence_s: 120,
    };

    fn wait(p50_s: u32) -> Option<Wait> {
        let p90_s = p50_s.saturating_mul(2);
        Some(Wait { p50_s, p90_s })
    }

    #[test]
    fn pauses_are_shorter_the_nearer_the_turn() {
        let pauses = [0, 20, 100, 300, 600, 100_000].map(|s| PACE.ask_in_s(9, wait(s), 10, 0.5));
        assert_eq!(pauses, [2, 2, 10, 30, 60, 60]);
        assert_eq!(PACE.ask_in_s(9, None, 10, 0.5), 10);
        assert_eq!(PACE.ask_in_s(0, None, 10, 0.5), 2);
    }

    #[test]
    fn many_who_wait_ask_less_often() {
        assert_eq!(PACE.ask_in_s(9, wait(0), 30_000, 0.5), 30);
        let (few, many) = (
            PACE.ask_in_s(9, wait(0), 30_000, 0.0),
            PACE.ask_in_s(9, wait(0), 30_000, 1.0),
        );
        assert_eq!((few, many), (25, 35));
    }

    proptest! {
        #[test]
        fn nobody_is_sent_away_for_longer_than_the_place_is_kept(
            ahead: u64, p50_s: u32, waiting: u64, dice: f64, polls_per_s in 1u32.., silence_s in 30u32..3_600,
        ) {
            let pace = Pace { polls_per_s, silence_s };
            let pause = pace.ask_in_s(ahead, wait(p50_s), waiting, dice);
            prop_assert!((LEAST_S..=silence_s / 2).contains(&pause));
        }
    }
}
