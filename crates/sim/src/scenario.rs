//! What a scenario file says, and what it may say.
//!
//! A file may have a `base`, another file beside it: its tables are laid over those of the base, key by key,
//! and its arrays take the place of the base's. So a variant of a morning says only what differs.

use std::path::Path;

use serde::Deserialize;

use crate::clock::{Offset, TimeOfDay};

/// Most users of a scenario, strangers included.
pub const MAX_USERS: u64 = 64_000_000;
/// Most regions.
pub const MAX_REGIONS: usize = 256;
/// Most front-ends of all regions together.
pub const MAX_FRONT_ENDS: u32 = 16_384;
/// Most faults.
pub const MAX_FAULTS: usize = 64;
/// Most classes, strangers included.
pub const MAX_CLASSES: usize = 16;
/// Most bytes of a file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most files that stand on one another.
const MAX_BASES: usize = 4;
/// Longest time that a scenario speaks of, in seconds: a day.
const DAY_S: u32 = 86_400;

/// A morning to be replayed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the report is headed with.
    pub name: String,
    /// Users who have an identity, in all regions together.
    pub users: u64,
    /// Sessions that the pool carries at a time.
    pub capacity: u64,
    /// The part of the day that is played in each region, by its own clock.
    pub from: TimeOfDay,
    /// Where that part ends.
    pub to: TimeOfDay,
    /// The clock that faults are told by, ahead of UTC.
    pub utc_offset: Offset,
    /// When users come.
    pub arrivals: Arrivals,
    /// How long they stay.
    pub sessions: Sessions,
    /// How long they wait before they give up.
    pub patience: Patience,
    /// When they try again where nobody keeps their place.
    pub retry: Retry,
    /// How a portal behaves past its capacity.
    pub overload: Overload,
    /// The pool's rules of waiting.
    #[serde(default)]
    pub rules: Rules,
    /// Front-ends and the network between them and the coordinator.
    pub front_ends: FrontEnds,
    /// Classes of users, in the order of the pool's rules.
    #[serde(default)]
    pub class: Vec<Class>,
    /// Clients without an identity.
    pub strangers: Option<Strangers>,
    /// The regions.
    pub region: Vec<Region>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
}

/// When users come: half of a region's have come by `opens`, by its own clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// When school begins.
    pub opens: TimeOfDay,
    /// The curve of arrivals.
    pub shape: Shape,
    /// Its scale in seconds: of a logistic curve, 76 % come within twice it of the middle; of a normal one
    /// it is the standard deviation; of a uniform one half the width.
    pub spread_s: f64,
    /// A region's curve lies up to this much earlier or later, by chance.
    pub stagger_s: f64,
    /// The part of users who come at any time of the morning instead, 0 to 1.
    pub strays: f64,
}

/// The curve of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A crowd before the hour, and its latecomers.
    Logistic,
    /// As errors are distributed.
    Normal,
    /// All of an interval alike.
    Uniform,
}

/// Sessions end at random, as a phone call does, within bounds. In seconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// The mean before the bounds are applied.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
    /// The longest.
    pub longest_s: f64,
}

/// A user gives up at random after `mean_s` of waiting on average, never before `shortest_s`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// The mean, above the shortest.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
    /// The part of those who give up who say so (the page tells the front-end as it closes), 0 to 1. The
    /// others fall silent.
    pub says_so: f64,
}

/// A user who was turned away tries again at random after `mean_s` on average, never before `shortest_s`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The mean, above the shortest.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
}

/// A portal with n sessions on room for c serves each at the speed (c / n) ^ `exponent`, where n > c.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overload {
    /// 1: it slows in proportion; above: it also wastes work on answers that nobody waits for any longer.
    pub exponent: f64,
    /// It falls over once n has been over this many times c...
    pub falls_over_at: f64,
    /// ... for this many seconds without a break. All its sessions are lost.
    pub after_s: u32,
    /// It is back after this many seconds.
    pub back_after_s: u32,
}

/// The pool's rules of waiting.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Whoever has waited this many seconds comes before every class.
    pub overtake_s: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { overtake_s: 600 }
    }
}

/// Front-ends, and the network between them and the coordinator.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnds {
    /// In all regions together, by their users; each region has two at least.
    pub count: u32,
    /// A lease's time to live in milliseconds.
    pub ttl_ms: u64,
    /// How often each reports, in milliseconds.
    pub report_ms: u32,
    /// The least time that a message is under way, in milliseconds.
    pub delay_ms: f64,
    /// What comes on top, at random, on average.
    pub jitter_ms: f64,
    /// The part of messages that are lost, 0 to 1.
    pub loss: f64,
    /// A report without an answer is sent again after this many milliseconds.
    pub timeout_ms: u32,
    /// A user who has said nothing for this many seconds has left.
    pub silence_s: u32,
    /// Slots set aside for front-ends that are cut off, as a part of each region's nominal, 0 to 1.
    #[serde(default)]
    pub floor: f64,
}

/// A class of users.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its part of the users; the parts add up to 1.
    pub share: f64,
    /// Its weight where several classes wait.
    pub weight: u32,
    /// Whether it is served before all others.
    #[serde(default)]
    pub first: bool,
    /// How many seconds earlier than the others it comes; negative where later.
    #[serde(default)]
    pub early_s: f64,
}

