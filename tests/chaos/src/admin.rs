//! An operator's calls: the budget is read and changed all the time, and holders removed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use check::history::{Answer, Call, Change, Listed};
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::Channel;

use crate::doors::{self, Doors, is_final, request, within};
use crate::load::{Load, Order};
use crate::record::Recorder;

/// Client numbers of operators, above those of all holders.
const FIRST: u64 = 1_000_000;
const PACE_MS: std::ops::Range<u64> = 200..1_200;
/// Tries of a change, for longer than any fault lasts: each outcome that stays unknown doubles what a search for
/// an order has to go through.
const TRIES: u32 = 60;
const RETRY: Duration = Duration::from_millis(200);
/// How long leases last, in milliseconds: short, so that many run out.
pub const TTL_MS: u64 = 4_000;
const DRIFT_PPM: u32 = 10_000;

/// A pool that the run uses.
pub struct Pool {
    pub name: &'static str,
    pub regions: &'static [&'static str],
    /// Its capacity at first, which goes down to a half and up to one and a half.
    pub capacity: u64,
}

/// Many holders on the first; few enough on the second that all are searched together.
pub const POOLS: [Pool; 2] = [
    Pool {
        name: "ent",
        regions: &["normandie", "occitanie"],
        capacity: 400,
    },
    Pool {
        name: "cned",
        regions: &["france"],
        capacity: 30,
    },
];

/// One operator.
pub struct Operator {
    client: u64,
    asked: u64,
    recorder: Arc<Recorder>,
    doors: Arc<Doors>,
    rng: fastrand::Rng,
}

impl Operator {
    pub fn new(number: u64, recorder: Arc<Recorder>, doors: Arc<Doors>, seed: u64) -> Self {
        let client = FIRST + number;
        let rng = fastrand::Rng::with_seed(seed.wrapping_add(client));
        Self {
            client,
            asked: 0,
            recorder,
            doors,
            rng,
        }
    }

    /// Makes the pools and regions.
    pub async fn set_up(&mut self) -> Result<(), String> {
        for pool in &POOLS {
            let set = v1::SetPool {
                name: pool.name.into(),
                capacity: pool.capacity,
                ttl_ms: Some(TTL_MS),
                drift_ppm: Some(DRIFT_PPM),
            };
            let capacity = Change::Capacity {
                pool: pool.name.into(),
                capacity: pool.capacity,
            };
            self.must(v1::change::Change::SetPool(set), capacity)
                .await?;
            for region in pool.regions {
                let set = v1::SetRegion {
                    pool: pool.name.into(),
                    name: (*region).into(),
                    nominal: pool.capacity / 4,
                    ..v1::SetRegion::default()
                };
                let other = Change::Other(format!("region {region}"));
                self.must(v1::change::Change::SetRegion(set), other).await?;
            }
        }
        Ok(())
    }

    async fn must(&mut self, change: v1::change::Change, told: Change) -> Result<(), String> {
        match self.configure(change, told, TRIES).await {
            Answer::Configured { .. } => Ok(()),
            other => Err(format!("the budget can't be set up: {other:?}")),
        }
    }

    /// Works until it is to leave.
    pub async fn work(mut self, load: Arc<Load>, holders: u64) {
        let order = load.order.clone();
        loop {
            let pause = self.rng.u64(PACE_MS);
            sleep(Duration::from_millis(pause)).await;
            let now = *order.borrow();
            match now {
                Order::Work => self.turn(holders).await,
                Order::Rest => {}
                Order::Leave => return,
            }
        }
    }

    async fn turn(&mut self, holders: u64) {
        let pool = &POOLS[self.rng.usize(0..POOLS.len())];
        let stale = self.rng.u32(0..5) == 0;
        match self.rng.u32(0..100) {
            0..25 => drop(self.inspect(pool.name, stale).await),
            25..50 => self.leases(pool.name, stale).await,
            50..70 => self.budget(stale).await,
            70..97 => {
                let capacity = pool.capacity / 2 + self.rng.u64(0..=pool.capacity);
                let set = v1::SetCapacity {
                    pool: pool.name.into(),
                    capacity,
                };
                let told = Change::Capacity {
                    pool: pool.name.into(),
                    capacity,
                };
                self.configure(v1::change::Change::SetCapacity(set), told, TRIES)
                    .await;
            }
            _ => self.remove_holder(holders).await,
        }
    }

