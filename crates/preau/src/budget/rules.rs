//! The rules by which a pool's users wait, as files and flags say them.

use std::collections::HashSet;

use api::v1;
use quota::limits::{
    DEFAULT_OVERTAKE_S, MAX_CLASSES, MAX_NAME_BYTES, MAX_WEIGHT, OVERTAKE_S, SESSION_S,
};

use super::{Value, Values};
use crate::fields::Fields;

/// Longest wait before whoever waits is served before all who came later, in seconds.
pub const MAX_OVERTAKE_S: u32 = *OVERTAKE_S.end();
/// Most seconds of any limit of a session.
pub const MAX_LIMIT_S: u32 = *SESSION_S.end();

/// The rules of a pool of which nothing has been said.
pub fn default() -> v1::Rules {
    all_said(v1::Rules {
        classes: vec![Class::new("everyone").0],
        ..v1::Rules::default()
    })
}

/// The same rules with all that they leave out.
pub fn all_said(mut rules: v1::Rules) -> v1::Rules {
    for class in &mut rules.classes {
        class.weight.get_or_insert(1);
    }
    rules.overtake_s.get_or_insert(DEFAULT_OVERTAKE_S);
    rules.session.get_or_insert_default();
    if rules.reclaim() == v1::Reclaim::Unspecified {
        rules.set_reclaim(v1::Reclaim::Drain);
    }
    rules
}

/// Reads the fields of a pool that are its rules.
pub fn take(fields: &mut Fields<'_>) -> Result<v1::Rules, String> {
    let mut rules = default();
    let overtake = fields.number("overtake_s", 1..=MAX_OVERTAKE_S.into())?;
    rules.overtake_s = overtake.and_then(seconds).or(rules.overtake_s);
    let reclaim = fields.parsed("reclaim", "\"drain\" or \"shorten\"", reclaim)?;
    rules.set_reclaim(reclaim.unwrap_or(v1::Reclaim::Drain));
    if let Some(mut session) = fields.table("session")? {
        rules.session = Some(session_rules(&mut session)?);
        session.done()?;
    }
    if let Some(expected) = check_reclaim(&rules) {
        return Err(fields.refuse("reclaim", "\"shorten\"", expected));
    }
    let mut names = HashSet::new();
    let mut classes = Vec::new();
    for mut class in fields.tables("class", MAX_CLASSES)? {
        let name = class.required_name("name")?;
        let weight = class.number("weight", 1..=MAX_WEIGHT.into())?.unwrap_or(1);
        let first = class.flag("first")?;
        if !names.insert(name.clone()) {
            let given = format!("{name:?} twice");
            return Err(class.refuse("name", &given, "one class of a name in a pool"));
        }
        class.done()?;
        classes.push(v1::Class {
            name,
            weight: u32::try_from(weight).ok(),
            first,
        });
    }
    if !classes.is_empty() {
        rules.classes = classes;
    }
    Ok(rules)
}

fn seconds(seconds: u64) -> Option<u32> {
    u32::try_from(seconds).ok()
}

fn session_rules(fields: &mut Fields<'_>) -> Result<v1::SessionRules, String> {
    let mut limit = |field, least| {
        let given = fields.number(field, least..=MAX_LIMIT_S.into())?;
        Ok::<_, String>(given.and_then(seconds))
    };
    let session = v1::SessionRules {
        limit_s: limit("limit_s", 1)?,
        idle_s: limit("idle_s", 1)?,
        when_waiting_s: limit("when_waiting_s", 1)?,
        notice_s: limit("notice_s", 0)?.unwrap_or(0),
        least_s: limit("least_s", 0)?.unwrap_or(0),
    };
    match check_session(&session) {
        Some((field, given, expected)) => Err(fields.refuse(field, &given.to_string(), &expected)),
        None => Ok(session),
    }
}

/// The field that does not fit the others, what was given and what was expected.
pub fn check_session(session: &v1::SessionRules) -> Option<(&'static str, u32, String)> {
    let over = |field, value: Option<u32>, name: &str, most: Option<u32>| {
        let (value, most) = value.zip(most)?;
        (value > most).then(|| (field, value, format!("at most the {name} of {most}")))
    };
    over("idle_s", session.idle_s, "limit_s", session.limit_s)
        .or_else(|| {
            over(
                "when_waiting_s",
                session.when_waiting_s,
                "limit_s",
                session.limit_s,
            )
        })
        .or_else(|| {
            over(
                "least_s",
                Some(session.least_s),
                "when_waiting_s",
                session.when_waiting_s,
            )
        })
}

/// What was expected, where sessions are to be shortened to no limit.
pub fn check_reclaim(rules: &v1::Rules) -> Option<&'static str> {
    let limit = rules.session.and_then(|session| session.when_waiting_s);
    (rules.reclaim() == v1::Reclaim::Shorten && limit.is_none())
        .then_some("drain, or a session.when_waiting_s to shorten to")
}

fn reclaim(name: &str) -> Option<v1::Reclaim> {
    match name {
        "drain" => Some(v1::Reclaim::Drain),
        "shorten" => Some(v1::Reclaim::Shorten),
        _ => None,
    }
}

/// The word for what is done where a region has more than its part.
pub fn reclaim_name(reclaim: v1::Reclaim) -> &'static str {
    match reclaim {
        v1::Reclaim::Shorten => "shorten",
        v1::Reclaim::Drain | v1::Reclaim::Unspecified => "drain",
    }
}

/// The rules' fields.
pub fn values(rules: &v1::Rules) -> Values {
    let number = |name: &str, value: Option<u32>| {
        (
            name.to_owned(),
            value.map(|value| Value::Number(value.into())),
        )
    };
    let session = rules.session.unwrap_or_default();
    let mut values = vec![
        number("overtake_s", rules.overtake_s),
        (
            "reclaim".to_owned(),
            Some(Value::Text(reclaim_name(rules.reclaim()).into())),
        ),
        number("session.limit_s", session.limit_s),
        number("session.idle_s", session.idle_s),
        number("session.when_waiting_s", session.when_waiting_s),
        number("session.notice_s", Some(session.notice_s)),
        number("session.least_s", Some(session.least_s)),
    ];
    values.extend(rules.classes.iter().enumerate().map(|(i, class)| {
        let first = if class.first { ", first" } else { "" };
        let text = format!("no. {}, weight {}{first}", i + 1, class.weight.unwrap_or(1));
        (format!("class {:?}", class.name), Some(Value::Text(text)))
    }));
    values
}

/// A class as a flag says it: `NAME`, `NAME,weight=N`, `NAME,first` or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Class(pub v1::Class);

impl Class {
    fn new(name: &str) -> Self {
        Self(v1::Class {
            name: name.into(),
            weight: Some(1),
            first: false,
        })
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            return Err(format!(
                "expected a name of 1 to {MAX_NAME_BYTES} bytes first"
            ));
        }
        let mut class = Self::new(name);
        for part in parts {
            let weight = part.strip_prefix("weight=");
            let weight = weight.and_then(|weight| weight.parse().ok());
            match (part, weight) {
                ("first", _) => class.0.first = true,
                (_, Some(weight @ 1..=MAX_WEIGHT)) => class.0.weight = Some(weight),
                _ => {
                    return Err(format!(
                        "{part:?}: expected \"first\" or \"weight=N\", with N from 1 to {MAX_WEIGHT}"
                    ));
                }
            }
        }
        Ok(class)
    }
}
