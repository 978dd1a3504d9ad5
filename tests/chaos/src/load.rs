//! Front-ends without users: they lease slots, use what they were granted to the last moment that their own clock
//! allows, retry what was not answered, die and start anew, and write all of it down.

use std::sync::Arc;
use std::time::Duration;

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use check::history::{Answer, Call, Granted, Record, Use};
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::Status;

use crate::doors::{self, Doors, request, within};
use crate::record::Recorder;

/// Pauses between two requests of a holder, in milliseconds.
const PACE_MS: std::ops::Range<u64> = 150..700;
/// Pauses before a retry, in milliseconds.
const RETRY_MS: std::ops::Range<u64> = 50..400;
/// Tries of a request that no lease depends on.
const TRIES: u32 = 8;

/// What holders are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Work.
    Work,
    /// Send nothing.
    Rest,
    /// Give leases back, and end.
    Leave,
}

/// What all holders share.
pub struct Load {
    pub recorder: Arc<Recorder>,
    pub doors: Arc<Doors>,
    pub order: watch::Receiver<Order>,
}

/// One front-end.
pub struct Holder {
    pub number: u64,
    pub pool: &'static str,
    pub region: &'static str,
    /// Reports who waits, in place of renewing.
    pub reports: bool,
    /// Slots that it wants at most.
    pub most: u64,
    pub rng: fastrand::Rng,
    pub load: Arc<Load>,
}

/// A life of a holder.
struct Life {
    holder: Holder,
    name: String,
    epoch: u64,
    seq: u64,
    lease: Option<Lease>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    slots: u64,
    target: u64,
    until_ns: u64,
}

impl Holder {
    /// Works until it is to leave.
    pub async fn work(self) {
        let name = format!("holder-{}", self.number);
        let mut life = Life {
            holder: self,
            name,
            epoch: 1,
            seq: 0,
            lease: None,
        };
        let mut order = life.holder.load.order.clone();
        loop {
            let now = *order.borrow_and_update();
            match now {
                Order::Work => life.turn().await,
                // The sender lives as long as the run.
                Order::Rest => drop(order.changed().await),
                Order::Leave => return life.give_back().await,
            }
        }
    }
}

impl Life {
    /// One request, or a death.
    async fn turn(&mut self) {
        let pause = self.holder.rng.u64(PACE_MS);
        sleep(Duration::from_millis(pause)).await;
        self.drop_if_over();
        match self.holder.rng.u32(0..100) {
            0 => self.die(),
            1..3 => self.give_back().await,
            _ if self.lease.is_some() => self.keep().await,
            _ => self.take().await,
        }
    }

    /// It starts anew. What it had it may go on using, as an instance that was only thought dead does; or
    /// nothing is used any more.
    fn die(&mut self) {
        if self.holder.rng.bool() {
            self.shut();
        }
        self.lease = None;
        self.epoch += 1;
        self.seq = 0;
    }

    async fn take(&mut self) {
        let wanted = match self.holder.reports {
            true => 0,
            false => self.holder.rng.u64(0..=self.holder.most),
        };
        self.seq += 1;
        let call = Call::Take {
            pool: self.holder.pool.into(),
            region: self.holder.region.into(),
            holder: self.name.clone(),
            epoch: self.epoch,
            seq: self.seq,
            wanted,
        };
        self.ask(call).await;
    }

    async fn keep(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let rng = &mut self.holder.rng;
        let wanted = rng.u64(0..=self.holder.most);
        let comes_down = rng.u32(0..4) > 0;
        let may_keep = if comes_down {
            lease.slots.min(lease.target)
        } else {
            lease.slots
        };
        let kept = may_keep.min(wanted);
        lease.slots = kept;
        self.seq += 1;
        let (pool, lease, seq) = (self.holder.pool.into(), lease.id, self.seq);
        let call = if self.holder.reports {
            Call::Report {
                pool,
                lease,
                seq,
                kept,
                in_use: kept,
                wanted,
                floor: 0,
            }
        } else {
            Call::Renew {
                pool,
                lease,
                seq,
                kept,
                wanted,
            }
        };
        // What is not kept is used no more from before the request is sent.
        self.record_use();
        self.ask(call).await;
    }

    async fn give_back(&mut self) {
        self.drop_if_over();
        let Some(lease) = self.lease else { return };
        self.shut();
        self.seq += 1;
        let call = Call::Return {
            pool: self.holder.pool.into(),
            lease: lease.id,
            seq: self.seq,
        };
        self.ask(call).await;
        self.lease = None;
    }

