//! Clients that make single calls and record each with its answer: what the checkers judge.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::connect::{self, Dial};
use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use check::history::{Answer, Call, Change, Granted, Listed, Operation, Record, Refused, Use};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::host;
use crate::system;
use crate::trace::Trace;

/// How long one call may take.
const WITHIN: Duration = Duration::from_millis(1_500);
/// The pool that these clients share, and no others.
pub const POOL: &str = "exact";

/// One client: its calls come one after another.
pub struct Asker {
    /// Its number in the history.
    pub client: u64,
    /// Its lot.
    pub random: fastrand::Rng,
    /// Whether it reads all the time, to catch whoever answers from an old state.
    pub reads: bool,
    channels: Vec<Channel>,
    drift_ppm: i64,
    trace: Trace,
    epoch: u64,
    seq: u64,
    requests: u64,
    lease: Option<Lease>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    slots: u64,
    /// By this machine's clock.
    until: Duration,
}

impl Asker {
    /// One on a machine of this drift, that knows these addresses. `life` is the number of its process.
    pub fn new(
        client: u64,
        seed: u64,
        life: u64,
        drift_ppm: i64,
        addresses: &[String],
        dial: &Arc<dyn Dial>,
        trace: Trace,
    ) -> Self {
        let channels = addresses.iter().filter_map(|address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
            let endpoint = endpoint
                .connect_timeout(Duration::from_secs(1))
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(3))
                .keep_alive_while_idle(true);
            Some(connect::channel(&endpoint, Some(dial)))
        });
        Self {
            client,
            random: fastrand::Rng::with_seed(seed),
            reads: false,
            channels: channels.collect(),
            drift_ppm,
            trace,
            epoch: life * 1_000,
            seq: 0,
            requests: life * 100_000,
            lease: None,
        }
    }

    fn holder(&self) -> String {
        format!("asker-{}", self.client)
    }

    /// Asks for this and that until told to stop, and gives everything back then.
    pub async fn run(mut self, stop: impl Fn() -> bool) {
        while !stop() {
            let most = if self.reads { 60 } else { 500 };
            let pause = self.random.u64(20..most);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.reads && self.random.u32(0..4) > 0 {
                self.leases().await;
            } else {
                self.once().await;
            }
        }
        for _ in 0..20 {
            let Some(lease) = self.lease else {
                return;
            };
            self.give_back(lease).await;
        }
    }

    async fn once(&mut self) {
        let lease = self.lease.filter(|lease| lease.until > host::clock());
        match (self.random.u32(0..20), lease) {
            (0..=2, _) => self.inspect(POOL).await,
            (3..=4, _) => self.leases().await,
            (5, _) => self.budget().await,
            (6, Some(lease)) => self.give_back(lease).await,
            (7..=8, _) | (_, None) => self.take().await,
            (_, Some(lease)) => self.renew(lease).await,
        }
    }

    async fn take(&mut self) {
        if self.lease.take().is_some() || self.random.bool() {
            self.epoch += 1;
            self.seq = 0;
        }
        self.seq += 1;
        let message = v1::LeaseRequest {
            pool: POOL.into(),
            region: ["north", "south"][self.client as usize % 2].into(),
            holder: self.holder(),
            epoch: self.epoch,
            seq: self.seq,
            wanted: self.random.u64(1..120),
        };
        let call = Call::Take {
            pool: message.pool.clone(),
            region: message.region.clone(),
            holder: message.holder.clone(),
            epoch: message.epoch,
            seq: message.seq,
            wanted: message.wanted,
        };
        let sent = host::clock();
        let answer = self.persist(&call, || {
            let message = message.clone();
            |channel| async move {
                let answer = LeaseServiceClient::new(channel).lease(message).await?;
                Ok(granted(answer.into_inner().grant))
            }
        });
        let answer = answer.await;
        self.granted(sent, &answer);
        if matches!(&answer, Answer::Refused(refused) if refused.reason == "STALE_EPOCH") {
            self.epoch += 1;
        }
    }

    async fn renew(&mut self, lease: Lease) {
        self.seq += 1;
        let kept = match self.random.u32(0..3) {
            0 => self.random.u64(0..=lease.slots),
            _ => lease.slots,
        };
        let wanted = self.random.u64(0..120);
        let message = v1::RenewRequest {
            lease_id: lease.id,
            seq: self.seq,
            kept,
            wanted,
        };
        let call = Call::Renew {
            pool: POOL.into(),
            lease: lease.id,
            seq: self.seq,
            kept,
            wanted,
        };
        // What is not kept is not used from before the request on.
        self.uses(Some(Lease {
            slots: kept,
            ..lease
        }));
        let sent = host::clock();
        let answer = self.persist(&call, || {
            |channel| async move {
                let answer = LeaseServiceClient::new(channel).renew(message).await?;
                Ok(granted(answer.into_inner().grant))
            }
        });
        let answer = answer.await;
        self.granted(sent, &answer);
    }

    async fn give_back(&mut self, lease: Lease) {
        self.seq += 1;
        let message = v1::ReturnRequest {
            lease_id: lease.id,
            seq: self.seq,
        };
        let call = Call::Return {
            pool: POOL.into(),
            lease: lease.id,
            seq: self.seq,
        };
        self.uses(Some(Lease { slots: 0, ..lease }));
        let answer = self.persist(&call, || {
            |channel| async move {
                let answer = LeaseServiceClient::new(channel).r#return(message).await?;
                Ok(Answer::Returned {
                    slots: answer.into_inner().returned,
                })
            }
        });
        let answer = answer.await;
        if matches!(answer, Answer::Returned { .. } | Answer::Refused(_)) {
            self.lease = None;
        }
    }

    /// What a grant changes.
    fn granted(&mut self, sent: Duration, answer: &Answer) {
        match answer {
            Answer::Granted(grant) => {
                let good = client::usable(grant.ttl_ms, grant.drift_ppm);
                self.uses(Some(Lease {
                    id: grant.lease,
                    slots: grant.slots,
                    until: sent + good,
                }));
            }
            Answer::Refused(_) => self.uses(None),
            _ => {}
        }
    }

    /// From now on this is what may be used.
    fn uses(&mut self, lease: Option<Lease>) {
        let (id, slots, until) = match (lease, self.lease) {
            (Some(lease), _) => (lease.id, lease.slots, lease.until),
            (None, Some(old)) => (old.id, 0, old.until),
            (None, None) => return,
        };
        self.lease = lease;
        let at_ns = system::now_ns();
        self.trace.record(Record::Use(Use {
            at_ns,
            pool: POOL.into(),
            holder: self.holder(),
            lease: id,
            slots,
            until_ns: at_ns + true_ns(until.saturating_sub(host::clock()), self.drift_ppm),
            floor: 0,
        }));
    }

    /// Reads a pool's figures.
    pub async fn inspect(&mut self, pool: &str) {
        let stale = self.random.u32(0..4) == 0;
        self.inspect_as(pool, stale).await;
    }

    /// As `inspect`, from a node's own state or not.
    pub async fn inspect_as(&mut self, pool: &str, stale: bool) -> Answer {
        let message = v1::InspectRequest {
            pool: pool.into(),
            region: String::new(),
            stale,
        };
        let pool = pool.to_owned();
        let call = Call::Inspect { pool, stale };
        let at = self.somewhere();
        self.ask(at, call, |channel| async move {
            let answer = LeaseServiceClient::new(channel).inspect(message).await?;
            let answer = answer.into_inner();
            let pool = answer.pool.unwrap_or_default();
            Ok(Answer::Inspected {
                capacity: pool.capacity,
                held: pool.held,
                leases: pool.leases,
                cluster_time_ms: answer.cluster_time_ms,
            })
        })
        .await
    }

    async fn leases(&mut self) {
        let stale = self.random.u32(0..4) == 0;
        let message = v1::ListLeasesRequest {
            pool: POOL.into(),
            stale,
            ..Default::default()
        };
        let pool = POOL.into();
        let at = self.somewhere();
        self.ask(at, Call::Leases { pool, stale }, |channel| async move {
            let answer = BudgetServiceClient::new(channel)
                .list_leases(message)
                .await?;
            let leases = answer.into_inner().leases.into_iter().map(|lease| Listed {
                lease: lease.lease_id,
                holder: lease.holder,
                epoch: lease.epoch,
                seq: lease.seq,
                slots: lease.slots,
            });
            Ok(Answer::Leases(leases.collect()))
        })
        .await;
    }

    async fn budget(&mut self) {
        let stale = self.random.u32(0..4) == 0;
        let message = v1::ListPoolsRequest {
            stale,
            ..Default::default()
        };
        let at = self.somewhere();
        self.ask(at, Call::Budget { stale }, |channel| async move {
            let answer = BudgetServiceClient::new(channel)
                .list_pools(message)
                .await?;
            let answer = answer.into_inner();
            let pools = answer.pools.into_iter().filter_map(|pool| pool.status);
            Ok(Answer::Budget {
                revision: answer.revision,
                capacities: pools.map(|pool| (pool.name, pool.capacity)).collect(),
            })
        })
        .await;
    }

    /// Changes the budget, and sends it again until it is known what came of it.
    pub async fn configure(&mut self, changes: Vec<v1::Change>, named: Vec<Change>) -> bool {
        self.requests += 1;
        let request_id = format!("{}-{}", self.client, self.requests);
        let message = v1::ConfigureRequest {
            changes,
            expected_revision: 0,
            request_id: request_id.clone(),
        };
        let call = Call::Configure {
            request_id,
            expected_revision: None,
            changes: named,
        };
        let answer = self.persist(&call, || {
            let message = message.clone();
            |channel| async move {
                let answer = BudgetServiceClient::new(channel).configure(message).await?;
                Ok(Answer::Configured {
                    revision: answer.into_inner().revision,
                })
            }
        });
        matches!(answer.await, Answer::Configured { .. })
    }

    /// Ends the leases of a holder.
    pub async fn remove_holder(&mut self, holder: &str) {
        self.requests += 1;
        let message = v1::RemoveHolderRequest {
            holder: holder.into(),
            pool: POOL.into(),
            request_id: format!("{}-{}", self.client, self.requests),
        };
        let call = Call::RemoveHolder {
            request_id: message.request_id.clone(),
            pool: Some(POOL.into()),
            holder: holder.into(),
        };
        self.persist(&call, || {
            let message = message.clone();
            |channel| async move {
                let answer = BudgetServiceClient::new(channel)
                    .remove_holder(message)
                    .await?;
                let answer = answer.into_inner();
                Ok(Answer::HolderRemoved {
                    leases: answer.leases,
                    slots: answer.slots,
                })
            }
        })
        .await;
    }

    fn somewhere(&mut self) -> usize {
        self.random.usize(0..self.channels.len())
    }

    /// Asks, and sends the same again a few times while it is not known what came of it, or for no reason.
    async fn persist<F, Fut>(&mut self, call: &Call, request: impl Fn() -> F) -> Answer
    where
        F: FnOnce(Channel) -> Fut,
        Fut: Future<Output = Result<Answer, Status>>,
    {
        let mut best = None;
        for _ in 0..4 {
            let at = self.somewhere();
            let answer = self.ask(at, call.clone(), request()).await;
            match answer {
                Answer::Unknown(_) | Answer::Failed(_) => {
                    best.get_or_insert(answer);
                    let pause = self.random.u64(10..300);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                answer => {
                    best = Some(answer);
                    if self.random.u32(0..12) > 0 {
                        break;
                    }
                    self.trace.count("request sent twice");
                }
            }
        }
        best.unwrap_or(Answer::Unknown("not asked".into()))
    }

    async fn ask<F, Fut>(&mut self, at: usize, call: Call, request: F) -> Answer
    where
        F: FnOnce(Channel) -> Fut,
        Fut: Future<Output = Result<Answer, Status>>,
    {
        let asking = Asking {
            trace: self.trace.clone(),
            client: self.client,
            invoke_ns: system::now_ns(),
            call: Some(call),
        };
        let asked = tokio::time::timeout(WITHIN, request(self.channels[at].clone()));
        let answer = match asked.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => refused(&status),
            Err(_) => Answer::Unknown("no answer in time".into()),
        };
        asking.answered(answer.clone());
        answer
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.uses(None);
    }
}

