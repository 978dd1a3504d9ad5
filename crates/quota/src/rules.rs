//! The rules by which users wait, and the modes that open and close a pool or region.

use serde::{Deserialize, Serialize};

use crate::check::{self, invalid};
use crate::limits::{
    DEFAULT_OVERTAKE_S, MAX_CLASSES, MAX_REASON_BYTES, MAX_WEIGHT, OVERTAKE_S, SESSION_S,
};
use crate::outcome::Refusal;

/// How the users of a pool wait and sit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// 1 to [`MAX_CLASSES`] classes of different names. A class is known by its place here.
    pub classes: Vec<Class>,
    /// Whoever has waited so many seconds is served before all who came later, whatever their class: 1 to
    /// 86,400.
    pub overtake_s: u32,
    /// How long a session may last.
    pub session: SessionRules,
    /// What is done where a region has more than its part.
    pub reclaim: Reclaim,
}

/// A class of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Unique in its pool.
    pub name: String,
    /// The part in the slots that come free, 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Whether it is served before all classes that are not.
    pub first: bool,
}

/// How long a session may last, in seconds; each at most seven days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRules {
    /// At most, whatever happens.
    pub limit_s: Option<u32>,
    /// Without a sign of its user.
    pub idle_s: Option<u32>,
    /// While others wait.
    pub when_waiting_s: Option<u32>,
    /// How long before its end its user is told.
    pub notice_s: u32,
    /// No session is made shorter than this; at most `when_waiting_s`.
    pub least_s: u32,
}

/// What is done where a region has more than its part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reclaim {
    /// Wait for sessions to end.
    #[default]
    Drain,
    /// Apply `when_waiting_s` to the newest sessions.
    Shorten,
}

/// Whether a pool or region seats anyone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Slots are given by the rules.
    #[default]
    Open,
    /// Nobody is seated; sessions go on, and people may queue.
    Paused,
    /// Nobody is seated and nobody may queue; sessions end as they do.
    Draining,
    /// No slot moves between holders or regions: each holder reuses its own.
    Frozen,
    /// Before an opening: nobody is seated, and who comes is drawn by lot.
    Closed,
}

impl Mode {
    /// The stricter of two modes is the one that counts.
    pub(crate) fn strictness(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Frozen => 1,
            Self::Paused => 2,
            Self::Closed => 3,
            Self::Draining => 4,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let everyone = Class {
            name: "everyone".into(),
            weight: 1,
            first: false,
        };
        Self {
            classes: vec![everyone],
            overtake_s: DEFAULT_OVERTAKE_S,
            session: SessionRules::default(),
            reclaim: Reclaim::default(),
        }
    }
}

impl Rules {
    /// Whether each value may be. `field` makes a field's path of its name.
    pub(crate) fn check(&self, field: impl Fn(&str) -> String) -> Result<(), Refusal> {
        let most = MAX_CLASSES;
        if !(1..=most).contains(&self.classes.len()) {
            let given = format!("{} classes", self.classes.len());
            return Err(invalid(&field("classes"), given, format!("1 to {most}")));
        }
        for (i, class) in self.classes.iter().enumerate() {
            let of = |name: &str| field(&format!("classes[{i}].{name}"));
            check::name(&of("name"), &class.name)?;
            check::number(&of("weight"), class.weight, &(1..=MAX_WEIGHT))?;
            if self.classes[..i]
                .iter()
                .any(|other| other.name == class.name)
            {
                let expected = "a name that no other class has";
                return Err(invalid(&of("name"), format!("{:?}", class.name), expected));
            }
        }
        check::number(&field("overtake_s"), self.overtake_s, &OVERTAKE_S)?;
        self.session
            .check(|name| field(&format!("session.{name}")))?;
        if self.reclaim == Reclaim::Shorten && self.session.when_waiting_s.is_none() {
            let expected = "drain, or a session.when_waiting_s to shorten to";
            return Err(invalid(&field("reclaim"), "shorten", expected));
        }
        Ok(())
    }

