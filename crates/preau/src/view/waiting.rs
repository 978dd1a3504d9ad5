//! How people wait, as JSON and as text: the rules, the queues, floors and the calendar.

use api::v1;
use serde::Serialize;

use super::{Pool, pools_table, regions_table};
use crate::budget::{next_text, reclaim_name, what_text, when_text};
use crate::output::{table, thousands};

/// The rules by which a pool's users wait.
#[derive(Debug, Clone, Serialize)]
pub struct Rules {
    pub overtake_s: u32,
    pub reclaim: &'static str,
    pub limit_s: Option<u32>,
    pub idle_s: Option<u32>,
    pub when_waiting_s: Option<u32>,
    pub notice_s: u32,
    pub least_s: u32,
    pub classes: Vec<Class>,
}

/// A class of users.
#[derive(Debug, Clone, Serialize)]
pub struct Class {
    pub name: String,
    pub weight: u32,
    pub first: bool,
}

/// Those of a class who wait in a region.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    pub class: String,
    pub waiting: u64,
    /// The second of cluster time in which the oldest arrived.
    pub oldest_s: u32,
    /// Served in a thousand seconds, at the median and at the slow end.
    pub rate_milli: u64,
    pub low_rate_milli: u64,
    /// Null where nothing is known yet.
    pub wait_p50_s: Option<u64>,
    pub wait_p90_s: Option<u64>,
}

/// Slots set aside for holders that are cut off.
#[derive(Debug, Clone, Serialize)]
pub struct Floor {
    /// Null for the floor that a region's holders share.
    pub holder: Option<String>,
    pub slots: u64,
    pub told: u64,
}

/// An entry of a calendar.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub name: String,
    /// Null for the pool itself.
    pub region: Option<String>,
    pub when: String,
    pub action: String,
    pub zone: String,
    /// Seconds since 1970; null before the first.
    pub last_unix_s: Option<i64>,
    /// Null where there is none to come.
    pub next_unix_s: Option<i64>,
    /// In the zone's time.
    pub next: Option<String>,
}

impl From<v1::Rules> for Rules {
    fn from(rules: v1::Rules) -> Self {
        let session = rules.session.unwrap_or_default();
        Self {
            overtake_s: rules.overtake_s.unwrap_or_default(),
            reclaim: reclaim_name(rules.reclaim()),
            limit_s: session.limit_s,
            idle_s: session.idle_s,
            when_waiting_s: session.when_waiting_s,
            notice_s: session.notice_s,
            least_s: session.least_s,
            classes: rules
                .classes
                .into_iter()
                .map(|class| Class {
                    name: class.name,
                    weight: class.weight.unwrap_or(1),
                    first: class.first,
                })
                .collect(),
        }
    }
}

impl From<v1::ClassStatus> for Queue {
    fn from(class: v1::ClassStatus) -> Self {
        Self {
            class: class.class,
            waiting: class.waiting,
            oldest_s: class.oldest_s,
            rate_milli: class.rate_milli,
            low_rate_milli: class.low_rate_milli,
            wait_p50_s: class.wait_p50_s,
            wait_p90_s: class.wait_p90_s,
        }
    }
}

impl From<v1::Floor> for Floor {
    fn from(floor: v1::Floor) -> Self {
        Self {
            holder: Some(floor.holder).filter(|holder| !holder.is_empty()),
            slots: floor.slots,
            told: floor.told,
        }
    }
}

impl From<v1::CalendarStatus> for Entry {
    fn from(status: v1::CalendarStatus) -> Self {
        let next = status.next_unix_s.map(|_| next_text(&status));
        let entry = status.entry.unwrap_or_default();
        Self {
            when: when_text(&entry),
            action: what_text(&entry),
            name: entry.name,
            region: Some(entry.region).filter(|region| !region.is_empty()),
            zone: status.zone,
            last_unix_s: status.last_unix_s,
            next_unix_s: status.next_unix_s,
            next,
        }
    }
}