/// Clients without an identity, as a flood of requests is made of. They are counted apart from the users.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strangers {
    /// How many there are to a user.
    pub times: u32,
    /// From when on they come, evenly, by the clock of the scenario.
    pub from: TimeOfDay,
    /// Until when.
    pub to: TimeOfDay,
    /// How long one of them keeps a seat, in seconds.
    pub session_s: f64,
    /// The weight of their class, which is the last.
    pub weight: u32,
}

/// A region: its users, and what is its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Inhabitants; users are in proportion.
    pub population: u32,
    /// Its clock, ahead of UTC; the scenario's where none is given.
    pub utc_offset: Option<Offset>,
    /// Slots guaranteed to it.
    pub nominal: u64,
    /// Its part in what is lent.
    pub weight: u32,
    /// Sessions that its portal carries on its own, where nothing is shared.
    pub portal: u64,
}

/// What goes wrong, by the clock of the scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The coordinator's leader is lost: no report is answered for a time.
    LeaderLost {
        /// When.
        at: TimeOfDay,
        /// Until there is a new one, in seconds.
        for_s: f64,
    },
    /// The front-ends of a region reach no node.
    RegionCutOff {
        /// The region.
        region: String,
        /// From when.
        from: TimeOfDay,
        /// Until when.
        to: TimeOfDay,
    },
    /// The pool carries this many sessions from now on; portals lose in proportion.
    Capacity {
        /// When.
        at: TimeOfDay,
        /// The capacity.
        capacity: u64,
    },
    /// Front-ends of a region are gone for good; their users go to the others.
    FrontEndsKilled {
        /// When.
        at: TimeOfDay,
        /// The region.
        region: String,
        /// How many; one at least is left.
        count: u32,
    },
}

impl Scenario {
    /// Reads a file, and those that it stands on.
    ///
    /// # Errors
    /// Where a file can't be read or says what can't be: which file and field, what was given and what was
    /// expected.
    pub fn load(path: &Path) -> Result<Self, String> {
        let (mut table, text) = read(path)?;
        let mut based = false;
        let mut at = path.to_path_buf();
        for _ in 0..MAX_BASES {
            let Some(base) = table.remove("base") else {
                // Where the text is the whole, errors can show the line.
                let parsed = if based {
                    Self::deserialize(toml::Value::Table(table)).map_err(|e| e.to_string())
                } else {
                    toml::from_str(&text).map_err(|e| e.to_string())
                };
                let scenario = parsed.and_then(|s: Self| s.check().map(|()| s));
                return scenario.map_err(|why| format!("{}: {}", path.display(), why.trim_end()));
            };
            let Some(name) = base.as_str() else {
                return Err(format!(
                    "{}: base: {base} given, expected the name of a file",
                    at.display()
                ));
            };
            at = at.parent().unwrap_or(Path::new("")).join(name);
            let (below, _) = read(&at)?;
            table = lay_over(below, table);
            based = true;
        }
        Err(format!(
            "{}: base: files stand on one another more than {MAX_BASES} deep, the most",
            path.display()
        ))
    }

    /// Reads a scenario without a base.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self =
            toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Classes with the strangers' as the last.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes = self.class.clone();
        if classes.is_empty() {
            classes.push(Class {
                name: "everyone".into(),
                share: 1.0,
                weight: 1,
                first: false,
                early_s: 0.0,
            });
        }
        if let Some(strangers) = &self.strangers {
            classes.push(Class {
                name: "strangers".into(),
                share: 0.0,
                weight: strangers.weight,
                first: false,
                early_s: 0.0,
            });
        }
        classes
    }

    /// The scenario at another size: users, capacity and front-ends all times `factor`.
    ///
    /// # Errors
    /// Where the factor is none, or leaves nothing.
    pub fn scaled(&self, factor: f64) -> Result<Self, String> {
        if !(factor.is_finite() && factor > 0.0 && factor <= 16.0) {
            return Err(format!(
                "scale: {factor} given, expected a number above 0, up to 16"
            ));
        }
        let times = |n: u64| (n as f64 * factor).floor() as u64;
        let mut scaled = self.clone();
        scaled.users = times(self.users);
        scaled.capacity = times(self.capacity);
        scaled.front_ends.count = (times(self.front_ends.count.into()) as u32).max(1);
        for region in &mut scaled.region {
            region.nominal = times(region.nominal);
            region.portal = times(region.portal);
        }
        for fault in &mut scaled.fault {
            if let Fault::Capacity { capacity, .. } = fault {
                *capacity = times(*capacity);
            }
        }
        scaled
            .check()
            .map_err(|why| format!("scale: {factor} given, which leaves {why}"))?;
        Ok(scaled)
    }

    fn check(&self) -> Result<(), String> {
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

fn read(path: &Path) -> Result<(toml::Table, String), String> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|e| format!("can't read {shown}: {e}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{shown} is over {MAX_FILE_BYTES} bytes, the most"));
    }
    let table = text
        .parse::<toml::Table>()
        .map_err(|e| format!("{shown}: {}", e.to_string().trim_end()))?;
    Ok((table, text))
}

fn lay_over(mut below: toml::Table, above: toml::Table) -> toml::Table {
    for (key, value) in above {
        let laid = match (below.remove(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                toml::Value::Table(lay_over(old, new))
            }
            (_, value) => value,
        };
        below.insert(key, laid);
    }
    below
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
