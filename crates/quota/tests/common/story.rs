//! What a story can say of waiting: reports, rules, modes, floors and calendars.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quota::{
    Action, Bucket, CalendarEntry, Change, Class, Due, Mode, Reclaim, Report, Reported, Rules,
    SessionRules, State, TokenClaim, When,
};

/// A line in parts: words, and `key=value` pairs. Taking them apart leaves nothing unread.
pub struct Line<'a> {
    text: &'a str,
    words: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub fn new(text: &'a str) -> Self {
        let (pairs, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|w| w.contains('='));
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        Self {
            text,
            pairs: pairs.collect(),
            words,
        }
    }

    pub fn word(&mut self) -> &'a str {
        assert!(!self.words.is_empty(), "a word is missing: {}", self.text);
        self.words.remove(0)
    }

    pub fn flag(&mut self, word: &str) -> bool {
        let at = self.words.iter().position(|w| *w == word);
        at.map(|at| self.words.remove(at)).is_some()
    }

    pub fn maybe<T: std::str::FromStr>(&mut self, key: &str) -> Option<T> {
        let value = self.pairs.remove(key)?;
        let value = value.replace('_', "").parse().ok();
        Some(value.unwrap_or_else(|| panic!("{key}: {}", self.text)))
    }

    pub fn number(&mut self, key: &str) -> u64 {
        self.maybe(key)
            .unwrap_or_else(|| panic!("{key} is missing: {}", self.text))
    }

    /// Text, with spaces written as underscores.
    pub fn said(&mut self, key: &str) -> Option<String> {
        Some(self.pairs.remove(key)?.replace('_', " "))
    }

    /// What commas part.
    pub fn list(&mut self, key: &str) -> Vec<&'a str> {
        let list = self
            .pairs
            .remove(key)
            .into_iter()
            .flat_map(|l| l.split(','));
        list.filter(|item| !item.is_empty()).collect()
    }

    pub fn end(self) {
        let all_read = self.words.is_empty() && self.pairs.is_empty();
        assert!(all_read, "more than it takes: {}", self.text);
    }
}

/// `report #1 seq=2 kept=4 in_use=4 waiting=everyone@12:3,everyone@13:1 ...`
pub fn report(state: &State, lease: quota::LeaseId, line: &mut Line<'_>) -> Report {
    let rules = state.lease_rules(lease).map(|(rules, _)| rules.clone());
    let class = |name: &str| {
        let classes = rules.iter().flat_map(|rules| &rules.classes);
        let at = classes.into_iter().position(|class| class.name == name);
        at.unwrap_or_else(|| panic!("{name}: no such class")) as u8
    };
    let mut waiting: Vec<Bucket> = line
        .list("waiting")
        .into_iter()
        .map(|bucket| {
            let (name, rest) = bucket.split_once('@').expect("class@second:users");
            let (second, users) = rest.split_once(':').expect("class@second:users");
            let (second, users) = (second.parse().unwrap(), users.parse().unwrap());
            let class = class(name);
            Bucket {
                class,
                second,
                users,
            }
        })
        .collect();
    waiting.sort_by_key(|bucket| (bucket.class, bucket.second));
    let claims = line.list("claims").into_iter().map(|claim| {
        let (id, issuer) = claim.split_once('/').expect("id/holder.epoch");
        let (holder, epoch) = issuer.rsplit_once('.').expect("id/holder.epoch");
        let issuer = quota::issuer(holder, epoch.parse().unwrap());
        let id = id.parse().unwrap();
        TokenClaim { id, issuer }
    });
    let claims = claims.collect();
    let ids = |list: Vec<&str>| list.iter().map(|id| id.parse().unwrap()).collect();
    Report {
        lease,
        seq: line.number("seq"),
        kept: line.number("kept"),
        in_use: line.number("in_use"),
        spare: line.maybe("spare").unwrap_or(0),
        waiting,
        exact_until_s: line.maybe("exact").unwrap_or(u32::MAX),
        left: line.maybe("left").unwrap_or(0),
        floor: line.maybe("floor").unwrap_or(0),
        claims,
        released: ids(line.list("released")),
        refused: ids(line.list("refused")),
    }
}

/// What a report was answered.
pub fn reported(state: &State, name: &str, said: &Reported) -> String {
    let mut told = format!("{name} has {}", said.grant.slots);
    let rules = state.lease_rules(said.grant.lease).map(|(rules, _)| rules);
    let class = |at: u8| rules.map_or("?", |rules| rules.classes[usize::from(at)].name.as_str());
    let mode = match said.mode {
        Mode::Open if said.open => "open".to_owned(),
        Mode::Open => "ordered".to_owned(),
        mode => format!("{} ({})", format!("{mode:?}").to_lowercase(), said.reason),
    };
    write!(told, ", {mode}").unwrap();
    if said.turns_ms > 0 {
        write!(told, " until {} s", said.turns_ms as f64 / 1_000.0).unwrap();
    }
    for a in &said.admit {
        let (users, class, until) = (a.users, class(a.class), a.until_s);
        write!(told, "; seats {users} of {class} up to second {until}").unwrap();
        if a.at_ms > 0 {
            write!(told, " at {} s", a.at_ms as f64 / 1_000.0).unwrap();
        }
    }
    if said.grant.target < said.grant.slots {
        write!(told, "; should come to {}", said.grant.target).unwrap();
    }
    if said.shorten > 0 {
        write!(told, "; shortens {} sessions", said.shorten).unwrap();
    }
    if said.others_wait {
        told += "; others wait";
    }
    if said.floor > 0 {
        write!(told, "; floor {}", said.floor).unwrap();
    }
    for (id, came) in &said.claims {
        write!(told, "; token {id} {came:?}").unwrap();
    }
    if !said.asked.is_empty() {
        write!(told, "; is asked for {:?}", said.asked).unwrap();
    }
    for flow in &said.flows {
        let wait = quota::estimate(flow.waiting, flow.rate, flow.low_rate);
        if let Some(wait) = wait {
            let (class, waiting) = (class(flow.class), flow.waiting);
            let (p50, p90) = (wait.p50_s, wait.p90_s);
            write!(
                told,
                "; {waiting} of {class} wait, the next {p50} to {p90} s"
            )
            .unwrap();
        }
    }
    told
}

