//! What a scenario may say. Each refusal names the field, the value and what was expected.

use super::{Fault, MAX_CLASSES, MAX_FAULTS, MAX_FRONT_ENDS, MAX_REGIONS, MAX_USERS, Scenario};
use crate::clock::TimeOfDay;

/// Longest time that a scenario speaks of, in seconds: a day.
const DAY_S: u32 = 86_400;

impl Scenario {
    /// Whether all of it can be.
    pub(super) fn check(&self) -> Result<(), String> {
        let strangers = self.strangers.as_ref().map_or(0, |s| u64::from(s.times));
        let all = self.users.saturating_mul(1 + strangers);
        number("users", self.users, 1, MAX_USERS)?;
        if all > MAX_USERS {
            return refuse(
                "strangers.times",
                strangers,
                format!("users and strangers to be at most {MAX_USERS} together"),
            );
        }
        number("capacity", self.capacity, 1, quota::limits::MAX_SLOTS)?;
        after("to", self.to, "from", self.from)?;
        within("arrivals.opens", self.arrivals.opens, self)?;
        real("arrivals.spread_s", self.arrivals.spread_s, 0.001, 7_200.0)?;
        real("arrivals.stagger_s", self.arrivals.stagger_s, 0.0, 7_200.0)?;
        real("arrivals.strays", self.arrivals.strays, 0.0, 1.0)?;
        let longest = f64::from(DAY_S);
        let sessions = &self.sessions;
        real("sessions.shortest_s", sessions.shortest_s, 0.001, longest)?;
        real("sessions.mean_s", sessions.mean_s, 0.001, longest)?;
        real(
            "sessions.longest_s",
            sessions.longest_s,
            sessions.shortest_s,
            longest,
        )?;
        real("patience.mean_s", self.patience.mean_s, 0.001, longest)?;
        real(
            "patience.shortest_s",
            self.patience.shortest_s,
            0.0,
            longest,
        )?;
        real("patience.says_so", self.patience.says_so, 0.0, 1.0)?;
        real("retry.mean_s", self.retry.mean_s, 0.001, longest)?;
        real("retry.shortest_s", self.retry.shortest_s, 1.0, longest)?;
        real("overload.exponent", self.overload.exponent, 0.0, 8.0)?;
        real(
            "overload.falls_over_at",
            self.overload.falls_over_at,
            1.0,
            1e6,
        )?;
        number("overload.after_s", self.overload.after_s, 1, DAY_S)?;
        number(
            "overload.back_after_s",
            self.overload.back_after_s,
            1,
            DAY_S,
        )?;
        number("rules.overtake_s", self.rules.overtake_s, 1, DAY_S)?;
        self.check_front_ends()?;
        self.check_classes()?;
        self.check_regions()?;
        self.check_faults()
    }

    fn check_front_ends(&self) -> Result<(), String> {
        let f = &self.front_ends;
        number("front_ends.count", f.count, 1, MAX_FRONT_ENDS)?;
        let ttl = quota::limits::TTL_MS;
        number("front_ends.ttl_ms", f.ttl_ms, *ttl.start(), *ttl.end())?;
        number("front_ends.report_ms", f.report_ms, 100, 10_000)?;
        real("front_ends.delay_ms", f.delay_ms, 0.0, 10_000.0)?;
        real("front_ends.jitter_ms", f.jitter_ms, 0.0, 10_000.0)?;
        real("front_ends.loss", f.loss, 0.0, 1.0)?;
        number("front_ends.timeout_ms", f.timeout_ms, 1, 60_000)?;
        number("front_ends.silence_s", f.silence_s, 1, 3_600)?;
        real("front_ends.floor", f.floor, 0.0, 1.0)
    }

