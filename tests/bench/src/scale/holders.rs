//! Holders that report once a second, in lots: those of a lot report at the same moment of each second, in one call.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use api::v1;
use api::v1::hold_request::Request as Up;
use api::v1::hold_response::Response as Down;
use api::v1::lease_service_client::LeaseServiceClient;
use preau::parts::Failure;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shape;
use crate::connection::Connection;
use crate::figures::Latencies;
use crate::load::{ANSWER_WITHIN, micros};
use crate::targets::told;

/// How often a holder reports.
const EVERY: Duration = Duration::from_secs(1);
/// So many lots at least, where there are as many holders: one every 10 ms.
const LOTS: usize = 100;
/// Most holders of a lot. A call may make 1,024 requests, and have 65,536 bytes.
const MOST: usize = 1_000;
/// Leases taken in one call, whose requests have names in them.
const TAKEN: usize = 500;
/// Slots with a session on them, and one more every other second; and slots that are wanted beyond those.
const IN_USE: u64 = 8;
const SPARE: u64 = 10;
/// Slots of each holder that are guaranteed to its region: twice what it asks for.
pub const NOMINAL: u64 = 64;

/// How many lots there are of so many holders.
pub fn lots(holders: usize) -> usize {
    holders.min(LOTS).max(holders.div_ceil(MOST))
}

/// The name of a pool, by number,
pub fn pool_name(number: usize) -> String {
    format!("p{number}")
}

/// and of a region.
pub fn region_name(number: usize) -> String {
    format!("r{number}")
}

/// What came of the reports that were due while it was measured.
#[derive(Debug, Default)]
pub struct Tally {
    /// From when a lot was due until it was answered.
    pub latencies: Latencies,
    /// Reports that were due,
    pub due: u64,
    /// were answered well,
    pub answered: u64,
    /// were not made, for those of the second before were not answered yet,
    pub late: u64,
    /// and failed, by why.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds what another lot did.
    pub fn append(&mut self, other: Self) {
        self.latencies.append(other.latencies);
        self.due += other.due;
        self.answered += other.answered;
        self.late += other.late;
        for (error, times) in other.errors {
            self.fail(error, times);
        }
    }

    fn fail(&mut self, error: String, times: u64) {
        *self.errors.entry(error).or_default() += times;
    }
}

/// A holder's lease, and the number of its last request that was answered.
#[derive(Debug, Clone, Copy)]
struct Holder {
    lease: u64,
    seq: u64,
    slots: u64,
}

impl Holder {
    /// Its next report; the same until that is answered, so that it may be sent again. It keeps all that it has,
    /// nobody waits, and a session begins and ends every other second: its region's demand changes each time.
    fn report(&self, rules_revision: u64) -> v1::ReportRequest {
        let odd = self.seq % 2;
        v1::ReportRequest {
            lease_id: self.lease,
            seq: self.seq + 1,
            kept: self.slots,
            in_use: self.slots.min(IN_USE + odd),
            spare: SPARE,
            exact_until_s: u32::MAX,
            left: 1 - odd,
            rules_revision,
            ..v1::ReportRequest::default()
        }
    }
}

/// A lot of holders. It makes one call at a time, so that what is under way is bounded.
pub struct Lot {
    client: LeaseServiceClient<Connection>,
    /// When in each second it reports.
    offset: Duration,
    holders: Vec<Holder>,
    /// Of the rules, which are the same in all pools.
    rules_revision: u64,
}

impl Lot {
    /// Takes a lease for every holder of the lot with this number.
    pub async fn take(
        connection: Connection,
        shape: Shape,
        number: usize,
    ) -> Result<Self, Failure> {
        let lots = lots(shape.holders);
        let mut this = Self {
            client: LeaseServiceClient::new(connection),
            offset: EVERY * number as u32 / lots as u32,
            holders: Vec::new(),
            rules_revision: 0,
        };
        let all: Vec<usize> = (number..shape.holders).step_by(lots).collect();
        for some in all.chunks(TAKEN) {
            let take = |&holder: &usize| {
                let (pool, region) = shape.place(holder);
                Up::Lease(first(pool, region_name(region), format!("h{holder}"), 0))
            };
            let answers = this.exchange(some.iter().map(take).collect()).await;
            for answer in answers.map_err(Failure::operation)? {
                let Down::Grant(grant) = answer else {
                    return Err(Failure::operation(format!("no lease: {answer:?}")));
                };
                this.holders.push(Holder {
                    lease: grant.lease_id,
                    seq: 1,
                    slots: grant.slots,
                });
            }
        }
        Ok(this)
    }

    /// Makes requests in one call, and gives the answers in their order.
    async fn exchange(&mut self, requests: Vec<Up>) -> Result<Vec<Down>, String> {
        let asked = requests.len();
        let answered = self.client.lease_batch(batch(requests));
        let answered = timeout(ANSWER_WITHIN, answered).await;
        let answered = answered.map_err(|_| format!("no answer within {ANSWER_WITHIN:?}"))?;
        let responses = answered.map_err(|e| told(&e))?.into_inner().responses;
        let answers: Vec<Down> = responses.into_iter().filter_map(|r| r.response).collect();
        match answers.len() == asked {
            true => Ok(answers),
            false => Err(format!("{} answers to {asked} requests", answers.len())),
        }
    }

