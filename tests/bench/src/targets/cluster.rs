//! Three nodes of Préau as processes: seen from outside, ended and started again.

use std::path::Path;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::change::Change;
use api::v1::cluster_service_client::ClusterServiceClient;
use preau::parts::{Children, Failure, Home, Leader, Leaders, Ports};

use super::{make, told};
use crate::connection::Connection;
use crate::load::lazily;

/// Where the nodes listen, where that is free: below the ports that the system gives to outgoing connections, one of
/// which could have the port of a node that is down.
const FIRST_PORT: u16 = 24_501;
/// How long the cluster may take to say who leads it.
const LEADER_WITHIN: Duration = Duration::from_secs(60);
/// How long a node may take to say how it stands.
const STATUS_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Changes of one call: there may be 5,000.
const CHANGES: usize = 4_000;

/// A cluster.
pub struct Cluster {
    pub children: Children,
    leaders: Leaders,
}

impl Cluster {
    /// Starts one by the binary `preau` in `dir`. `flags` go to each `preau serve`.
    pub async fn start(preau: &Path, dir: &Path, flags: &[&str]) -> Result<Self, Failure> {
        let home = Home::new(Some(&make(dir)?), Ports::RatherFrom(FIRST_PORT))?;
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let children = Children::start(preau, home, &flags).await?;
        let leaders = Leaders::new(&children.addresses())?;
        Ok(Self { children, leaders })
    }

    /// Who leads, and how far the node has applied the log that is furthest.
    pub async fn leader(&mut self) -> Result<Leader, Failure> {
        self.leaders.wait(LEADER_WITHIN).await?;
        let leader = self.leaders.seen().cloned();
        leader.ok_or_else(|| Failure::operation("no node leads"))
    }

    /// How often it has changed who leads, as far as was looked.
    pub fn leader_changes(&self) -> u64 {
        self.leaders.changes()
    }

    /// The ids of all nodes.
    pub fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.children.addresses().len() as u64
    }

    /// Where a node is reached.
    pub fn address(&self, id: u64) -> Result<String, Failure> {
        let mut nodes = self.ids().zip(self.children.addresses());
        let node = nodes.find(|(known, _)| *known == id);
        let (_, address) =
            node.ok_or_else(|| Failure::operation(format!("there is no node {id}")))?;
        Ok(address)
    }

    /// Makes changes to pools and regions, in their order.
    pub async fn configure(&mut self, changes: Vec<Change>) -> Result<(), Failure> {
        let leader = self.leader().await?;
        let connection = Connection::open(&leader.address).await?;
        let mut client = BudgetServiceClient::new(connection);
        for (number, changes) in changes.chunks(CHANGES).enumerate() {
            let request = v1::ConfigureRequest {
                changes: changes
                    .iter()
                    .map(|change| v1::Change {
                        change: Some(change.clone()),
                    })
                    .collect(),
                expected_revision: 0,
                request_id: format!("bench-{number}"),
            };
            let made = client.configure(request).await;
            made.map_err(|e| Failure::operation(format!("can't make the pools: {}", told(&e))))?;
        }
        Ok(())
    }

    /// Waits until a node has applied the log up to an entry, and says how long that took.
    ///
    /// # Errors
    /// Where it takes longer than `within`, or a node has ended that should run.
    pub async fn applied(
        &mut self,
        id: u64,
        index: u64,
        within: Duration,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        let address = self.address(id)?;
        let mut client = ClusterServiceClient::new(lazily(&address)?);
        while began.elapsed() < within {
            let status = client.status(v1::StatusRequest {});
            let status = tokio::time::timeout(STATUS_WITHIN, status).await;
            if let Ok(Ok(status)) = status
                && status.into_inner().applied_index >= index
            {
                return Ok(began.elapsed());
            }
            self.children.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Failure::operation(format!(
            "node {id} has not applied entry {index} after {within:.0?}"
        )))
    }
}

/// A pool in which so many slots are guaranteed to each of `regions`, which are numbered from 0.
pub fn pool(
    name: &str,
    regions: impl Iterator<Item = (String, u64)>,
    ttl_s: u64,
) -> impl Iterator<Item = Change> {
    let regions: Vec<(String, u64)> = regions.collect();
    let pool = Change::SetPool(v1::SetPool {
        name: name.into(),
        capacity: regions.iter().map(|(_, nominal)| nominal).sum(),
        ttl_ms: Some(ttl_s * 1_000),
        drift_ppm: None,
    });
    let of = name.to_owned();
    let regions = regions.into_iter().map(move |(name, nominal)| {
        Change::SetRegion(v1::SetRegion {
            pool: of.clone(),
            name,
            nominal,
            ceiling: None,
            weight: None,
        })
    });
    std::iter::once(pool).chain(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_what_its_regions_are_guaranteed() {
        let regions = [("a".to_owned(), 7), ("b".to_owned(), 0)];
        let changes: Vec<Change> = pool("p", regions.into_iter(), 60).collect();
        let [
            Change::SetPool(pool),
            Change::SetRegion(first),
            Change::SetRegion(second),
        ] = changes.as_slice()
        else {
            panic!("{changes:?}");
        };
        assert_eq!((pool.capacity, pool.ttl_ms), (7, Some(60_000)));
        assert_eq!((first.name.as_str(), first.nominal), ("a", 7));
        assert_eq!((second.pool.as_str(), second.nominal), ("p", 0));
    }
}