    fn check_classes(&self) -> Result<(), String> {
        let most = MAX_CLASSES - usize::from(self.strangers.is_some());
        number("class", self.class.len() as u64, 0, most as u64)?;
        let weights = quota::limits::MAX_WEIGHT;
        for (i, class) in self.class.iter().enumerate() {
            let field = |name| format!("class {:?}: {name}", class.name);
            if self.class[..i].iter().any(|c| c.name == class.name) || class.name == "strangers" {
                return refuse(
                    "class",
                    format!("{:?}", class.name),
                    "one class of a name, none of them \"strangers\"",
                );
            }
            real(&field("share"), class.share, 0.0, 1.0)?;
            number(&field("weight"), class.weight, 1, weights)?;
            real(
                &field("early_s"),
                class.early_s,
                -f64::from(DAY_S),
                f64::from(DAY_S),
            )?;
        }
        let shares: f64 = self.class.iter().map(|c| c.share).sum();
        if !self.class.is_empty() && (shares - 1.0).abs() > 1e-9 {
            return refuse("class: share", shares, "parts that add up to 1");
        }
        let Some(strangers) = &self.strangers else {
            return Ok(());
        };
        number("strangers.times", strangers.times, 1, 1_000)?;
        number("strangers.weight", strangers.weight, 1, weights)?;
        real(
            "strangers.session_s",
            strangers.session_s,
            0.001,
            f64::from(DAY_S),
        )?;
        within("strangers.from", strangers.from, self)?;
        within("strangers.to", strangers.to, self)?;
        after(
            "strangers.to",
            strangers.to,
            "strangers.from",
            strangers.from,
        )
    }

    fn check_regions(&self) -> Result<(), String> {
        number("region", self.region.len() as u64, 1, MAX_REGIONS as u64)?;
        for (i, region) in self.region.iter().enumerate() {
            let field = |name| format!("region {:?}: {name}", region.name);
            if self.region[..i].iter().any(|r| r.name == region.name) {
                return refuse(
                    "region",
                    format!("{:?} twice", region.name),
                    "one region of a name",
                );
            }
            let most = quota::limits::MAX_NAME_BYTES as u64;
            number(
                &field("bytes of its name"),
                region.name.len() as u64,
                1,
                most,
            )?;
            number(&field("population"), region.population, 1, 100_000_000)?;
            number(
                &field("weight"),
                region.weight,
                1,
                quota::limits::MAX_WEIGHT,
            )?;
            number(&field("nominal"), region.nominal, 0, self.capacity)?;
            number(&field("portal"), region.portal, 0, quota::limits::MAX_SLOTS)?;
        }
        let nominals: u64 = self.region.iter().map(|r| r.nominal).sum();
        if nominals > self.capacity {
            return refuse(
                "capacity",
                self.capacity,
                format!("at least {nominals}, which the nominals of the regions add up to"),
            );
        }
        Ok(())
    }

    fn check_faults(&self) -> Result<(), String> {
        number("fault", self.fault.len() as u64, 0, MAX_FAULTS as u64)?;
        let known = |name: &String| {
            if self.region.iter().any(|r| r.name == *name) {
                return Ok(());
            }
            refuse(
                "fault: region",
                format!("{name:?}"),
                "the name of a region of the scenario",
            )
        };
        for fault in &self.fault {
            match fault {
                Fault::LeaderLost { for_s, .. } => real("fault: for_s", *for_s, 0.001, 3_600.0)?,
                Fault::RegionCutOff { region, from, to } => {
                    known(region)?;
                    after("fault: to", *to, "from", *from)?;
                }
                Fault::Capacity { capacity, .. } => {
                    number("fault: capacity", *capacity, 1, quota::limits::MAX_SLOTS)?;
                }
                Fault::FrontEndsKilled { region, count, .. } => {
                    known(region)?;
                    number("fault: count", *count, 1, MAX_FRONT_ENDS)?;
                }
            }
        }
        Ok(())
    }
}

fn refuse(
    field: &str,
    given: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Result<(), String> {
    Err(format!("{field}: {given} given, expected {expected}"))
}

fn number<T: Into<u64>>(field: &str, given: T, least: T, most: T) -> Result<(), String> {
    let (given, least, most) = (given.into(), least.into(), most.into());
    if (least..=most).contains(&given) {
        return Ok(());
    }
    refuse(field, given, format!("a whole number, {least} to {most}"))
}

fn real(field: &str, given: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    refuse(field, given, format!("a number, {least} to {most}"))
}

fn after(field: &str, given: TimeOfDay, than: &str, earlier: TimeOfDay) -> Result<(), String> {
    if given > earlier {
        return Ok(());
    }
    refuse(field, given, format!("a time after {than}, {earlier}"))
}

fn within(field: &str, given: TimeOfDay, scenario: &Scenario) -> Result<(), String> {
    let (from, to) = (scenario.from, scenario.to);
    if (from..=to).contains(&given) {
        return Ok(());
    }
    refuse(field, given, format!("a time from {from} to {to}"))
}
