//! Faults of the weather.

use std::time::Duration;

use super::Nemesis;
use crate::faults::Kind;
use crate::network::{LOAD, Weather};

const DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(100));
const LOSS_PERCENT: u32 = 30;

impl Nemesis {
    /// Makes one, and says what it is.
    pub(super) fn network(&mut self, kind: Kind) -> Result<String, String> {
        let weather = self.cluster.weather().ok_or("there is no network")?;
        let ids = self.shuffled();
        Ok(match kind {
            Kind::IsolateLeader => {
                let leader = self.leader().unwrap_or(ids[0]);
                part(&weather, &[leader], &ids);
                let also = self.rng.bool();
                if also {
                    weather.part(leader, LOAD);
                }
                let from = if also {
                    "nodes and front-ends"
                } else {
                    "nodes"
                };
                format!("node {leader} from {from}")
            }
            Kind::Split => {
                let (few, many) = ids.split_at(ids.len() / 2);
                part(&weather, few, many);
                format!("{few:?} | {many:?}")
            }
            Kind::Bridge => {
                let (bridge, others) = ids.split_at(1);
                let (one, other) = others.split_at(others.len() / 2);
                part(&weather, one, other);
                format!("{one:?} - {bridge:?} - {other:?}")
            }
            Kind::Ring => {
                let count = ids.len();
                for (at, one) in ids.iter().enumerate() {
                    for (to, other) in ids.iter().enumerate() {
                        let apart = at.abs_diff(to);
                        if apart > 1 && apart < count - 1 {
                            weather.cut(*one, *other);
                        }
                    }
                }
                format!("of {ids:?}")
            }
            Kind::OneWay => {
                let silent = &ids[..self.rng.usize(1..=ids.len() / 2)];
                for one in silent {
                    for other in ids.iter().filter(|other| *other != one) {
                        weather.cut(*one, *other);
                    }
                }
                format!("from nodes {silent:?}")
            }
            Kind::Delay => {
                weather.delay(DELAY.0, DELAY.1);
                format!("of {:?} and up to {:?} more", DELAY.0, DELAY.1)
            }
            _ => {
                weather.lose(LOSS_PERCENT);
                format!("of {LOSS_PERCENT} %")
            }
        })
    }
}

fn part(weather: &Weather, some: &[u64], others: &[u64]) {
    for one in some {
        for other in others.iter().filter(|other| *other != one) {
            weather.part(*one, *other);
        }
    }
}
