//! How somebody stands, in words: what both the page and its own polling show.

use fluent_bundle::{FluentArgs, FluentValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use quota::Wait;
use serde::Serialize;

use super::texts::{Language, Texts};
use crate::view::{State, View};

/// Nobody is told of a wait in more detail than this, in minutes.
const DAY: u32 = 24 * 60;

/// How somebody stands, in their language. What there is nothing to say of is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Words {
    /// The language.
    pub lang: String,
    /// In one line.
    pub title: String,
    /// In a sentence or two.
    pub what: String,
    /// What the operator says, and whether fewer people get in than usual.
    pub said: String,
    /// How many people are ahead.
    pub place: String,
    /// How long it may take, or when people are let in.
    pub wait: String,
    /// How long the session goes on.
    pub left: String,
    /// When this was so, by the clock on the wall.
    pub asked: String,
    /// For the browser's tab.
    pub tab: String,
    /// For a portal's page: the link to the session, and the button that puts the message away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    /// The button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<String>,
}

/// Says things in a language.
#[derive(Clone, Copy)]
pub struct Speaker<'a> {
    pub texts: &'a Texts,
    pub language: &'a Language,
    /// The portal's name.
    pub service: &'a str,
    /// In how many seconds a place is given up that nobody asks about.
    pub silence_s: u32,
    pub zone: &'a TimeZone,
    pub now: Timestamp,
}

impl Speaker<'_> {
    /// What is said under a name, with what it is to hold beside the portal's name.
    pub fn say(&self, id: &str, args: &[(&'static str, FluentValue<'_>)]) -> String {
        let mut all = FluentArgs::with_capacity(args.len() + 1);
        all.set("service", self.service);
        for (name, value) in args {
            all.set(*name, value.clone());
        }
        self.texts.text(self.language, id, &all)
    }

    /// How somebody stands.
    pub fn words(&self, view: &View) -> Words {
        let time = self
            .zone
            .to_datetime(self.now)
            .strftime("%H:%M:%S")
            .to_string();
        let state = view.state;
        let title = self.say(&format!("{}-title", state.name()), &[]);
        let ahead = view.ahead.filter(|_| places_count(state));
        let counted = ahead.map(|ahead| {
            let shown = self.thousands(ahead);
            [("ahead", FluentValue::from(ahead)), ("shown", shown.into())]
        });
        let told = matches!(state, State::Ending | State::Over | State::Lost);
        Words {
            lang: self.language.tag(),
            what: self.say(
                &format!("{}-what", state.name()),
                &[("time", self.seconds(self.silence_s).into())],
            ),
            said: self.said(view),
            place: counted
                .as_ref()
                .map_or_else(String::new, |args| self.say("place", args)),
            wait: match state {
                State::Waiting => self.wait(view.wait),
                State::Before | State::Closed => self.opens("opens", view),
                State::Paused => self.opens("resumes", view),
                _ => String::new(),
            },
            left: match view.left_s {
                Some(left_s) if state.is_in() => {
                    self.say("left", &[("time", self.seconds(left_s).into())])
                }
                None if state == State::Seated => self.say("left-free", &[]),
                _ => String::new(),
            },
            asked: self.say("asked", &[("time", time.into())]),
            tab: match &counted {
                Some(args) => self.say("tab-place", args),
                None => self.say("tab", &[("title", title.as_str().into())]),
            },
            more: told.then(|| match state {
                State::Ending => self.say("my-session", &[]),
                _ => self.say("again", &[]),
            }),
            close: told.then(|| self.say("close", &[])),
            title,
        }
    }

    fn said(&self, view: &View) -> String {
        let reason = Some(view.reason.trim()).filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| self.say("reason", &[("reason", reason.into())]));
        let fewer = (view.fewer && view.state.is_queued()).then(|| self.say("fewer", &[]));
        let said: Vec<String> = fewer.into_iter().chain(reason).collect();
        said.join("\n")
    }

    fn wait(&self, wait: Option<Wait>) -> String {
        let minutes = |minutes| FluentValue::from(self.minutes(minutes));
        match wait.map(Span::of) {
            None => self.say("wait-unknown", &[]),
            Some(Span { to: Some(..=1), .. }) => self.say("wait-soon", &[]),
            Some(Span { from, to: None }) => self.say("wait-over", &[("from", minutes(from))]),
            Some(Span {
                from: 0,
                to: Some(to),
            }) => self.say("wait-within", &[("to", minutes(to))]),
            Some(Span { from, to: Some(to) }) if from == to => {
                self.say("wait-about", &[("to", minutes(to))])
            }
            Some(Span { from, to: Some(to) }) if to < 60 => {
                let args = [
                    ("from", from.to_string().into()),
                    ("to", to.to_string().into()),
                ];
                self.say("wait-minutes", &args)
            }
            Some(Span { from, to: Some(to) }) => self.say(
                "wait-between",
                &[("from", minutes(from)), ("to", minutes(to))],
            ),
        }
    }

    /// When the calendar has people let in: today, or on another day.
    fn opens(&self, id: &str, view: &View) -> String {
        let opens = view
            .opens_unix_s
            .and_then(|at| Timestamp::from_second(at).ok());
        let Some(opens) = opens.map(|opens| self.zone.to_datetime(opens)) else {
            return String::new();
        };
        let args = [
            ("hour", opens.hour().to_string().into()),
            ("minute", format!("{:02}", opens.minute()).into()),
            ("day", FluentValue::from(opens.day())),
            ("month", FluentValue::from(opens.month())),
        ];
        let is_today = opens.date() == self.zone.to_datetime(self.now).date();
        let when = self.say(if is_today { "at-time" } else { "at-day" }, &args);
        self.say(id, &[("when", when.into())])
    }

    /// Seconds as a time that is certainly there: rounded down.
    pub fn seconds(&self, seconds: u32) -> String {
        match seconds {
            ..10 => self.say("moment", &[]),
            10..60 => self.say("seconds", &[("count", (seconds / 10 * 10).into())]),
            60..5_400 => self.minutes(seconds / 60),
            _ => self.minutes(seconds / 300 * 5),
        }
    }

    fn minutes(&self, minutes: u32) -> String {
        match (minutes / 60, minutes % 60) {
            (0, minutes) => self.say("minutes", &[("count", minutes.into())]),
            (hours, 0) => self.say("hours", &[("count", hours.into())]),
            (1, minutes) if minutes < 30 => {
                self.say("minutes", &[("count", (60 + minutes).into())])
            }
            (hours, minutes) => {
                let minutes = format!("{minutes:02}");
                let args = [
                    ("hours", hours.to_string().into()),
                    ("minutes", minutes.into()),
                ];
                self.say("hours-minutes", &args)
            }
        }
    }

    /// A number with its thousands set apart.
    fn thousands(&self, number: u64) -> String {
        let separator = self.say("thousands", &[]);
        let digits = number.to_string();
        let mut shown = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                shown.push_str(&separator);
            }
            shown.push(digit);
        }
        shown
    }
}

