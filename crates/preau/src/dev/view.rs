//! What is shown: a table of the regions for people, and a summary for programs.

use std::collections::BTreeMap;

use api::v1;
use serde::Serialize;

use super::front_end::{Counts, FrontEnd};
use super::morning::Assumed;
use crate::output::{table, thousands};

/// A region as the cluster and its front-end see it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Region {
    pub region: String,
    /// The most that it may hold: its ceiling, or else the pool's capacity.
    pub capacity: u64,
    pub nominal: u64,
    pub held: u64,
    pub borrowed: u64,
    pub lent: u64,
    /// Users who wait at its front-end.
    pub waiting: u64,
    pub arrived: u64,
    pub admitted: u64,
    pub refused: u64,
    pub cut_short: u64,
    /// Users who went without a seat.
    pub lost: u64,
    /// Whether whoever comes is seated at once.
    pub open: bool,
    pub peak_held: u64,
    pub peak_borrowed: u64,
    pub peak_lent: u64,
    pub peak_waiting: u64,
    #[serde(skip)]
    pub admitted_a_second: f64,
}

impl Region {
    /// Takes in what the cluster says of it.
    pub fn look(&mut self, status: &v1::RegionStatus, pool_capacity: u64) {
        self.capacity = status.ceiling.unwrap_or(pool_capacity).min(pool_capacity);
        self.nominal = status.nominal;
        self.held = status.held;
        self.borrowed = status.borrowed;
        self.lent = status.lent;
        self.peak_held = self.peak_held.max(self.held);
        self.peak_borrowed = self.peak_borrowed.max(self.borrowed);
        self.peak_lent = self.peak_lent.max(self.lent);
    }

    /// Takes in what its front-end has counted, `seconds` after the last time.
    pub fn count(&mut self, front_end: &FrontEnd, seconds: f64) {
        let counts = front_end.counts();
        let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
        let admitted = sum(|c| c.admitted);
        let new = admitted.saturating_sub(self.admitted);
        self.admitted_a_second = new as f64 / seconds.max(f64::EPSILON);
        self.waiting = sum(|c| c.waiting);
        self.arrived = sum(|c| c.arrived);
        self.admitted = admitted;
        self.refused = sum(|c| c.refused);
        self.cut_short = sum(|c| c.cut_short);
        self.lost = sum(|c| c.lost);
        self.peak_waiting = self.peak_waiting.max(self.waiting);
        self.open = front_end.status().open;
    }
}

/// A class of users, at all front-ends together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Class {
    pub class: String,
    pub arrived: u64,
    pub admitted: u64,
    /// Users who found no seat at once.
    pub refused: u64,
    pub waiting: u64,
    pub peak_waiting: u64,
    pub in_use: u64,
    /// What those are told who come now and have to wait: half are in within the first, nine of ten within
    /// the second, in seconds here. The longest of all regions; absent where nobody knows.
    pub wait_p50_s: Option<u32>,
    pub wait_p90_s: Option<u32>,
    #[serde(skip)]
    pub admitted_a_second: f64,
}

impl Class {
    /// Takes in what the front-ends have counted, `seconds` after the last time.
    pub fn count(&mut self, counts: &[Counts], seconds: f64) {
        let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
        let admitted = sum(|c| c.admitted);
        let new = admitted.saturating_sub(self.admitted);
        self.admitted_a_second = new as f64 / seconds.max(f64::EPSILON);
        self.arrived = sum(|c| c.arrived);
        self.admitted = admitted;
        self.refused = sum(|c| c.refused);
        self.waiting = sum(|c| c.waiting);
        self.peak_waiting = self.peak_waiting.max(self.waiting);
        self.in_use = sum(|c| c.in_use);
        // What was told to the last who came says nothing once nobody waits any more.
        let told = counts.iter().filter(|c| c.waiting > 0);
        let told: Vec<_> = told.filter_map(|c| c.told).collect();
        self.wait_p50_s = told.iter().map(|wait| wait.p50_s).max();
        self.wait_p90_s = told.iter().map(|wait| wait.p90_s).max();
    }

    /// The wait that is told, in minutes of the morning.
    fn wait(&self, speed: u64) -> String {
        let minutes = |seconds: u32| (u64::from(seconds) * speed).div_ceil(60);
        match (self.waiting, self.wait_p50_s, self.wait_p90_s) {
            (0, ..) => String::new(),
            (_, Some(p50), Some(p90)) => {
                format!(
                    "{} to {} min",
                    thousands(minutes(p50)),
                    thousands(minutes(p90))
                )
            }
            _ => "not known".into(),
        }
    }
}

