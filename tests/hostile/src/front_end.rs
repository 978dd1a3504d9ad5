//! A front-end whose cluster answers anything, at any time, and whose users do anything.

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1;
use arbitrary::Unstructured;
use bytes::Bytes;
use client::MAX_SEATS;
use client::queue::{self, Arrival, Queue, Shown};
use client::untrusted::{
    Answer, Front, Keeper, KnownRules, Ledger, Request, Settings, Tag, granted, refused, response,
};
use tonic::{Code, Status};

use crate::said;

/// Most steps of one life.
const STEPS: usize = 400;

pub fn front_end(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let waits = data.arbitrary().unwrap_or(false);
    let mut life = Life::new(waits);
    for _ in 0..STEPS {
        if data.is_empty() || life.step(&mut data).is_err() {
            break;
        }
    }
}

struct Life {
    now: Duration,
    keeper: Keeper,
    seats: Ledger,
    queue: Option<Queue>,
    rules: KnownRules,
    /// The requests that are out, and when each was first sent.
    out: Vec<(Tag, Request)>,
    sent: BTreeMap<Tag, Duration>,
    /// Slots that the last answer gave, and until when.
    granted: (u64, Duration),
    users: Vec<u64>,
}

impl Life {
    fn new(waits: bool) -> Self {
        let settings = Settings {
            reserve: 4,
            report_every: None,
        };
        Self {
            now: Duration::from_secs(1),
            keeper: Keeper::new(settings, 1),
            seats: Ledger::default(),
            queue: waits.then(|| Queue::new(queue::Settings::default(), 1)),
            rules: KnownRules::default(),
            out: Vec::new(),
            sent: BTreeMap::new(),
            granted: (0, Duration::ZERO),
            users: Vec::new(),
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Keeper, Duration, Front<'_>) -> T) -> T {
        let front = match &mut self.queue {
            Some(queue) => Front::Queue(queue),
            None => Front::Seats(&self.seats),
        };
        f(&mut self.keeper, self.now, front)
    }

    fn step(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match data.int_in_range(0..=7)? {
            0 => self.now += Duration::from_millis(data.arbitrary::<u16>()?.into()),
            1 => self.now += Duration::from_millis(data.arbitrary::<u32>()?.into()),
            2..=3 => {
                if let Some((tag, request)) =
                    self.with(|keeper, now, front| keeper.poll(now, front))
                {
                    self.sent.entry(tag).or_insert(self.now);
                    if let Request::Report {
                        lease,
                        seq,
                        ref report,
                    } = request
                    {
                        client::untrusted::request(lease, seq, report, &self.rules);
                    }
                    self.out.push((tag, request));
                }
            }
            4..=5 => self.answer(data)?,
            6 => self.user(data)?,
            _ => {
                if data.int_in_range(0..=15)? == 0 {
                    self.with(|keeper, _, front| keeper.close(front));
                }
            }
        }
        let standing = self.with(|keeper, now, front| keeper.standing(now, front));
        assert!(standing.slots <= MAX_SEATS, "{standing:?}");
        assert!(standing.overdue <= standing.in_use, "{standing:?}");
        if let Some(queue) = &mut self.queue {
            queue.events().for_each(drop);
        }
        Ok(())
    }

    /// Answers a request that is out, or that was answered before.
    fn answer(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let Some(last) = self.out.len().checked_sub(1) else {
            return Ok(());
        };
        let at = last - data.int_in_range(0..=last.min(3))?;
        let (tag, asked) = self.out[at].clone();
        match data.int_in_range(0..=7)? {
            0 => {
                let details = Bytes::copy_from_slice(data.arbitrary()?);
                let status = Status::with_details(Code::FailedPrecondition, "no", details);
                client::retry_after(&status);
                client::leader_address(&status);
                let refused = refused(&status);
                self.with(|keeper, now, front| keeper.refused(now, tag, refused, front));
            }
            1 => {
                let current = data.arbitrary()?;
                let refused = *data.choose(&[
                    client::untrusted::Refused::Ended,
                    client::untrusted::Refused::Closing,
                    client::untrusted::Refused::StaleSeq,
                    client::untrusted::Refused::Other,
                    client::untrusted::Refused::StaleEpoch { current },
                ])?;
                self.with(|keeper, now, front| keeper.refused(now, tag, refused, front));
            }
            2 => {
                let pause = Duration::from_millis(data.arbitrary::<u16>()?.into());
                self.keeper.failed(self.now, tag, pause);
            }
            _ => {
                let answer = match asked {
                    Request::Take { .. } | Request::Renew { .. } => {
                        Answer::Granted(self.grant(tag, grant(data)?))
                    }
                    Request::Return { .. } => Answer::Returned,
                    Request::Report { .. } => {
                        let message = reported(data)?;
                        let grant = self.grant(tag, message.grant);
                        let (more, rules) = response(message, &self.rules);
                        if let (Some(rules), Some(queue)) = (rules, &mut self.queue) {
                            queue.set_classes(rules.classes.iter().map(|(_, first)| *first));
                            self.rules = rules;
                        }
                        Answer::Reported(grant, Box::new(more))
                    }
                };
                self.with(|keeper, now, front| keeper.answered(now, tag, answer, front));
            }
        }
        Ok(())
    }

    /// Reads a grant as the client does, and notes what it allows.
    fn grant(&mut self, tag: Tag, grant: Option<v1::Grant>) -> client::untrusted::Grant {
        let grant = match granted(grant) {
            Ok(grant) => grant,
            Err(status) => {
                said(status.message());
                client::untrusted::Grant {
                    lease: 0,
                    slots: 0,
                    target: 0,
                    ttl_ms: 0,
                    drift_ppm: 0,
                }
            }
        };
        let ttl = Duration::from_millis(grant.ttl_ms);
        let until = self.sent[&tag].saturating_add(ttl);
        self.granted = (self.granted.0.max(grant.slots), self.granted.1.max(until));
        grant
    }

    fn user(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let now = self.now;
        let Some(queue) = &mut self.queue else {
            if data.arbitrary()? {
                if self.seats.admit(|| now) {
                    let in_use = self.seats.usage().in_use;
                    let (slots, until) = self.granted;
                    assert!(in_use <= slots && now < until, "{in_use} in use at {now:?}");
                }
            } else if self.seats.usage().in_use > 0 {
                self.seats.release();
            }
            return Ok(());
        };
        let known = data.choose(&self.users).copied();
        let id = known.unwrap_or(data.arbitrary()?);
        match data.int_in_range(0..=4)? {
            0..=1 => match queue.arrive(now, data.int_in_range(0..=17)?) {
                Arrival::Seated(user) | Arrival::Waiting(user, _) => self.users.push(user.id),
                Arrival::Refused(why) => said(&why.to_string()),
            },
            2 => drop(queue.poll(now, id)),
            3 => drop(queue.leave(now, id)),
            _ => {
                let shown = Shown {
                    id,
                    issuer: data.arbitrary()?,
                    class: data.arbitrary()?,
                    second: data.arbitrary()?,
                    start_s: data.arbitrary()?,
                };
                queue.show(now, shown);
            }
        }
        Ok(())
    }
}

/// A number of which the odd ones come often.
fn number(data: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(match data.int_in_range(0..=7)? {
        0 => 0,
        1 => u64::MAX,
        2 => data.arbitrary()?,
        3 => data.arbitrary::<u32>()?.into(),
        _ => data.arbitrary::<u8>()?.into(),
    })
}

fn grant(data: &mut Unstructured<'_>) -> arbitrary::Result<Option<v1::Grant>> {
    if data.int_in_range(0..=15)? == 0 {
        return Ok(None);
    }
    Ok(Some(v1::Grant {
        lease_id: number(data)?,
        slots: number(data)?,
        target: number(data)?,
        ttl_ms: match data.arbitrary()? {
            true => 10_000,
            false => number(data)?,
        },
        drift_ppm: data.arbitrary()?,
    }))
}

fn some<T>(
    data: &mut Unstructured<'_>,
    make: impl Fn(&mut Unstructured<'_>) -> arbitrary::Result<T>,
) -> arbitrary::Result<Vec<T>> {
    let count = data.int_in_range(0..=4)?;
    (0..count).map(|_| make(data)).collect()
}

fn second(data: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(number(data)? as u32)
}

fn class(data: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(data
        .choose(&["", "everyone", "teachers", "other"])?
        .to_string())
}

fn reported(data: &mut Unstructured<'_>) -> arbitrary::Result<v1::ReportResponse> {
    let session = |data: &mut Unstructured<'_>| {
        Ok(v1::SessionRules {
            limit_s: data.arbitrary()?,
            idle_s: data.arbitrary()?,
            when_waiting_s: data.arbitrary()?,
            notice_s: second(data)?,
            least_s: second(data)?,
        })
    };
    let one_class = |data: &mut Unstructured<'_>| {
        Ok(v1::Class {
            name: class(data)?,
            weight: data.arbitrary()?,
            first: data.arbitrary()?,
        })
    };
    let rules = match data.arbitrary()? {
        true => Some(v1::Rules {
            classes: match data.int_in_range(0..=15)? {
                0 => vec![v1::Class::default(); 300],
                _ => some(data, one_class)?,
            },
            overtake_s: None,
            session: Some(session(data)?),
            reclaim: data.arbitrary()?,
        }),
        false => None,
    };
    Ok(v1::ReportResponse {
        grant: grant(data)?,
        open: data.arbitrary()?,
        mode: data.int_in_range(0..=7)?,
        reason: String::new(),
        admissions: some(data, |data| {
            Ok(v1::Admission {
                class: class(data)?,
                users: number(data)?,
                until_s: second(data)?,
                at_ms: number(data)?,
            })
        })?,
        shorten: number(data)?,
        others_wait: data.arbitrary()?,
        floor: number(data)?,
        cluster_time_ms: match data.arbitrary()? {
            true => 1_000_000,
            false => number(data)?,
        },
        closed_s: data.arbitrary()?,
        opened_s: data.arbitrary()?,
        rules_revision: number(data)?,
        rules,
        flows: some(data, |data| {
            Ok(v1::Flow {
                class: class(data)?,
                waiting: number(data)?,
                rate_milli: number(data)?,
                low_rate_milli: number(data)?,
            })
        })?,
        claims: some(data, |data| {
            Ok(v1::ClaimAnswer {
                id: number(data)?,
                state: data.int_in_range(0..=5)?,
            })
        })?,
        asked: some(data, number)?,
        turns_ms: number(data)?,
    })
}
