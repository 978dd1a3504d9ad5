//! One holder of the load: it takes a lease, keeps it at a size that goes up and down, and gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::v1;

use super::calls::{Answer, Failed, Request, Way};
use super::record::{Record, Sender};
use super::stats::{Kind, Stats};

/// How long a holder goes on trying to be answered once the load is over, so that what it has is known.
const GRACE: Duration = Duration::from_secs(10);

/// What all holders of a run share.
#[derive(Debug)]
pub struct Run {
    pub pool: String,
    /// Slots that a holder wants on average.
    pub slots: u64,
    pub epoch: u64,
    /// Report users who wait, who arrived in so many seconds, in place of renewing.
    pub buckets: Option<u32>,
    /// Leave the leases to the cluster at the end.
    pub keep: bool,
    pub stats: Stats,
    pub record: Option<Record>,
    /// Set to end the load early.
    pub stop: AtomicBool,
}

/// What a holder has.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    slots: u64,
    target: u64,
}

/// A front-end without users.
#[derive(Debug)]
pub struct Holder {
    pub number: usize,
    pub name: String,
    pub region: String,
    pub way: Way,
    pub rng: fastrand::Rng,
    pub run: Arc<Run>,
    seq: u64,
    lease: Option<Lease>,
}

/// What a holder leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its lease is given back, or it had none.
    Returned,
    /// Its lease runs on, as asked.
    Kept,
    /// Its lease could not be given back and will run out.
    Left,
}

impl Holder {
    pub fn new(number: usize, region: String, way: Way, seed: u64, run: Arc<Run>) -> Self {
        Self {
            number,
            name: format!("bench-{number}"),
            region,
            way,
            // A stream of its own for each holder, the same for the same seed.
            rng: fastrand::Rng::with_seed(
                seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64),
            ),
            run,
            seq: 0,
            lease: None,
        }
    }

    /// Works until the load is over.
    pub async fn work(mut self) -> End {
        let end = self.run.stats.end();
        while Instant::now() < end && !self.run.stop.load(Ordering::Relaxed) {
            self.seq += 1;
            let wanted = self.rng.u64(0..=2 * self.run.slots);
            match self.lease {
                // Whoever reports wants nothing before.
                None if self.run.buckets.is_some() => self.take(0).await,
                None => self.take(wanted).await,
                Some(lease) => self.keep(lease, wanted).await,
            }
        }
        match self.lease {
            _ if self.run.keep => End::Kept,
            None => End::Returned,
            Some(lease) => self.give_back(lease).await,
        }
    }

    async fn take(&mut self, wanted: u64) {
        let request = Request::Take(v1::LeaseRequest {
            pool: self.run.pool.clone(),
            region: self.region.clone(),
            holder: self.name.clone(),
            epoch: self.run.epoch,
            seq: self.seq,
            wanted,
        });
        self.ask(Some(Kind::Take), request).await;
    }

    /// Keeps what is wanted and may be kept: a holder whose sessions end whenever it likes. What it does
    /// not keep is given back from the moment that it says so.
    async fn keep(&mut self, lease: Lease, wanted: u64) {
        let kept = lease.slots.min(lease.target).min(wanted);
        self.lease = Some(Lease {
            slots: kept,
            ..lease
        });
        let request = match self.run.buckets {
            None => Request::Renew(v1::RenewRequest {
                lease_id: lease.id,
                seq: self.seq,
                kept,
                wanted,
            }),
            Some(buckets) => Request::Report(v1::ReportRequest {
                lease_id: lease.id,
                seq: self.seq,
                kept,
                in_use: kept,
                waiting: self.waiting(wanted - kept, buckets),
                exact_until_s: u32::MAX,
                left: lease.slots - kept,
                ..v1::ReportRequest::default()
            }),
        };
        self.ask(Some(Kind::Renew), request).await;
    }

    /// So many users, who arrived in as many seconds as there may be: one later with every report, as if it
    /// were made once a second.
    fn waiting(&self, users: u64, buckets: u32) -> Vec<v1::Waiting> {
        let buckets = users.min(buckets.into());
        let first = u32::try_from(self.seq).unwrap_or(u32::MAX / 2);
        let bucket = |i: u64| v1::Bucket {
            second: first.saturating_add(u32::try_from(i).unwrap_or(0)),
            users: users / buckets + u64::from(i < users % buckets),
        };
        vec![v1::Waiting {
            class: "everyone".into(),
            buckets: (0..buckets).map(bucket).collect(),
        }]
    }

    async fn give_back(&mut self, lease: Lease) -> End {
        self.seq += 1;
        let request = Request::Return(v1::ReturnRequest {
            lease_id: lease.id,
            seq: self.seq,
        });
        self.ask(None, request).await;
        match self.lease {
            None => End::Returned,
            Some(_) => End::Left,
        }
    }

    /// Asks until there is an answer, with the same number each time, and goes by it.
    async fn ask(&mut self, kind: Option<Kind>, request: Request) {
        let run = Arc::clone(&self.run);
        let stats = &run.stats;
        let first_sent = stats.now();
        let last_try = stats.end().max(Instant::now()) + GRACE;
        loop {
            let sent = stats.now();
            let outcome = self.way.send(request.clone()).await;
            let answered = stats.now();
            if let Some(record) = &run.record {
                let sender = Sender {
                    holder: &self.name,
                    epoch: self.run.epoch,
                    sent,
                    answered,
                };
                record.write(sender, &request, &outcome);
            }
            let failed = match outcome {
                Ok(answer) => {
                    let added = self.apply(answer);
                    if let Some(kind) = kind {
                        stats.answered(self.number, kind, first_sent, answered, added);
                    }
                    return;
                }
                Err(failed) => failed,
            };
            stats.failed(self.number, failed.code, answered);
            match failed.retry() {
                Some(pause) if Instant::now() + pause < last_try => tokio::time::sleep(pause).await,
                Some(_) => return,
                None => return self.refused(&failed).await,
            }
        }
    }

    /// Takes an answer in, and says how many slots it added.
    fn apply(&mut self, answer: Answer) -> u64 {
        match answer {
            Answer::Granted(grant) => {
                let before = self.lease.map_or(0, |lease| lease.slots);
                self.lease = Some(Lease {
                    id: grant.lease_id,
                    slots: grant.slots,
                    target: grant.target,
                });
                grant.slots.saturating_sub(before)
            }
            Answer::Returned { .. } => {
                self.lease = None;
                0
            }
        }
    }

    /// The cluster knows the lease no more, such as after a gap longer than its time to live; or it
    /// can't grant one. The next request takes a new one, after a pause: a refusal is no load.
    async fn refused(&mut self, failed: &Failed) {
        tracing::warn!(
            holder = self.name,
            reason = failed.reason,
            "{}",
            failed.message
        );
        self.lease = None;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
