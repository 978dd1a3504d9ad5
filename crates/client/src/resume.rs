//! The lease of a process that has stopped, for the one that goes on in its place.

use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use tonic::Status;

use crate::nodes::Nodes;
use crate::wire::Names;

/// A life of a holder, by the lease that it had: what [`Status`](crate::Status) says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The lease, as the cluster names it.
    pub lease_id: u64,
    /// The life's number.
    pub epoch: u64,
}

/// What it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub life: Life,
    /// The last request that was carried out.
    pub seq: u64,
    /// Slots of the lease.
    pub slots: u64,
    /// Those with a session on them.
    pub in_use: u64,
}

/// What a life left, where its lease can still be renewed.
pub async fn find(
    nodes: &Nodes,
    within: Duration,
    names: &Names,
    life: Life,
) -> Result<Option<Left>, Status> {
    let request = v1::ListLeasesRequest {
        pool: names.pool.clone(),
        region: names.region.clone(),
        holder: names.holder.clone(),
        ..v1::ListLeasesRequest::default()
    };
    let listed = nodes.call(within, |channel| {
        let request = request.clone();
        async move { BudgetServiceClient::new(channel).list_leases(request).await }
    });
    let leases = listed.await?.into_inner().leases;
    let is_it = |lease: &&v1::Lease| {
        lease.state() == v1::LeaseState::Live
            && lease.holder == names.holder
            && (lease.lease_id, lease.epoch) == (life.lease_id, life.epoch)
    };
    Ok(leases.iter().find(is_it).map(|lease| Left {
        life,
        seq: lease.seq,
        slots: lease.slots,
        in_use: lease.report.map_or(0, |report| report.in_use),
    }))
}
