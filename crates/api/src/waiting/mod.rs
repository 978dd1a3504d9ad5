//! How users wait: reports and their answers, rules, modes and the calendar. Classes go by name here, and by
//! their place in the rules in [`quota`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quota::limits::{MAX_BUCKETS, MAX_CLAIMS_PER_REPORT};
use quota::{
    Action, Bucket, CalendarEntry, Claimed, Class, LeaseId, Mode, Reclaim, Refusal, Report,
    Reported, Rules, SessionRules, TokenClaim, When,
};

use crate::convert::said;
use crate::status::invalid;
use crate::v1;

/// The report of a lease whose pool has these rules.
///
/// # Errors
/// Where a class is not one of the rules, or the report is over a bound.
pub fn report(message: v1::ReportRequest, rules: &Rules) -> Result<Report, Refusal> {
    Ok(Report {
        lease: LeaseId(message.lease_id),
        seq: message.seq,
        kept: message.kept,
        in_use: message.in_use,
        spare: message.spare,
        waiting: waiting(&message.waiting, rules)?,
        exact_until_s: message.exact_until_s,
        left: message.left,
        floor: message.floor,
        claims: claims(&message)?,
        released: message.released,
        refused: message.refused,
    })
}

fn waiting(said: &[v1::Waiting], rules: &Rules) -> Result<Vec<Bucket>, Refusal> {
    let given: usize = said.iter().map(|class| class.buckets.len()).sum();
    if given > MAX_BUCKETS {
        let expected = format!("at most {MAX_BUCKETS} in all");
        return Err(invalid("waiting", format!("{given} buckets"), expected));
    }
    let mut classes = BTreeMap::new();
    for (i, waiting) in said.iter().enumerate() {
        let field = |name: &str| format!("waiting[{i}].{name}");
        let class = rules.classes.iter().position(|c| c.name == waiting.class);
        let Some(class) = class.and_then(|class| u8::try_from(class).ok()) else {
            let names: Vec<_> = rules.classes.iter().map(|class| &class.name).collect();
            return Err(invalid(
                &field("class"),
                format!("{:?}", waiting.class),
                format!("a class of the pool's rules: {names:?}"),
            ));
        };
        let mut buckets: Vec<Bucket> = Vec::with_capacity(waiting.buckets.len());
        for (j, bucket) in waiting.buckets.iter().enumerate() {
            let users = u32::try_from(bucket.users).ok();
            let Some(users) = users.filter(|&users| users > 0) else {
                return Err(invalid(
                    &field(&format!("buckets[{j}].users")),
                    bucket.users,
                    format!("1 to {}", u32::MAX),
                ));
            };
            if let Some(before) = buckets.last().filter(|b| b.second >= bucket.second) {
                return Err(invalid(
                    &field(&format!("buckets[{j}].second")),
                    bucket.second,
                    format!("above {}, which is before it", before.second),
                ));
            }
            buckets.push(Bucket {
                class,
                second: bucket.second,
                users,
            });
        }
        if classes.insert(class, buckets).is_some() {
            let given = format!("{:?} twice", waiting.class);
            return Err(invalid(&field("class"), given, "each class once"));
        }
    }
    Ok(classes.into_values().flatten().collect())
}

fn claims(message: &v1::ReportRequest) -> Result<Vec<TokenClaim>, Refusal> {
    let v1::ReportRequest {
        claims,
        released,
        refused,
        ..
    } = message;
    let given = claims.len() + released.len() + refused.len();
    if given > MAX_CLAIMS_PER_REPORT {
        let given = format!("{given} with released and refused");
        let expected = format!("at most {MAX_CLAIMS_PER_REPORT} together");
        return Err(invalid("claims", given, expected));
    }
    let claim = |claim: &v1::Claim| TokenClaim {
        id: claim.id,
        issuer: claim.issuer,
    };
    Ok(claims.iter().map(claim).collect())
}