/// `due POOL ENTRY at=N`
pub fn due(line: &mut Line<'_>) -> Due {
    Due {
        pool: line.word().into(),
        entry: line.word().into(),
        occurrence_s: line.maybe("at").expect("at=N"),
    }
}

/// Changes of how users wait. `entries` are the lines that follow a calendar.
pub fn change(verb: &str, line: &mut Line<'_>, entries: Vec<Line<'_>>) -> Change {
    let pool = line.word().to_owned();
    match verb {
        "rules" => Change::SetRules {
            pool,
            rules: rules(line),
        },
        "mode" => {
            let mode = match line.word() {
                "open" => Mode::Open,
                "paused" => Mode::Paused,
                "draining" => Mode::Draining,
                "frozen" => Mode::Frozen,
                "closed" => Mode::Closed,
                other => panic!("{other}: no such mode"),
            };
            Change::SetMode {
                pool,
                region: line.said("region"),
                mode,
                reason: line.said("reason").unwrap_or_default(),
            }
        }
        "capacity" => Change::SetCapacity {
            pool,
            capacity: line.number("slots"),
        },
        "zone" => Change::SetZone {
            pool,
            region: line.word().into(),
            zone: line.word().into(),
        },
        "floor" => Change::SetFloor {
            pool,
            region: line.word().into(),
            holder: line.said("holder"),
            slots: line.number("slots"),
        },
        "calendar" => Change::SetCalendar {
            pool,
            entries: entries.into_iter().map(entry).collect(),
            since_s: line.maybe("since").unwrap_or(0),
        },
        other => panic!("{other}: no such change"),
    }
}

/// `teachers:1:first` and so on.
fn rules(line: &mut Line<'_>) -> Rules {
    let class = |said: &str| {
        let mut parts = said.split(':');
        Class {
            name: parts.next().unwrap().into(),
            weight: parts.next().map_or(1, |weight| weight.parse().unwrap()),
            first: parts.next() == Some("first"),
        }
    };
    let reclaim = match line.flag("shorten") {
        true => Reclaim::Shorten,
        false => Reclaim::Drain,
    };
    Rules {
        classes: line.list("classes").into_iter().map(class).collect(),
        overtake_s: line.maybe("overtake").unwrap_or(600),
        session: SessionRules {
            limit_s: line.maybe("limit"),
            idle_s: line.maybe("idle"),
            when_waiting_s: line.maybe("when-waiting"),
            notice_s: line.maybe("notice").unwrap_or(0),
            least_s: line.maybe("least").unwrap_or(0),
        },
        reclaim,
    }
}

/// `NAME at=N` or `NAME days=N minute=N [zone=Z]`, then what is done.
fn entry(mut line: Line<'_>) -> CalendarEntry {
    let name = line.word().into();
    let when = match line.maybe("at") {
        Some(unix_s) => When::At { unix_s },
        None => When::Weekly {
            days: line.maybe("days").expect("days=N"),
            minute: line.maybe("minute").expect("minute=N"),
            zone: line.said("zone"),
        },
    };
    let region = line.said("region");
    let reason = line.said("reason").unwrap_or_default();
    let action = match line.word() {
        "open" => Action::Open,
        "resume" => Action::Resume,
        "close" => Action::Close { reason },
        "pause" => Action::Pause { reason },
        "capacity" => Action::SetCapacity(line.number("slots")),
        other => panic!("{other}: no such action"),
    };
    line.end();
    CalendarEntry {
        name,
        region,
        when,
        action,
    }
}

/// Who waits, and what is open, closed and set aside.
pub fn show(state: &State, pool: &str) -> String {
    let mut told = String::new();
    let Some(view) = state.pool(pool) else {
        return told;
    };
    if view.mode != Mode::Open || view.set_aside > 0 {
        writeln!(told, "  {:?}, {} set aside", view.mode, view.set_aside).unwrap();
    }
    for (queue, region) in state.queues(pool).iter().zip(state.regions(pool)) {
        if queue.mode == Mode::Open && queue.reporting == 0 && region.floors.is_empty() {
            continue;
        }
        let state = match (queue.mode, queue.open) {
            (Mode::Open, true) => "open".into(),
            (Mode::Open, false) => "ordered".into(),
            (mode, _) => format!("{mode:?}").to_lowercase(),
        };
        let (name, in_use, waiting) = (&queue.region, queue.in_use, queue.waiting);
        writeln!(told, "  {name} is {state}: {in_use} sit, {waiting} wait").unwrap();
        for class in &queue.classes {
            let name = &view.rules.classes[usize::from(class.class)].name;
            let (waiting, oldest) = (class.waiting, class.oldest_s);
            writeln!(told, "    {waiting} of {name} since second {oldest}").unwrap();
        }
        for floor in &region.floors {
            let holder = floor.holder.as_deref().unwrap_or("all");
            let (slots, floor) = (floor.slots, floor.told);
            writeln!(told, "    floor of {holder}: {slots} set, {floor} told").unwrap();
        }
    }
    told
}
