//! Three nodes of Préau, as they are released.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use api::v1;
use api::v1::hold_request::Request as Up;
use api::v1::hold_response::Response as Down;
use api::v1::lease_service_client::LeaseServiceClient;
use preau::parts::Failure;

use super::cluster::{Cluster, pool};
use super::streams::{Streamer, share};
use super::{BATCH, TTL_S, count, told};
use crate::connection::Connection;
use crate::load::{Client, Phase, connect};

/// The pool that the load works on, and its regions.
const POOL: &str = "bench";
const REGIONS: usize = 16;
/// Slots of each region: each lease is to have one, so this is no bound on them.
const NOMINAL: u64 = 1_000_000;
/// What each node is told beyond where it is: to take on as many requests at a time as clients make.
pub const FLAGS: [&str; 2] = ["--limits-in-flight", "131072"];

/// A cluster with the pool.
pub struct Nodes {
    pub cluster: Cluster,
    pub door: Door,
}

/// The way to whoever leads it: any other node would only send calls on.
pub struct Door {
    leader: String,
    /// How often clients have been made: no two of them share a holder's name.
    generation: AtomicU32,
}

impl Nodes {
    /// Starts one by the binary `preau` in `dir`, and makes the pool. `flags` go to each node.
    pub async fn start(preau: &Path, dir: &Path, flags: &[&str]) -> Result<Self, Failure> {
        let mut cluster = Cluster::start(preau, dir, flags).await?;
        let regions = (0..REGIONS).map(|number| (region(number), NOMINAL));
        cluster
            .configure(pool(POOL, regions, TTL_S).collect())
            .await?;
        let door = Door {
            leader: cluster.leader().await?.address,
            generation: AtomicU32::new(0),
        };
        Ok(Self { cluster, door })
    }
}

/// The first request of a holder, for one slot.
pub fn take(region: &str, holder: String) -> v1::LeaseRequest {
    v1::LeaseRequest {
        pool: POOL.into(),
        region: region.into(),
        holder,
        epoch: 1,
        seq: 1,
        wanted: 1,
    }
}

/// Asks how the pool stands, which whoever answers must know as it is now.
pub fn inspect() -> v1::InspectRequest {
    v1::InspectRequest {
        pool: POOL.into(),
        region: region(0),
        stale: false,
    }
}

impl Door {
    /// Clients without leases that make one call for each.
    pub async fn callers(&self, count: usize) -> Result<Vec<Caller>, Failure> {
        let doors = self.connect(count).await?.into_iter().cycle();
        let caller = |(held, client)| Caller { client, held };
        Ok(self.held(count).zip(doors).map(caller).collect())
    }

    /// Clients without leases that ask for [`BATCH`] at a time.
    pub async fn batchers(&self, count: usize) -> Result<Vec<Batcher>, Failure> {
        let doors = self.connect(count).await?.into_iter().cycle();
        let batcher = |(held, client)| Batcher { client, held };
        Ok(self.held(count).zip(doors).map(batcher).collect())
    }

    /// Clients without leases that make a request for each, on a stream for each connection.
    pub async fn streamers(&self, count: usize) -> Result<Vec<Streamer>, Failure> {
        let doors = self.connect(count).await?;
        let of_each = count.div_ceil(doors.len());
        let mut held = self.held(count);
        let mut streamers = Vec::new();
        for client in doors {
            streamers.extend(share(client, held.by_ref().take(of_each).collect()));
        }
        Ok(streamers)
    }

    /// As many connections as so many clients share.
    async fn connect(&self, count: usize) -> Result<Vec<LeaseServiceClient<Connection>>, Failure> {
        let connections = connect(&self.leader, count).await?;
        Ok(connections
            .into_iter()
            .map(LeaseServiceClient::new)
            .collect())
    }

    /// The leases of so many clients: none yet.
    fn held(&self, count: usize) -> impl Iterator<Item = Held> + use<> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        (0..count).map(move |number| {
            Held::new(format!("{generation}-{number}"), region(number % REGIONS))
        })
    }
}

/// The name of a region, by number.
pub fn region(number: usize) -> String {
    format!("region-{number:02}")
}

/// The leases of a client, each of a holder of its own, and what to ask next of them.
pub struct Held {
    name: String,
    region: String,
    taken: u64,
    leases: Vec<Lease>,
    turn: usize,
}

#[derive(Clone, Copy)]
struct Lease {
    id: u64,
    seq: u64,
}

impl Held {
    /// None yet.
    pub fn new(name: String, region: String) -> Self {
        Self {
            name,
            region,
            taken: 0,
            leases: Vec::new(),
            turn: 0,
        }
    }

    /// The next request of a phase; none where there are no leases left for it.
    pub fn ask(&mut self, phase: Phase) -> Option<Up> {
        match phase {
            Phase::Grant => Some(Up::Lease(self.take())),
            Phase::Keep => self.renew().map(Up::Renew),
            Phase::Revoke => self.give_back().map(Up::Return),
        }
    }

    /// Takes in what that was answered.
    pub fn settle(&mut self, phase: Phase, answer: Down) -> Result<(), String> {
        match answer {
            Down::Grant(grant) if phase == Phase::Grant => self.granted(grant),
            Down::Grant(_) | Down::Returned(_) => Ok(()),
            Down::Failure(failure) => Err(format!("{}: {}", failure.reason, failure.message)),
            other => Err(format!("an answer to something else: {other:?}")),
        }
    }