/// The answer to a report of a lease whose pool has these rules, of this revision; `known` is the one
/// that the holder goes by.
pub fn reported(
    reported: Reported,
    rules: &Rules,
    rules_revision: u64,
    known: u64,
) -> v1::ReportResponse {
    let name = |class| class_name(rules, class);
    let admissions = reported.admit.into_iter().map(|admit| v1::Admission {
        class: name(admit.class),
        users: admit.users.into(),
        until_s: admit.until_s,
        at_ms: admit.at_ms,
    });
    let flows = reported.flows.into_iter().map(|flow| v1::Flow {
        class: name(flow.class),
        waiting: flow.waiting,
        rate_milli: flow.rate,
        low_rate_milli: flow.low_rate,
    });
    let claims = reported.claims.into_iter().map(|(id, claimed)| {
        let state = match claimed {
            Claimed::Pending => v1::ClaimState::Pending,
            Claimed::Granted => v1::ClaimState::Granted,
            Claimed::Refused => v1::ClaimState::Refused,
            Claimed::TooMany => v1::ClaimState::TooMany,
        };
        v1::ClaimAnswer {
            id,
            state: state.into(),
        }
    });
    v1::ReportResponse {
        grant: Some(reported.grant.into()),
        open: reported.open,
        turns_ms: reported.turns_ms,
        mode: v1::Mode::from(reported.mode).into(),
        reason: reported.reason,
        admissions: admissions.collect(),
        shorten: reported.shorten,
        others_wait: reported.others_wait,
        floor: reported.floor,
        cluster_time_ms: reported.now_ms,
        closed_s: reported.closed_s,
        opened_s: reported.opened_s,
        rules_revision,
        rules: (rules_revision != known).then(|| rules.into()),
        flows: flows.collect(),
        claims: claims.collect(),
        asked: reported.asked,
    }
}

/// The name of the class at this place.
pub(crate) fn class_name(rules: &Rules, class: u8) -> String {
    let class = rules.classes.get(usize::from(class));
    class.map(|class| class.name.clone()).unwrap_or_default()
}

impl From<Mode> for v1::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Open => Self::Open,
            Mode::Paused => Self::Paused,
            Mode::Draining => Self::Draining,
            Mode::Frozen => Self::Frozen,
            Mode::Closed => Self::Closed,
        }
    }
}

/// The mode of this number, in the field of this path.
pub(crate) fn mode(field: &str, mode: i32) -> Result<Mode, Refusal> {
    match v1::Mode::try_from(mode) {
        Ok(v1::Mode::Open) => Ok(Mode::Open),
        Ok(v1::Mode::Paused) => Ok(Mode::Paused),
        Ok(v1::Mode::Draining) => Ok(Mode::Draining),
        Ok(v1::Mode::Frozen) => Ok(Mode::Frozen),
        Ok(v1::Mode::Closed) => Ok(Mode::Closed),
        Ok(v1::Mode::Unspecified) | Err(_) => Err(invalid(
            field,
            mode,
            "open (1), paused (2), draining (3), frozen (4) or closed (5)",
        )),
    }
}

impl From<&Rules> for v1::Rules {
    fn from(rules: &Rules) -> Self {
        let classes = rules.classes.iter().map(|class| v1::Class {
            name: class.name.clone(),
            weight: Some(class.weight),
            first: class.first,
        });
        let reclaim = match rules.reclaim {
            Reclaim::Drain => v1::Reclaim::Drain,
            Reclaim::Shorten => v1::Reclaim::Shorten,
        };
        Self {
            classes: classes.collect(),
            overtake_s: Some(rules.overtake_s),
            session: Some(v1::SessionRules {
                limit_s: rules.session.limit_s,
                idle_s: rules.session.idle_s,
                when_waiting_s: rules.session.when_waiting_s,
                notice_s: rules.session.notice_s,
                least_s: rules.session.least_s,
            }),
            reclaim: reclaim.into(),
        }
    }
}

