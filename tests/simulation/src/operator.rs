//! The operator: makes the cluster and its budget, and changes both under load.

use std::sync::Arc;
use std::time::Duration;

use api::connect::Dial;
use api::v1;
use api::v1::change::Change as Kind;
use api::v1::cluster_service_client::ClusterServiceClient;
use check::history::{Answer, Change};
use client::{Nodes, Options};

use crate::asker::{self, Asker};
use crate::crowd;
use crate::fronts;
use crate::run::{Phase, address};
use crate::trace::Trace;

/// How often the figures are looked at in the end.
const LOOK_EVERY: Duration = Duration::from_millis(900);
/// How long one call may take.
const WITHIN: Duration = Duration::from_secs(6);

/// The operator's process.
pub struct Operator {
    asker: Asker,
    nodes: Option<Nodes>,
    founders: u64,
    /// What pools are told of the clocks.
    drift_ppm: u32,
    trace: Trace,
}

fn set_capacity(pool: &str, capacity: u64) -> (v1::Change, Change) {
    let set = v1::SetCapacity {
        pool: pool.into(),
        capacity,
    };
    let pool = pool.into();
    (
        change(Kind::SetCapacity(set)),
        Change::Capacity { pool, capacity },
    )
}

fn change(change: Kind) -> v1::Change {
    v1::Change {
        change: Some(change),
    }
}

impl Operator {
    /// One that knows where all nodes are.
    pub fn new(
        asker: Asker,
        addresses: Vec<String>,
        founders: u64,
        drift_ppm: u32,
        dial: Arc<dyn Dial>,
        trace: Trace,
    ) -> Self {
        let options = Options {
            dial: Some(dial),
            ..Options::default()
        };
        Self {
            asker,
            nodes: Nodes::with(addresses, options).ok(),
            founders,
            drift_ppm,
            trace,
        }
    }

    /// Does all that there is to do.
    pub async fn run(mut self, phase: Phase) {
        self.found().await;
        self.set_up().await;
        while !phase.over() {
            let pause = self.asker.random.u64(200..2_500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if phase.churn() {
                self.churn().await;
            }
        }
        // Whether all slots come free.
        loop {
            for pool in [asker::POOL, fronts::POOL, crowd::POOL] {
                // Of a node that is no member nothing can be learnt.
                for _ in 0..12 {
                    let answer = self.asker.inspect_as(pool, false).await;
                    if matches!(answer, Answer::Inspected { .. }) {
                        break;
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn call<T, F, Fut>(&mut self, what: &'static str, f: F) -> Option<T>
    where
        F: Fn(tonic::transport::Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let answer = self.nodes.as_ref()?.call(WITHIN, f).await;
        match answer {
            Ok(answer) => {
                self.trace.count(what);
                Some(answer.into_inner())
            }
            Err(status) => {
                tracing::info!(what, %status, "not done");
                None
            }
        }
    }

    async fn found(&mut self) {
        let members = (1..=self.founders).map(|id| v1::MemberAddress {
            node_id: id,
            address: address(id),
        });
        let request = v1::InitRequest {
            members: members.collect(),
        };
        for _ in 0..5 {
            let asked = |channel| {
                let request = request.clone();
                async move { ClusterServiceClient::new(channel).init(request).await }
            };
            if self.call("cluster founded", asked).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn set_up(&mut self) {
        let pools = [
            (asker::POOL, 150),
            (fronts::POOL, 60),
            (crowd::POOL, crowd::CAPACITY),
        ];
        for (pool, capacity) in pools {
            let set = v1::SetPool {
                name: pool.into(),
                capacity,
                ttl_ms: Some(5_000),
                drift_ppm: Some(self.drift_ppm),
            };
            let mut changes = vec![change(Kind::SetPool(set))];
            let mut named = vec![Change::Capacity {
                pool: pool.into(),
                capacity,
            }];
            for (name, nominal) in [("north", capacity / 4), ("south", 0)] {
                changes.push(change(Kind::SetRegion(v1::SetRegion {
                    pool: pool.into(),
                    name: name.into(),
                    nominal,
                    ceiling: None,
                    weight: None,
                })));
                named.push(Change::Other(format!("region {name}")));
            }
            if pool == crowd::POOL {
                changes.push(change(Kind::SetRules(crowd::rules())));
                named.push(Change::Other("rules".into()));
                changes.push(change(Kind::SetFloor(v1::SetFloor {
                    pool: pool.into(),
                    region: "north".into(),
                    holder: String::new(),
                    slots: crowd::FLOOR,
                })));
                named.push(Change::Other("floor".into()));
            }
            for _ in 0..10 {
                if self.asker.configure(changes.clone(), named.clone()).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }

    async fn churn(&mut self) {
        let spare = self.founders + 1 + self.asker.random.u64(0..2);
        let any = 1 + self.asker.random.u64(0..self.founders + 2);
        match self.asker.random.u32(0..10) {
            0..=1 => {
                let asked = |channel| async move {
                    let request = v1::TransferLeaderRequest { node_id: 0 };
                    ClusterServiceClient::new(channel)
                        .transfer_leader(request)
                        .await
                };
                self.call("leader transferred", asked).await;
            }
            2..=3 => {
                let request = v1::AddMemberRequest {
                    member: Some(v1::MemberAddress {
                        node_id: spare,
                        address: address(spare),
                    }),
                };
                let asked = |channel| {
                    let request = request.clone();
                    async move { ClusterServiceClient::new(channel).add_member(request).await }
                };
                self.call("member added", asked).await;
            }
            4 => {
                let asked = |channel| async move {
                    let request = v1::PromoteMemberRequest { node_id: spare };
                    ClusterServiceClient::new(channel)
                        .promote_member(request)
                        .await
                };
                self.call("member promoted", asked).await;
            }
            5 => {
                let asked = |channel| async move {
                    let request = v1::RemoveMemberRequest { node_id: any };
                    ClusterServiceClient::new(channel)
                        .remove_member(request)
                        .await
                };
                // Founders stay the majority, so that what is left can always serve.
                if any > self.founders || self.asker.random.u32(0..4) == 0 {
                    self.call("member removed", asked).await;
                }
            }
            6 => {
                let holder = format!("asker-{}", 200 + self.asker.random.u64(0..3));
                self.asker.remove_holder(&holder).await;
            }
            _ => {
                let pool = [asker::POOL, fronts::POOL][self.asker.random.usize(0..2)];
                let most = self.asker.random.u64(40..160);
                let (set, named) = set_capacity(pool, most);
                self.asker.configure(vec![set], vec![named]).await;
            }
        }
    }
}
