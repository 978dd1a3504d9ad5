//! A queue's reports and their answers as messages, in which a class goes by its name.

use api::v1;
use quota::{Admission, Claimed, Flow, Mode, SessionRules};

use crate::queue::{Grant, Report};
use crate::seats::MAX_SEATS;

/// The pool's rules, as far as a front-end goes by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownRules {
    /// Their revision; 0 before any have come.
    pub revision: u64,
    /// The classes' names, and whether each is served before those that are not.
    pub classes: Vec<(String, bool)>,
    /// How long sessions may last.
    pub session: SessionRules,
}

impl KnownRules {
    /// The position of the class of this name.
    pub fn class(&self, name: &str) -> Option<u8> {
        let at = self.classes.iter().position(|(other, _)| other == name)?;
        u8::try_from(at).ok()
    }
}

/// A report.
pub fn request(lease: u64, seq: u64, report: &Report, rules: &KnownRules) -> v1::ReportRequest {
    let waiting = report
        .waiting
        .chunk_by(|a, b| a.class == b.class)
        .map(|class| {
            let name = rules.classes.get(usize::from(class[0].class));
            v1::Waiting {
                class: name.map(|(name, _)| name.clone()).unwrap_or_default(),
                buckets: class
                    .iter()
                    .map(|bucket| v1::Bucket {
                        second: bucket.second,
                        users: bucket.users.into(),
                    })
                    .collect(),
            }
        });
    v1::ReportRequest {
        lease_id: lease,
        seq,
        kept: report.kept,
        in_use: report.in_use,
        spare: report.spare,
        waiting: waiting.collect(),
        exact_until_s: report.exact_until_s,
        left: report.left,
        floor: report.floor,
        claims: report
            .claims
            .iter()
            .map(|claim| v1::Claim {
                id: claim.id,
                issuer: claim.issuer,
            })
            .collect(),
        released: report.released.clone(),
        refused: report.refused.clone(),
        rules_revision: rules.revision,
    }
}

/// The answer to a report, but for its lease, and the rules where they are others than the known ones.
pub fn response(response: v1::ReportResponse, known: &KnownRules) -> (Grant, Option<KnownRules>) {
    let changed = response
        .rules
        .as_ref()
        .map(|rules| learned(response.rules_revision, rules));
    let rules = changed.as_ref().unwrap_or(known);
    let admit = response.admissions.iter().filter_map(|admission| {
        Some(Admission {
            class: rules.class(&admission.class)?,
            users: u32::try_from(admission.users).unwrap_or(u32::MAX),
            until_s: admission.until_s,
            at_ms: admission.at_ms,
        })
    });
    let flows = response.flows.iter().filter_map(|flow| {
        Some(Flow {
            class: rules.class(&flow.class)?,
            waiting: flow.waiting,
            rate: flow.rate_milli,
            low_rate: flow.low_rate_milli,
        })
    });
    let claims = response
        .claims
        .iter()
        .map(|claim| (claim.id, claimed(claim.state())));
    let grant = Grant {
        slots: response.grant.as_ref().map_or(0, |grant| grant.slots),
        open: response.open,
        turns_ms: response.turns_ms,
        mode: mode(response.mode()),
        reason: response.reason.as_str().into(),
        admit: admit.collect(),
        shorten: response.shorten,
        others_wait: response.others_wait,
        floor: response.floor.min(MAX_SEATS),
        session: rules.session,
        cluster_ms: response.cluster_time_ms,
        closed_s: response.closed_s,
        flows: flows.collect(),
        claims: claims.collect(),
        asked: response.asked,
    };
    (grant, changed)
}

fn learned(revision: u64, rules: &v1::Rules) -> KnownRules {
    let session = rules.session.unwrap_or_default();
    KnownRules {
        revision,
        classes: rules
            .classes
            .iter()
            .map(|class| (class.name.clone(), class.first))
            .collect(),
        session: session.into(),
    }
}

/// A mode that is not known seats nobody, until this front-end is as new as the cluster.
fn mode(mode: v1::Mode) -> Mode {
    match mode {
        v1::Mode::Open => Mode::Open,
        v1::Mode::Frozen => Mode::Frozen,
        v1::Mode::Closed => Mode::Closed,
        v1::Mode::Draining => Mode::Draining,
        v1::Mode::Paused | v1::Mode::Unspecified => Mode::Paused,
    }
}

fn claimed(state: v1::ClaimState) -> Claimed {
    match state {
        v1::ClaimState::Granted => Claimed::Granted,
        v1::ClaimState::Refused => Claimed::Refused,
        v1::ClaimState::TooMany => Claimed::TooMany,
        v1::ClaimState::Pending | v1::ClaimState::Unspecified => Claimed::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quota::{Bucket, TokenClaim};

    fn rules() -> v1::Rules {
        let class = |name: &str, first| v1::Class {
            name: name.into(),
            weight: None,
            first,
        };
        v1::Rules {
            classes: vec![class("pupils", false), class("teachers", true)],
            session: Some(v1::SessionRules {
                limit_s: Some(90),
                ..v1::SessionRules::default()
            }),
            ..v1::Rules::default()
        }
    }

    #[test]
    fn a_class_goes_by_its_name() {
        let known = learned(4, &rules());
        let bucket = |class, second| Bucket {
            class,
            second,
            users: 2,
        };
        let report = Report {
            kept: 9,
            waiting: vec![bucket(0, 5), bucket(0, 7), bucket(1, 6)],
            claims: vec![TokenClaim { id: 1, issuer: 2 }],
            ..Report::default()
        };
        let request = request(11, 12, &report, &known);
        assert_eq!((request.lease_id, request.seq, request.kept), (11, 12, 9));
        assert_eq!(request.rules_revision, 4);
        let classes: Vec<_> = request
            .waiting
            .iter()
            .map(|w| (w.class.as_str(), w.buckets.len()))
            .collect();
        assert_eq!(classes, [("pupils", 2), ("teachers", 1)]);
        assert_eq!(request.claims, [v1::Claim { id: 1, issuer: 2 }]);
    }

    #[test]
    fn an_answer_goes_by_the_rules_that_it_brings() {
        let admission = |class: &str| v1::Admission {
            class: class.into(),
            users: 3,
            until_s: 8,
            at_ms: 9_500,
        };
        let answer = v1::ReportResponse {
            admissions: vec![admission("teachers"), admission("nobody")],
            mode: v1::Mode::Frozen.into(),
            rules_revision: 5,
            rules: Some(rules()),
            floor: u64::MAX,
            ..v1::ReportResponse::default()
        };
        let (grant, changed) = response(answer.clone(), &KnownRules::default());
        assert_eq!(
            grant.admit,
            [Admission {
                class: 1,
                users: 3,
                until_s: 8,
                at_ms: 9_500,
            }]
        );
        assert_eq!(grant.floor, MAX_SEATS, "more than anyone can have");
        assert_eq!(
            (grant.mode, grant.session.limit_s),
            (Mode::Frozen, Some(90))
        );
        let known = changed.unwrap();
        assert_eq!(known.revision, 5);
        let same = v1::ReportResponse {
            rules: None,
            ..answer
        };
        assert_eq!(
            response(same, &known),
            (grant, None),
            "the known rules go on"
        );
        let unknown = response(
            v1::ReportResponse {
                mode: 99,
                ..Default::default()
            },
            &known,
        );
        assert_eq!(
            unknown.0.mode,
            Mode::Paused,
            "a mode of the future seats nobody"
        );
    }
}