/// Rules as a message says them, in the field of this path.
pub(crate) fn rules(field: &str, rules: v1::Rules) -> Result<Rules, Refusal> {
    let reclaim = match v1::Reclaim::try_from(rules.reclaim) {
        Ok(v1::Reclaim::Unspecified | v1::Reclaim::Drain) => Reclaim::Drain,
        Ok(v1::Reclaim::Shorten) => Reclaim::Shorten,
        Err(_) => {
            let expected = "drain (1) or shorten (2)";
            return Err(invalid(
                &format!("{field}.reclaim"),
                rules.reclaim,
                expected,
            ));
        }
    };
    let session = rules.session.unwrap_or_default();
    let classes = rules.classes.into_iter().map(|class| Class {
        name: class.name,
        weight: class.weight.unwrap_or(1),
        first: class.first,
    });
    Ok(Rules {
        classes: classes.collect(),
        overtake_s: rules
            .overtake_s
            .unwrap_or(quota::limits::DEFAULT_OVERTAKE_S),
        session: session.into(),
        reclaim,
    })
}

impl From<v1::SessionRules> for SessionRules {
    fn from(session: v1::SessionRules) -> Self {
        Self {
            limit_s: session.limit_s,
            idle_s: session.idle_s,
            when_waiting_s: session.when_waiting_s,
            notice_s: session.notice_s,
            least_s: session.least_s,
        }
    }
}

/// A calendar entry as a message says it, in the field of this path.
pub(crate) fn entry(field: &str, entry: v1::CalendarEntry) -> Result<CalendarEntry, Refusal> {
    use v1::calendar_entry::{Action as Said, When as At};
    let nothing =
        |name: &str, expected: &str| Err(invalid(&format!("{field}.{name}"), "nothing", expected));
    let when = match entry.when {
        Some(At::AtUnixS(unix_s)) => When::At { unix_s },
        Some(At::Weekly(weekly)) => When::Weekly {
            // Over its range is for the rules to refuse, and nothing over it may come to lie within.
            days: u8::try_from(weekly.days).unwrap_or(u8::MAX),
            minute: u16::try_from(weekly.minute).unwrap_or(u16::MAX),
            zone: said(weekly.zone),
        },
        None => return nothing("when", "at_unix_s or weekly"),
    };
    let action = match entry.action {
        Some(Said::SetCapacity(slots)) => Action::SetCapacity(slots),
        Some(Said::Open(_)) => Action::Open,
        Some(Said::Close(close)) => Action::Close {
            reason: close.reason,
        },
        Some(Said::Pause(pause)) => Action::Pause {
            reason: pause.reason,
        },
        Some(Said::Resume(_)) => Action::Resume,
        None => return nothing("action", "set_capacity, open, close, pause or resume"),
    };
    Ok(CalendarEntry {
        name: entry.name,
        region: said(entry.region),
        when,
        action,
    })
}

impl From<CalendarEntry> for v1::CalendarEntry {
    fn from(entry: CalendarEntry) -> Self {
        use v1::calendar_entry::{Action as Said, When as At};
        Self {
            name: entry.name,
            region: entry.region.unwrap_or_default(),
            when: Some(match entry.when {
                When::At { unix_s } => At::AtUnixS(unix_s),
                When::Weekly { days, minute, zone } => At::Weekly(v1::Weekly {
                    days: days.into(),
                    minute: minute.into(),
                    zone: zone.unwrap_or_default(),
                }),
            }),
            action: Some(match entry.action {
                Action::SetCapacity(slots) => Said::SetCapacity(slots),
                Action::Open => Said::Open(v1::OpenAction {}),
                Action::Close { reason } => Said::Close(v1::CloseAction { reason }),
                Action::Pause { reason } => Said::Pause(v1::PauseAction { reason }),
                Action::Resume => Said::Resume(v1::ResumeAction {}),
            }),
        }
    }
}