    fn take(&mut self) -> v1::LeaseRequest {
        self.taken += 1;
        take(&self.region, format!("{}-{}", self.name, self.taken))
    }

    fn granted(&mut self, grant: v1::Grant) -> Result<(), String> {
        if grant.slots != 1 {
            return Err(format!("{} slots granted, 1 wanted", grant.slots));
        }
        let id = grant.lease_id;
        self.leases.push(Lease { id, seq: 1 });
        Ok(())
    }

    fn renew(&mut self) -> Option<v1::RenewRequest> {
        self.turn = (self.turn + 1).checked_rem(self.leases.len())?;
        let lease = self.leases.get_mut(self.turn)?;
        lease.seq += 1;
        Some(v1::RenewRequest {
            lease_id: lease.id,
            seq: lease.seq,
            kept: 1,
            wanted: 1,
        })
    }

    fn give_back(&mut self) -> Option<v1::ReturnRequest> {
        let lease = self.leases.pop()?;
        Some(v1::ReturnRequest {
            lease_id: lease.id,
            seq: lease.seq + 1,
        })
    }
}

/// A client that makes a call of its own for each lease.
pub struct Caller {
    client: LeaseServiceClient<Connection>,
    held: Held,
}

impl Caller {
    async fn ask(&mut self, phase: Phase) -> Result<u64, tonic::Status> {
        match phase {
            Phase::Grant => {
                let answer = self.client.lease(self.held.take()).await?.into_inner();
                let grant = answer.grant.unwrap_or_default();
                let granted = self.held.granted(grant);
                granted.map_err(tonic::Status::internal)?;
            }
            Phase::Keep => {
                let Some(request) = self.held.renew() else {
                    return Ok(0);
                };
                self.client.renew(request).await?;
            }
            Phase::Revoke => {
                let Some(request) = self.held.give_back() else {
                    return Ok(0);
                };
                self.client.r#return(request).await?;
            }
        }
        Ok(1)
    }

    /// Gives back a lease that there never was: it goes through the log of the nodes as any other command, and
    /// changes nothing.
    pub async fn ask_nothing(&mut self) -> Result<(), String> {
        let request = v1::ReturnRequest {
            lease_id: u64::MAX,
            seq: 1,
        };
        match self.client.r#return(request).await {
            Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
            Err(status) => Err(told(&status)),
            Ok(_) => Err("a lease that there never was has been given back".into()),
        }
    }
}

impl Client for Caller {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        self.ask(phase).await.map_err(|status| told(&status))
    }
}

/// A client that asks for many leases at a time.
pub struct Batcher {
    client: LeaseServiceClient<Connection>,
    held: Held,
}

impl Batcher {
    /// Makes requests in one call, and gives the answers in their order.
    async fn exchange(&mut self, requests: Vec<Up>) -> Result<Vec<Down>, String> {
        let asked = requests.len();
        let requests = (1..).zip(requests).map(|(tag, request)| v1::HoldRequest {
            tag,
            request: Some(request),
        });
        let request = v1::LeaseBatchRequest {
            requests: requests.collect(),
        };
        let answered = self.client.lease_batch(request).await;
        let responses = answered.map_err(|e| told(&e))?.into_inner().responses;
        let answers: Vec<Down> = responses.into_iter().filter_map(|r| r.response).collect();
        match answers.len() == asked {
            true => Ok(answers),
            false => Err(format!("{} answers to {asked} requests", answers.len())),
        }
    }
}

impl Client for Batcher {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        let most = match phase {
            Phase::Keep => self.held.leases.len().min(BATCH),
            Phase::Grant | Phase::Revoke => BATCH,
        };
        let requests = (0..most).map_while(|_| self.held.ask(phase));
        let requests: Vec<Up> = requests.collect();
        if requests.is_empty() {
            return Ok(0);
        }
        let answers = self.exchange(requests).await?.into_iter();
        count(answers.map(|answer| self.held.settle(phase, answer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_kept_in_turn_and_given_back_once() {
        let mut held = Held::new("0-7".into(), region(7));
        assert!(held.renew().is_none());
        for id in [11, 12] {
            let request = held.take();
            assert_eq!(request.holder, format!("0-7-{}", id - 10));
            assert_eq!(request.region, "region-07");
            let grant = v1::Grant {
                lease_id: id,
                slots: 1,
                ..v1::Grant::default()
            };
            held.granted(grant).unwrap();
        }
        let renewed: Vec<(u64, u64)> = (0..4)
            .filter_map(|_| held.renew())
            .map(|renew| (renew.lease_id, renew.seq))
            .collect();
        assert_eq!(renewed, [(12, 2), (11, 2), (12, 3), (11, 3)]);
        let returned: Vec<(u64, u64)> = (0..3)
            .filter_map(|_| held.give_back())
            .map(|back| (back.lease_id, back.seq))
            .collect();
        assert_eq!(returned, [(12, 4), (11, 4)]);
    }

    #[test]
    fn a_grant_of_nothing_is_no_grant() {
        let mut held = Held::new("0-0".into(), region(0));
        assert!(held.granted(v1::Grant::default()).is_err());
        assert!(held.give_back().is_none());
    }
}