/// A wait as it is told, in minutes; to no end where it may be more than a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u32,
    to: Option<u32>,
}

impl Span {
    /// Rounded outwards, the more so the longer it is: nobody waits to the minute in an hour.
    fn of(wait: Wait) -> Self {
        let (from, to) = (wait.p50_s / 60, wait.p90_s.max(wait.p50_s).div_ceil(60));
        let step = match to {
            ..=15 => 1,
            16..=60 => 5,
            61..=360 => 15,
            _ => 60,
        };
        Self {
            from: (from / step * step).min(DAY),
            to: Some(to.div_ceil(step) * step).filter(|to| *to <= DAY),
        }
    }
}

/// Whether it says something to somebody how many are ahead: before opening the order is yet to be drawn.
fn places_count(state: State) -> bool {
    matches!(state, State::Waiting | State::Paused | State::Unreachable)
}

/// What is told of a wait holds it, and is in order.
#[cfg(test)]
pub fn check(wait: Wait) {
    let span = Span::of(wait);
    assert!(
        u64::from(span.from) * 60 <= wait.p50_s.into(),
        "{wait:?}: {span:?}"
    );
    match span.to {
        Some(to) => assert!(
            span.from <= to && u64::from(to) * 60 >= wait.p90_s.into(),
            "{wait:?}: {span:?}"
        ),
        None => assert!(span.from > 0 || wait.p90_s > DAY * 60, "{wait:?}: {span:?}"),
    }
}
