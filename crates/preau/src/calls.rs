//! Calls that several commands make.

use api::v1;

use crate::cluster::{Cluster, budget, cluster as cluster_service, request_id};
use crate::failure::Failure;

/// A read of several pages starts again this often where the budget changes under it.
const READS: usize = 3;

impl Cluster {
    /// One pool or, where `pool` is empty, all, with their regions, from one revision of the budget.
    pub async fn pools(&self, pool: &str, stale: bool) -> Result<v1::ListPoolsResponse, Failure> {
        let mut all: Option<v1::ListPoolsResponse> = None;
        let mut reads = 1;
        let mut page_token = String::new();
        loop {
            let request = v1::ListPoolsRequest {
                pool: pool.into(),
                stale,
                page_token,
                ..Default::default()
            };
            let page = self
                .call(|channel| {
                    let request = request.clone();
                    async move { budget(channel).list_pools(request).await }
                })
                .await?;
            page_token = page.next_page_token.clone();
            all = match all {
                Some(all) if all.revision != page.revision => {
                    reads += 1;
                    if reads > READS {
                        return Err(Failure::operation(
                            "the budget keeps changing while it is read; try again",
                        ));
                    }
                    page_token = String::new();
                    None
                }
                Some(mut all) => {
                    all.pools.extend(page.pools);
                    all.cluster_time_ms = page.cluster_time_ms;
                    Some(all)
                }
                None => Some(page),
            };
            match all.take_if(|_| page_token.is_empty()) {
                Some(all) => return Ok(all),
                None => continue,
            }
        }
    }

    /// Leases that `filter` lets through, a page at a time, until `until` says that it has enough.
    pub async fn leases(
        &self,
        filter: &v1::ListLeasesRequest,
        mut until: impl FnMut(&v1::Lease) -> bool,
    ) -> Result<v1::ListLeasesResponse, Failure> {
        let mut all = v1::ListLeasesResponse::default();
        loop {
            let request = v1::ListLeasesRequest {
                page_token: all.next_page_token,
                ..filter.clone()
            };
            let page = self
                .call(|channel| {
                    let request = request.clone();
                    async move { budget(channel).list_leases(request).await }
                })
                .await?;
            all.cluster_time_ms = page.cluster_time_ms;
            all.next_page_token = page.next_page_token;
            let enough = page.leases.iter().any(&mut until);
            all.leases.extend(page.leases);
            if enough || all.next_page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Changes the budget, all or nothing.
    pub async fn configure(
        &self,
        changes: Vec<v1::Change>,
        expected_revision: u64,
    ) -> Result<v1::ConfigureResponse, Failure> {
        let request = v1::ConfigureRequest {
            changes,
            expected_revision,
            request_id: request_id(),
        };
        self.call(|channel| {
            let request = request.clone();
            async move { budget(channel).configure(request).await }
        })
        .await
    }

    /// How things stand, as any node says.
    pub async fn status(&self) -> Result<v1::StatusResponse, Failure> {
        self.call(|channel| async { cluster_service(channel).status(v1::StatusRequest {}).await })
            .await
    }

    /// How things stand, as the leader says; as any node, where none leads or it does not answer.
    pub async fn leader_status(&self) -> Result<v1::StatusResponse, Failure> {
        let status = self.status().await?;
        let leader = status
            .members
            .iter()
            .find(|m| m.node_id == status.leader_id && m.node_id != status.node_id);
        match leader {
            Some(leader) => match self.only(&leader.address)?.status().await {
                Ok(told) => Ok(told),
                Err(_) => Ok(status),
            },
            None => Ok(status),
        }
    }
}