    /// Whether every class of `before` is still at its place.
    pub(crate) fn keeps_classes_of(&self, before: &Self) -> bool {
        let names = |rules: &Self| -> Vec<String> {
            let names = rules.classes.iter().map(|class| class.name.clone());
            names.collect()
        };
        names(self).starts_with(&names(before))
    }
}

impl SessionRules {
    fn check(&self, field: impl Fn(&str) -> String) -> Result<(), Refusal> {
        let limits = [
            ("limit_s", self.limit_s),
            ("idle_s", self.idle_s),
            ("when_waiting_s", self.when_waiting_s),
        ];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                check::number(&field(name), limit, &SESSION_S)?;
            }
            if let (Some(limit), Some(most)) = (limit, self.limit_s)
                && limit > most
            {
                let expected = format!("at most the limit_s of {most}");
                return Err(invalid(&field(name), limit, expected));
            }
        }
        check::number(&field("notice_s"), self.notice_s, &(0..=*SESSION_S.end()))?;
        check::number(&field("least_s"), self.least_s, &(0..=*SESSION_S.end()))?;
        match self.when_waiting_s {
            Some(most) if self.least_s > most => {
                let expected = format!("at most the when_waiting_s of {most}");
                Err(invalid(&field("least_s"), self.least_s, expected))
            }
            _ => Ok(()),
        }
    }
}

/// A mode, why, and when it last kept people out before an opening.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub mode: Mode,
    pub reason: String,
    /// The second in which it was closed, if it ever was.
    pub closed_s: Option<u32>,
    /// The second in which it was opened again; none while it is closed.
    pub opened_s: Option<u32>,
}

impl Gate {
    /// Takes on a mode.
    pub fn set(&mut self, mode: Mode, reason: &str, now_s: u32) {
        match (self.mode, mode) {
            (Mode::Closed, Mode::Closed) => {}
            (_, Mode::Closed) => (self.closed_s, self.opened_s) = (Some(now_s), None),
            (Mode::Closed, _) => self.opened_s = Some(now_s),
            _ => {}
        }
        self.mode = mode;
        reason.clone_into(&mut self.reason);
    }

    /// Whether it is one that [`Gate::set`] leads to by the time given.
    pub fn is_sound(&self, now_s: u32) -> bool {
        let times = match (self.closed_s, self.opened_s) {
            (None, None) => self.mode != Mode::Closed,
            (None, Some(_)) => false,
            (Some(closed), None) => self.mode == Mode::Closed && closed <= now_s,
            (Some(closed), Some(opened)) => {
                self.mode != Mode::Closed && closed <= opened && opened <= now_s
            }
        };
        times && check_reason("reason", self.mode, &self.reason).is_ok()
    }

    /// The one of two whose mode counts.
    pub fn stricter<'a>(&'a self, other: &'a Self) -> &'a Self {
        if other.mode.strictness() > self.mode.strictness() {
            other
        } else {
            self
        }
    }

    /// When the one or the other of two was closed and opened: of the one that is still closed, and else
    /// of the one that was opened last.
    pub fn opening(&self, other: &Self) -> (Option<u32>, Option<u32>) {
        let closed = |gate: &Self| gate.mode == Mode::Closed;
        let chosen = match (closed(self), closed(other)) {
            (true, true) if other.closed_s < self.closed_s => other,
            (true, _) => self,
            (false, true) => other,
            (false, false) if other.opened_s > self.opened_s => other,
            (false, false) => self,
        };
        (chosen.closed_s, chosen.opened_s)
    }
}

/// Whether a reason may be: short, printable, and there wherever a mode keeps someone out.
pub(crate) fn check_reason(field: &str, mode: Mode, reason: &str) -> Result<(), Refusal> {
    if mode == Mode::Open && reason.is_empty() {
        return Ok(());
    }
    check::text(field, reason, MAX_REASON_BYTES)
}