/// How the whole run stands, and in the end what it came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    pub nodes: Vec<String>,
    /// Where the demonstration portal is, with a waiting room before it.
    pub portal: String,
    pub pool: String,
    /// Seconds that the run took.
    pub seconds: f64,
    /// One user here stands for this many in life; the budget is divided by it too.
    pub scale: u64,
    /// Seconds of the morning that pass in one.
    pub speed: u64,
    pub seed: u64,
    pub assumed: Assumed,
    pub capacity: u64,
    /// Slots that the cluster has out, and the most that it had at any look.
    pub held: u64,
    pub peak_held: u64,
    /// Sessions open, and the most at any instant.
    pub in_use: u64,
    pub peak_in_use: u64,
    /// The most sessions that were ever open beyond the budget.
    pub over_budget: u64,
    pub arrived: u64,
    pub admitted: u64,
    pub refused: u64,
    pub cut_short: u64,
    pub lost: u64,
    pub waiting: u64,
    pub peak_waiting: u64,
    pub borrowed: u64,
    pub peak_borrowed: u64,
    pub lent: u64,
    pub peak_lent: u64,
    pub leader: u64,
    pub leader_changes: u64,
    /// Log entries applied.
    pub entries: u64,
    /// Looks at the pool that failed, by status code.
    pub errors: BTreeMap<&'static str, u64>,
    /// Looks at a front-end that found it without an answer from the cluster.
    pub unconnected: u64,
    /// Users who were told how long they would wait and have been seated since; those of them who were in
    /// within the first figure, and within the second.
    pub told: u64,
    pub within_p50: u64,
    pub within_p90: u64,
    pub classes: Vec<Class>,
    pub regions: Vec<Region>,
    #[serde(skip)]
    pub admitted_a_second: f64,
}

impl Summary {
    /// Adds the regions up.
    pub fn add_up(&mut self) {
        let sum = |of: fn(&Region) -> u64| self.regions.iter().map(of).sum::<u64>();
        self.arrived = sum(|r| r.arrived);
        self.admitted = sum(|r| r.admitted);
        self.refused = sum(|r| r.refused);
        self.cut_short = sum(|r| r.cut_short);
        self.lost = sum(|r| r.lost);
        self.waiting = sum(|r| r.waiting);
        self.borrowed = sum(|r| r.borrowed);
        self.lent = sum(|r| r.lent);
        self.peak_waiting = self.peak_waiting.max(self.waiting);
        self.peak_borrowed = self.peak_borrowed.max(self.borrowed);
        self.peak_lent = self.peak_lent.max(self.lent);
        self.admitted_a_second = self.regions.iter().map(|r| r.admitted_a_second).sum();
    }

    /// Puts rates over the whole run in the place of those of the last second.
    pub fn average(&mut self) {
        let seconds = self.seconds.max(f64::EPSILON);
        for region in &mut self.regions {
            region.admitted_a_second = region.admitted as f64 / seconds;
        }
        for class in &mut self.classes {
            class.admitted_a_second = class.admitted as f64 / seconds;
        }
        self.admitted_a_second = self.admitted as f64 / seconds;
    }

    /// The time in Paris.
    fn clock(&self) -> String {
        self.assumed.clock(self.seconds * self.speed as f64)
    }

    /// One line, for a log.
    pub fn line(&self) -> String {
        format!(
            "{} held {} of {}, borrowed {}, lent {}, waiting {}, admitted/s {:.0}, leader {}",
            self.clock(),
            thousands(self.held),
            thousands(self.capacity),
            thousands(self.borrowed),
            thousands(self.lent),
            thousands(self.waiting),
            self.admitted_a_second,
            self.leader,
        )
    }

    /// The table, with a line above it and one below.
    pub fn table(&self) -> String {
        let mut table = table(&[
            "region",
            ">capacity",
            ">nominal",
            ">held",
            ">borrowed",
            ">lent",
            ">waiting",
            ">admitted/s",
            "state",
        ]);
        let state = |open: bool| if open { "open" } else { "ordered" }.to_owned();
        let rate = |rate: f64| thousands(rate.round() as u64);
        for region in &self.regions {
            table.add_row([
                region.region.clone(),
                thousands(region.capacity),
                thousands(region.nominal),
                thousands(region.held),
                thousands(region.borrowed),
                thousands(region.lent),
                thousands(region.waiting),
                rate(region.admitted_a_second),
                state(region.open),
            ]);
        }
        table.add_row([
            "all".into(),
            thousands(self.capacity),
            thousands(self.regions.iter().map(|r| r.nominal).sum()),
            thousands(self.held),
            thousands(self.borrowed),
            thousands(self.lent),
            thousands(self.waiting),
            rate(self.admitted_a_second),
            String::new(),
        ]);
        format!(
            "{} in Paris, {}x as fast; 1 user for {}; {} of {} sessions open; node {} leads\n\
             {}\n\n\
             {}\n\
             PREAU_NODES={}\n\
             A portal, with a waiting room before it: {}",
            self.clock(),
            self.speed,
            thousands(self.scale),
            thousands(self.in_use),
            thousands(self.capacity),
            self.leader,
            table.trim_fmt(),
            self.classes_table(),
            self.nodes.join(","),
            self.portal,
        )
    }

    /// The classes, and how far off the foretold waits were.
    fn classes_table(&self) -> String {
        let mut table = table(&[
            "class",
            ">in",
            ">waiting",
            ">admitted/s",
            ">wait for whoever comes now",
        ]);
        for class in &self.classes {
            table.add_row([
                class.class.clone(),
                thousands(class.in_use),
                thousands(class.waiting),
                thousands(class.admitted_a_second.round() as u64),
                class.wait(self.speed),
            ]);
        }
        let part = |of: u64| of * 100 / self.told.max(1);
        let told = match self.told {
            0 => "no foretold wait is over yet".to_owned(),
            told => format!(
                "of {} foretold waits {} % were within the first figure and {} % within the second",
                thousands(told),
                part(self.within_p50),
                part(self.within_p90),
            ),
        };
        format!("{}\n{told}", table.trim_fmt())
    }
}