    /// Reports once a second from `start` on, and tells what came of it in the `measured` seconds, which are the
    /// last.
    pub async fn work(mut self, start: Instant, measured: Range<u64>) -> Tally {
        let count = self.holders.len() as u64;
        let mut tally = Tally {
            due: count * (measured.end - measured.start),
            ..Tally::default()
        };
        let (mut second, first_due) = (0, start + self.offset);
        while second < measured.end {
            let due = first_due + EVERY * second as u32;
            sleep_until(due).await;
            let outcome = self.report().await;
            let counts = measured.contains(&second);
            match outcome {
                Ok((answered, errors)) if counts => {
                    tally.latencies.add(micros(due.elapsed()));
                    tally.answered += answered;
                    for (error, times) in errors {
                        tally.fail(error, times);
                    }
                }
                Err(error) if counts => tally.fail(error, count),
                _ => {}
            }
            let next = next(first_due.elapsed());
            tally.late += count * skipped(second, next, &measured);
            second = next;
        }
        tally
    }

    /// Has all holders report. Says how many were answered well, and why others were not.
    async fn report(&mut self) -> Result<(u64, BTreeMap<String, u64>), String> {
        let revision = self.rules_revision;
        let report = |holder: &Holder| Up::Report(holder.report(revision));
        let reports = self.holders.iter().map(report).collect();
        let answers = self.exchange(reports).await?;
        let (mut answered, mut errors) = (0, BTreeMap::new());
        for (holder, answer) in self.holders.iter_mut().zip(answers) {
            let error = match answer {
                Down::Reported(reported) => {
                    holder.seq += 1;
                    holder.slots = reported.grant.unwrap_or_default().slots;
                    self.rules_revision = reported.rules_revision;
                    answered += 1;
                    continue;
                }
                Down::Failure(failure) => format!("{}: {}", failure.reason, failure.message),
                _ => "an answer to something else".into(),
            };
            *errors.entry(error).or_default() += 1;
        }
        Ok((answered, errors))
    }
}

/// The first request of a holder.
pub fn first(pool: usize, region: String, holder: String, wanted: u64) -> v1::LeaseRequest {
    v1::LeaseRequest {
        pool: pool_name(pool),
        region,
        holder,
        epoch: 1,
        seq: 1,
        wanted,
    }
}

/// Requests as one call.
pub fn batch(requests: Vec<Up>) -> v1::LeaseBatchRequest {
    let requests = (1..).zip(requests).map(|(tag, request)| v1::HoldRequest {
        tag,
        request: Some(request),
    });
    v1::LeaseBatchRequest {
        requests: requests.collect(),
    }
}

/// The second in which a lot reports next, so long after its first report was due.
fn next(since_first: Duration) -> u64 {
    since_first.as_secs() + 1
}

/// How many of the measured seconds are left out by a lot that goes on from one with another.
fn skipped(second: u64, next: u64, measured: &Range<u64>) -> u64 {
    let from = (second + 1).max(measured.start);
    next.min(measured.end).saturating_sub(from)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn lots_are_spread_over_the_second_and_fit_into_a_call() {
        let of = [1, 10, 100, 1_000, 100_000, 100_001, 1_000_000].map(lots);
        assert_eq!(of, [1, 10, 100, 100, 100, 101, 1_000]);
        for holders in [1_usize, 99, 12_345, 100_001, 1_000_000] {
            assert!(holders.div_ceil(lots(holders)) <= MOST, "{holders}");
        }
    }

    #[test]
    fn a_call_is_never_longer_than_it_may_be() {
        const MAY_BE: usize = 65_536;
        let largest = Holder {
            lease: u64::MAX,
            seq: u64::from(u32::MAX),
            slots: NOMINAL,
        };
        let reports = vec![Up::Report(largest.report(1)); MOST];
        assert!(batch(reports).encoded_len() < MAY_BE);
        let take = first(99, region_name(999), format!("h{}", 1_000_000), 0);
        assert!(batch(vec![Up::Lease(take); TAKEN]).encoded_len() < MAY_BE);
    }

    #[test]
    fn a_report_is_the_same_until_it_is_answered_and_another_then() {
        let holder = Holder {
            lease: 7,
            seq: 1,
            slots: 0,
        };
        assert_eq!(holder.report(3), holder.report(3));
        let report = holder.report(3);
        assert_eq!((report.kept, report.in_use, report.seq), (0, 0, 2));
        let settled = |seq| Holder {
            lease: 7,
            seq,
            slots: 19,
        };
        let in_use: Vec<u64> = (2..5).map(|seq| settled(seq).report(3).in_use).collect();
        assert_eq!(in_use, [8, 9, 8]);
    }

    #[test]
    fn a_second_that_comes_before_the_answer_is_skipped_and_counted() {
        let after = |ms| next(Duration::from_millis(ms));
        assert_eq!(
            [0, 300, 999, 1_000, 1_200, 3_700].map(after),
            [1, 1, 1, 2, 2, 4]
        );
        let measured = 10..30;
        assert_eq!(skipped(12, 13, &measured), 0);
        assert_eq!(skipped(12, 15, &measured), 2);
        assert_eq!(
            skipped(8, 12, &measured),
            2,
            "of the second 9 nothing is said"
        );
        assert_eq!(skipped(28, 33, &measured), 1);
        assert_eq!(skipped(3, 5, &measured), 0);
    }
}