impl Pool {
    /// All that there is to say of the pool: what does not apply is left out.
    pub fn text(&self) -> String {
        let mut parts = vec![
            pools_table([self]).trim_fmt(),
            self.modes_text(),
            regions_table([self]).trim_fmt(),
            self.rules.text(),
            self.queues_text(),
            self.floors_text(),
            self.calendar_text(),
        ];
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }

    fn modes_text(&self) -> String {
        let said = |place: &str, mode: &str, reason: &str| match reason {
            "" => format!("{place} is {mode}"),
            reason => format!("{place} is {mode}: {reason}"),
        };
        let mut lines = Vec::new();
        if self.mode != "open" || !self.reason.is_empty() {
            lines.push(said("the pool", self.mode, &self.reason));
        }
        for region in &self.regions {
            if region.mode != "open" || !region.reason.is_empty() {
                let place = format!("region {:?}", region.name);
                lines.push(said(&place, region.mode, &region.reason));
            }
        }
        lines.join("\n")
    }

    fn queues_text(&self) -> String {
        let mut rows = table(&[
            "REGION",
            "CLASS",
            ">WAIT",
            ">OLDEST S",
            ">SERVED/MIN",
            ">50 % WITHIN",
            ">90 % WITHIN",
        ]);
        let within = |wait: Option<u64>| wait.map_or("-".into(), |s| format!("{} s", thousands(s)));
        let mut any = false;
        for region in &self.regions {
            for queue in &region.queues {
                any = true;
                rows.add_row([
                    region.name.clone(),
                    queue.class.clone(),
                    thousands(queue.waiting),
                    thousands(queue.oldest_s.into()),
                    thousands(queue.rate_milli.saturating_mul(60) / 1_000),
                    within(queue.wait_p50_s),
                    within(queue.wait_p90_s),
                ]);
            }
        }
        if any { rows.trim_fmt() } else { String::new() }
    }

    fn floors_text(&self) -> String {
        let mut rows = table(&["REGION", "FLOOR OF", ">SLOTS", ">TOLD", ">SET ASIDE"]);
        let mut any = false;
        for region in &self.regions {
            for floor in &region.floors {
                any = true;
                rows.add_row([
                    region.name.clone(),
                    floor.holder.clone().unwrap_or("all who report".into()),
                    thousands(floor.slots),
                    thousands(floor.told),
                    thousands(region.set_aside),
                ]);
            }
        }
        if any { rows.trim_fmt() } else { String::new() }
    }

    fn calendar_text(&self) -> String {
        if self.calendar.is_empty() {
            return String::new();
        }
        let mut rows = table(&["CALENDAR", "WHEN", "WHAT", "NEXT"]);
        for entry in &self.calendar {
            let next = entry.next.clone().unwrap_or("-".into());
            rows.add_row([&entry.name, &entry.when, &entry.action, &next]);
        }
        rows.trim_fmt()
    }
}

impl Rules {
    fn text(&self) -> String {
        let mut rows = table(&["CLASS", ">WEIGHT", "FIRST"]);
        for class in &self.classes {
            let first = if class.first { "yes" } else { "" };
            rows.add_row([class.name.as_str(), &class.weight.to_string(), first]);
        }
        let seconds = |name: &str, limit: Option<u32>| {
            limit.map(|s| format!("{name} {} s", thousands(s.into())))
        };
        let limits: Vec<String> = [
            seconds("longest", self.limit_s),
            seconds("idle", self.idle_s),
            seconds("while others wait", self.when_waiting_s),
            seconds("notice", Some(self.notice_s).filter(|&s| s > 0)),
            seconds("never under", Some(self.least_s).filter(|&s| s > 0)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let limits = match limits.is_empty() {
            true => "without limit".to_owned(),
            false => limits.join(", "),
        };
        format!(
            "{}\n\nserved before all later ones after {} s of waiting; sessions: {limits}; reclaim: {}",
            rows.trim_fmt(),
            thousands(self.overtake_s.into()),
            self.reclaim
        )
    }
}