    async fn configure(&mut self, change: v1::change::Change, told: Change, tries: u32) -> Answer {
        let request_id = self.request_id();
        let message = v1::ConfigureRequest {
            changes: vec![v1::Change {
                change: Some(change),
            }],
            expected_revision: 0,
            request_id: request_id.clone(),
        };
        let call = Call::Configure {
            request_id,
            expected_revision: None,
            changes: vec![told],
        };
        self.ask(call, tries, |channel| {
            let message = message.clone();
            async move {
                let mut budget = BudgetServiceClient::new(channel);
                let done = within(budget.configure(request(message))).await?;
                Ok(Answer::Configured {
                    revision: done.revision,
                })
            }
        })
        .await
    }

    async fn remove_holder(&mut self, holders: u64) {
        let holder = format!("holder-{}", self.rng.u64(0..holders));
        let request_id = self.request_id();
        let message = v1::RemoveHolderRequest {
            holder: holder.clone(),
            pool: String::new(),
            request_id: request_id.clone(),
        };
        let call = Call::RemoveHolder {
            request_id,
            pool: None,
            holder,
        };
        self.ask(call, TRIES, |channel| {
            let message = message.clone();
            async move {
                let mut budget = BudgetServiceClient::new(channel);
                let done = within(budget.remove_holder(request(message))).await?;
                Ok(Answer::HolderRemoved {
                    leases: done.leases,
                    slots: done.slots,
                })
            }
        })
        .await;
    }

    /// Reads a pool's figures.
    pub async fn inspect(&mut self, pool: &str, stale: bool) -> Answer {
        let pool = pool.to_owned();
        let call = Call::Inspect {
            pool: pool.clone(),
            stale,
        };
        self.ask(call, 1, |channel| {
            let message = v1::InspectRequest {
                pool: pool.clone(),
                stale,
                ..v1::InspectRequest::default()
            };
            async move {
                let mut leases = LeaseServiceClient::new(channel);
                let found = within(leases.inspect(request(message))).await?;
                let pool = found
                    .pool
                    .ok_or_else(|| Status::data_loss("the answer carries no pool"))?;
                Ok(Answer::Inspected {
                    capacity: pool.capacity,
                    held: pool.held,
                    leases: pool.leases,
                    cluster_time_ms: found.cluster_time_ms,
                })
            }
        })
        .await
    }

    async fn leases(&mut self, pool: &str, stale: bool) {
        let pool = pool.to_owned();
        let call = Call::Leases {
            pool: pool.clone(),
            stale,
        };
        self.ask(call, 1, |channel| {
            let message = v1::ListLeasesRequest {
                pool: pool.clone(),
                stale,
                ..v1::ListLeasesRequest::default()
            };
            async move {
                let mut budget = BudgetServiceClient::new(channel);
                let page = within(budget.list_leases(request(message))).await?;
                if !page.next_page_token.is_empty() {
                    return Err(Status::out_of_range("more leases than one page has"));
                }
                let listed = page.leases.into_iter().map(|lease| Listed {
                    lease: lease.lease_id,
                    holder: lease.holder,
                    epoch: lease.epoch,
                    seq: lease.seq,
                    slots: lease.slots,
                });
                Ok(Answer::Leases(listed.collect()))
            }
        })
        .await;
    }

    async fn budget(&mut self, stale: bool) {
        let call = Call::Budget { stale };
        self.ask(call, 1, |channel| async move {
            let message = v1::ListPoolsRequest {
                stale,
                ..v1::ListPoolsRequest::default()
            };
            let mut budget = BudgetServiceClient::new(channel);
            let found = within(budget.list_pools(request(message))).await?;
            let pools = found.pools.into_iter().filter_map(|pool| pool.status);
            Ok(Answer::Budget {
                revision: found.revision,
                capacities: pools.map(|pool| (pool.name, pool.capacity)).collect(),
            })
        })
        .await;
    }

    /// Asks up to so many times, on any node each time.
    async fn ask<F, Fut>(&mut self, call: Call, tries: u32, send: F) -> Answer
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Answer, Status>>,
    {
        let mut answer = Answer::Failed("no node".into());
        for _ in 0..tries {
            let Some(channel) = self.doors.any(&mut self.rng) else {
                break;
            };
            let sent = self.recorder.now();
            answer = send(channel)
                .await
                .unwrap_or_else(|status| doors::failed(&status));
            self.recorder
                .operation(self.client, sent, call.clone(), answer.clone());
            if is_final(&answer) {
                break;
            }
            sleep(RETRY).await;
        }
        answer
    }

    fn request_id(&mut self) -> String {
        self.asked += 1;
        format!("operator-{}-{}", self.client, self.asked)
    }
}