/// A call that is under way. It may end with its client: nobody knows then what came of it.
struct Asking {
    trace: Trace,
    client: u64,
    invoke_ns: u64,
    call: Option<Call>,
}

impl Asking {
    fn answered(mut self, answer: Answer) {
        self.record(answer);
    }

    fn record(&mut self, answer: Answer) {
        if let Some(call) = self.call.take() {
            self.trace.record(Record::Operation(Operation {
                client: self.client,
                invoke_ns: self.invoke_ns,
                return_ns: system::now_ns(),
                call,
                answer,
            }));
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.record(Answer::Unknown("the client ended".into()));
    }
}

/// A time by a machine's clock as a time by the true one.
pub fn true_ns(local: Duration, drift_ppm: i64) -> u64 {
    let local = i128::try_from(local.as_nanos()).unwrap_or(i128::MAX);
    u64::try_from(local * 1_000_000 / i128::from(1_000_000 + drift_ppm)).unwrap_or(u64::MAX)
}

fn granted(grant: Option<v1::Grant>) -> Answer {
    match grant {
        Some(grant) => Answer::Granted(Granted {
            lease: grant.lease_id,
            slots: grant.slots,
            target: grant.target,
            ttl_ms: grant.ttl_ms,
            drift_ppm: grant.drift_ppm,
            floor: 0,
        }),
        None => Answer::Unknown("an answer without a grant".into()),
    }
}

fn refused(status: &Status) -> Answer {
    let what = || format!("{:?}: {}", status.code(), status.message());
    if never_sent(status) {
        return Answer::Failed(what());
    }
    match client::reason(status).as_deref() {
        Some("NOT_LEADER" | "NO_LEADER" | "NO_CLUSTER" | "SHUTTING_DOWN" | "TOO_BUSY") => {
            Answer::Failed(what())
        }
        Some(
            "LEADER_UNREACHABLE" | "OUTCOME_UNKNOWN" | "NODE_STOPPED" | "DEADLINE_EXCEEDED"
            | "INTERNAL",
        )
        | None => Answer::Unknown(what()),
        Some(_) if status.code() == Code::Unavailable => Answer::Unknown(what()),
        Some(reason) => Answer::Refused(Refused {
            reason: reason.into(),
            message: status.message().into(),
        }),
    }
}

/// Whether there was no connection to send it on.
fn never_sent(status: &Status) -> bool {
    let first = std::error::Error::source(status);
    std::iter::successors(first, |error| error.source()).any(|error| {
        let error = error.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}