    /// Asks until there is an answer, with the same number each time, and goes by it. Given up once the lease
    /// that it is about has run out.
    async fn ask(&mut self, call: Call) {
        let load = Arc::clone(&self.holder.load);
        let first_sent = load.recorder.now();
        for _ in 0..TRIES {
            let Some(channel) = load.doors.any(&mut self.holder.rng) else {
                return;
            };
            let sent = load.recorder.now();
            let ended = send(channel, &call, self.epoch).await;
            let answer = ended.unwrap_or_else(|status| doors::failed(&status));
            load.recorder
                .operation(self.holder.number, sent, call.clone(), answer.clone());
            match answer {
                Answer::Granted(granted) => return self.granted(granted, first_sent),
                Answer::Unknown(_) | Answer::Failed(_) => {}
                _ => {
                    self.shut();
                    self.lease = None;
                    return;
                }
            }
            let pause = self.holder.rng.u64(RETRY_MS);
            sleep(Duration::from_millis(pause)).await;
            if self.lease.is_some() && self.drop_if_over() {
                return;
            }
        }
    }

    fn granted(&mut self, granted: Granted, first_sent: u64) {
        let drift = u64::from(granted.drift_ppm.min(1_000_000));
        // A millisecond has as many nanoseconds as a whole has parts.
        let lasts_ns = granted.ttl_ms.saturating_mul(1_000_000 - drift);
        self.lease = Some(Lease {
            id: granted.lease,
            slots: granted.slots,
            target: granted.target,
            until_ns: first_sent.saturating_add(lasts_ns),
        });
        if !self.drop_if_over() {
            self.record_use();
        }
    }

    /// Forgets a lease that has run out, and says whether it has.
    fn drop_if_over(&mut self) -> bool {
        let now = self.holder.load.recorder.now();
        let over = self.lease.is_some_and(|lease| lease.until_ns <= now);
        if over {
            self.shut();
            self.lease = None;
        }
        over
    }

    /// Uses nothing of its lease any more.
    fn shut(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.slots = 0;
            self.record_use();
        }
    }

    fn record_use(&self) {
        let Some(lease) = self.lease else { return };
        let recorder = &self.holder.load.recorder;
        let at_ns = recorder.now();
        recorder.push(Record::Use(Use {
            at_ns,
            pool: self.holder.pool.into(),
            holder: self.name.clone(),
            lease: lease.id,
            slots: lease.slots,
            until_ns: lease.until_ns.max(at_ns),
            floor: 0,
        }));
    }
}

/// One try of a request.
async fn send(
    channel: tonic::transport::Channel,
    call: &Call,
    epoch: u64,
) -> Result<Answer, Status> {
    let mut leases = LeaseServiceClient::new(channel);
    let (grant, floor) = match call.clone() {
        Call::Take {
            pool,
            region,
            holder,
            seq,
            wanted,
            ..
        } => {
            let message = v1::LeaseRequest {
                pool,
                region,
                holder,
                epoch,
                seq,
                wanted,
            };
            (within(leases.lease(request(message))).await?.grant, 0)
        }
        Call::Renew {
            lease,
            seq,
            kept,
            wanted,
            ..
        } => {
            let message = v1::RenewRequest {
                lease_id: lease,
                seq,
                kept,
                wanted,
            };
            (within(leases.renew(request(message))).await?.grant, 0)
        }
        Call::Report {
            lease,
            seq,
            kept,
            in_use,
            wanted,
            floor,
            ..
        } => {
            let message = v1::ReportRequest {
                lease_id: lease,
                seq,
                kept,
                in_use,
                floor,
                waiting: waiting(wanted - in_use),
                exact_until_s: u32::MAX,
                ..v1::ReportRequest::default()
            };
            let reported = within(leases.report(request(message))).await?;
            (reported.grant, reported.floor)
        }
        Call::Return { lease, seq, .. } => {
            let message = v1::ReturnRequest {
                lease_id: lease,
                seq,
            };
            let returned = within(leases.r#return(request(message))).await?;
            return Ok(Answer::Returned {
                slots: returned.returned,
            });
        }
        other => return Err(Status::unimplemented(format!("{other:?}"))),
    };
    let grant = grant.ok_or_else(|| Status::data_loss("the answer carries no grant"))?;
    Ok(Answer::Granted(Granted {
        lease: grant.lease_id,
        slots: grant.slots,
        target: grant.target,
        ttl_ms: grant.ttl_ms,
        drift_ppm: grant.drift_ppm,
        floor,
    }))
}

/// So many who came in the first second of all.
fn waiting(users: u64) -> Vec<v1::Waiting> {
    let bucket = v1::Bucket { second: 1, users };
    let waiting = v1::Waiting {
        class: "everyone".into(),
        buckets: vec![bucket],
    };
    if users == 0 { vec![] } else { vec![waiting] }
}
