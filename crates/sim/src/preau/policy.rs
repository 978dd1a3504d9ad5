//! What happens in a run, told to the front-ends and the coordinator.

use super::front_end::at;
use super::{BEFORE_MS, NOWHERE, Preau, Tick, number_of, packed, unpacked};
use crate::play::{Estimates, Own, Play, Policy, Stage};
use crate::scenario::Fault;
use crate::users::Ms;

impl Policy for Preau {
    fn begin(&mut self, play: &mut Play<'_>) {
        self.place = vec![NOWHERE; play.users.len()];
        self.id = vec![0; play.users.len()];
        self.told_s = vec![0; play.users.len()];
        for place in 0..self.front_ends.len() {
            let front_end = &mut self.front_ends[place];
            front_end.runs = true;
            let begins = play.users.places[front_end.region]
                .begins
                .saturating_sub(BEFORE_MS);
            play.tick(begins + front_end.phase, packed(Tick::Report, place, 0));
        }
        play.tick(1_000, packed(Tick::Second, 0, 0));
    }

    fn arrive(&mut self, play: &mut Play<'_>, user: u32) {
        self.line_up(play, user);
        if play.stage(user) == Stage::Waiting {
            play.stays(user);
        }
    }

    fn retry(&mut self, play: &mut Play<'_>, user: u32) {
        self.line_up(play, user);
    }

    fn ended(&mut self, play: &mut Play<'_>, user: u32) {
        self.leave(play, user);
    }

    fn gave_up(&mut self, play: &mut Play<'_>, user: u32, says_so: bool) {
        if says_so {
            self.leave(play, user);
        } else {
            play.falls_silent(user, play.scenario.front_ends.silence_s * 1_000);
        }
    }

    fn silent(&mut self, play: &mut Play<'_>, user: u32) {
        let silence = play.scenario.front_ends.silence_s * 1_000;
        match self.kept_for.remove(&user) {
            // Whoever is called has so long to come.
            Some(called) if called + silence > play.now => {
                play.falls_silent(user, called + silence - play.now);
            }
            _ => self.leave(play, user),
        }
    }

    fn tick(&mut self, play: &mut Play<'_>, of: u32) {
        let (tick, place, number) = unpacked(of);
        match tick {
            Tick::Report => self.report_due(play, place),
            Tick::Deliver => self.deliver(play, place, number),
            Tick::Answer => {
                let front_end = &mut self.front_ends[place];
                if !front_end.runs || self.cut_off[front_end.region] {
                    return;
                }
                let again = front_end.answered(play.now, |seq| number_of(seq) == number);
                self.happen(play, place);
                if again {
                    self.ask(play, place);
                }
            }
            Tick::Timeout => {
                let front_end = &self.front_ends[place];
                let asked = front_end.asked.as_ref();
                if front_end.runs && asked.is_some_and(|asked| number_of(asked.seq) == number) {
                    self.send(play, place);
                }
            }
            Tick::RunOut => {
                let front_end = &mut self.front_ends[place];
                if front_end.runs && front_end.deadline <= play.now {
                    front_end.queue.run_out(at(play.now), true);
                    self.happen(play, place);
                }
            }
            Tick::Turn => {
                if self.front_ends[place].runs {
                    self.front_ends[place].queue.tick(at(play.now));
                    self.happen(play, place);
                }
            }
            Tick::Second => {
                self.check_budget(play);
                play.tick(play.now + 1_000, packed(Tick::Second, 0, 0));
            }
        }
    }

    fn fault(&mut self, play: &mut Play<'_>, fault: &Fault, begins: bool) {
        let of = |name: &String| play.scenario.region.iter().position(|r| r.name == *name);
        match fault {
            Fault::LeaderLost { for_s, .. } if begins => {
                self.coordinator.lost_until = play.now + (for_s * 1_000.0) as Ms;
            }
            Fault::LeaderLost { .. } => {}
            Fault::RegionCutOff { region, .. } => {
                if let Some(region) = of(region) {
                    self.cut_off[region] = begins;
                }
            }
            Fault::Capacity { capacity, .. } => self.coordinator.set_capacity(play.now, *capacity),
            Fault::FrontEndsKilled { region, count, .. } => {
                if let Some(region) = of(region) {
                    self.kill(play, region, *count as usize);
                }
            }
        }
    }

    fn out(&self) -> u64 {
        self.coordinator.held()
    }

    fn end(&mut self, _play: &Play<'_>) -> Own {
        let mut told = client::queue::Accuracy::default();
        for front_end in &self.front_ends {
            let accuracy = front_end.queue.accuracy();
            told.told += accuracy.told;
            told.within_p50 += accuracy.within_p50;
            told.within_p90 += accuracy.within_p90;
        }
        let part = |users: u64| users as f64 / told.told.max(1) as f64;
        Own {
            messages: self.coordinator.messages,
            bytes: self.coordinator.bytes,
            max_over_budget: self.max_over,
            estimates: (told.told > 0).then(|| Estimates {
                made: told.told,
                within_p50: part(told.within_p50),
                within_p90: part(told.within_p90),
                error_percent: median(&self.off_percent),
            }),
        }
    }
}

fn median(by_percent: &[u64]) -> f64 {
    let all: u64 = by_percent.iter().sum();
    let mut seen = 0;
    let at = by_percent.iter().position(|users| {
        seen += users;
        seen * 2 >= all
    });
    at.unwrap_or(0) as f64
}
