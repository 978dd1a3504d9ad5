//! Messages to commands, and replies and views to messages.

use quota::{
    FloorView, Grant, LeaseId, LeasePhase, LeaseView, PoolView, RegionView, RemoveHolder, Renew,
    Reply, Reported, Return, Take,
};
use tonic::Status;

use crate::status::Reason;
use crate::v1;

/// Empty stands for "not said".
pub(crate) fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<v1::LeaseRequest> for Take {
    fn from(request: v1::LeaseRequest) -> Self {
        let v1::LeaseRequest {
            pool,
            region,
            holder,
            epoch,
            seq,
            wanted,
        } = request;
        Self {
            pool,
            region,
            holder,
            epoch,
            seq,
            wanted,
        }
    }
}

impl From<v1::RenewRequest> for Renew {
    fn from(request: v1::RenewRequest) -> Self {
        let v1::RenewRequest {
            lease_id,
            seq,
            kept,
            wanted,
        } = request;
        Self {
            lease: LeaseId(lease_id),
            seq,
            kept,
            wanted,
        }
    }
}

impl From<v1::ReturnRequest> for Return {
    fn from(request: v1::ReturnRequest) -> Self {
        Self {
            lease: LeaseId(request.lease_id),
            seq: request.seq,
        }
    }
}

impl From<v1::RemoveHolderRequest> for RemoveHolder {
    fn from(request: v1::RemoveHolderRequest) -> Self {
        Self {
            request_id: request.request_id,
            holder: request.holder,
            pool: said(request.pool),
        }
    }
}

/// The answer to take and renew.
///
/// # Errors
/// Where the reply is to another kind of request, of the same number.
pub fn grant(reply: Reply) -> Result<v1::Grant, Status> {
    match reply {
        Reply::Grant(grant) => Ok(grant.into()),
        _ => Err(seq_reused()),
    }
}

impl From<Grant> for v1::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            lease_id: grant.lease.0,
            slots: grant.slots,
            target: grant.target,
            ttl_ms: grant.ttl_ms,
            drift_ppm: grant.drift_ppm,
        }
    }
}

/// What a report is answered, for [`reported`](crate::reported) to name its classes.
///
/// # Errors
/// As [`grant`].
pub fn answered(reply: Reply) -> Result<Reported, Status> {
    match reply {
        Reply::Reported(reported) => Ok(*reported),
        _ => Err(seq_reused()),
    }
}

/// The answer to return.
///
/// # Errors
/// As [`grant`].
pub fn returned(reply: Reply) -> Result<v1::ReturnResponse, Status> {
    match reply {
        Reply::Returned(returned) => Ok(v1::ReturnResponse {
            returned: returned.slots,
        }),
        _ => Err(seq_reused()),
    }
}

fn seq_reused() -> Status {
    let what = "seq: another kind of request was carried out under this number; use a higher one";
    Reason::SeqReused.because(what).into()
}

/// The answer to the removal of a holder.
///
/// # Errors
/// Where the reply is to another kind of request, which would be a bug.
pub fn holder_removed(reply: Reply) -> Result<v1::RemoveHolderResponse, Status> {
    match reply {
        Reply::HolderRemoved(removed) => Ok(v1::RemoveHolderResponse {
            leases: removed.leases,
            slots: removed.slots,
        }),
        other => Err(unexpected(&other)),
    }
}

/// The answer to configure.
///
/// # Errors
/// As [`holder_removed`].
pub fn configured(reply: Reply) -> Result<v1::ConfigureResponse, Status> {
    match reply {
        Reply::Configured(configured) => {
            let draining = configured.draining.into_iter().map(|pool| v1::Draining {
                pool: pool.pool,
                over_by: pool.over_by,
            });
            Ok(v1::ConfigureResponse {
                revision: configured.revision,
                draining: draining.collect(),
            })
        }
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> Status {
    Reason::Internal
        .because(format!("the rules answered another request: {reply:?}"))
        .into()
}

impl From<PoolView> for v1::PoolStatus {
    fn from(pool: PoolView) -> Self {
        Self {
            over_by: pool.held.saturating_sub(pool.capacity),
            name: pool.name,
            capacity: pool.capacity,
            ttl_ms: pool.ttl_ms,
            drift_ppm: pool.drift_ppm,
            held: pool.held,
            wanted: pool.wanted,
            leases: pool.leases,
            mode: v1::Mode::from(pool.mode).into(),
            reason: pool.reason,
            rules: Some((&pool.rules).into()),
            rules_revision: pool.rules_revision,
            set_aside: pool.set_aside,
        }
    }
}

impl From<RegionView> for v1::RegionStatus {
    fn from(region: RegionView) -> Self {
        Self {
            waiting: region.wanted.saturating_sub(region.held),
            name: region.name,
            nominal: region.nominal,
            ceiling: region.ceiling,
            weight: region.weight,
            held: region.held,
            wanted: region.wanted,
            target: region.target,
            borrowed: region.borrowed,
            lent: region.lent,
            leases: region.leases,
            mode: v1::Mode::from(region.mode).into(),
            reason: region.reason,
            zone: region.zone,
            set_aside: region.set_aside,
            floors: region.floors.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<FloorView> for v1::Floor {
    fn from(floor: FloorView) -> Self {
        Self {
            holder: floor.holder.unwrap_or_default(),
            slots: floor.slots,
            told: floor.told,
        }
    }
}

impl From<LeaseView> for v1::Lease {
    fn from(lease: LeaseView) -> Self {
        let state = match lease.phase {
            LeasePhase::Live => v1::LeaseState::Live,
            LeasePhase::Closing => v1::LeaseState::Closing,
        };
        Self {
            lease_id: lease.lease.0,
            pool: lease.pool,
            region: lease.region,
            holder: lease.holder,
            epoch: lease.epoch,
            seq: lease.seq,
            slots: lease.slots,
            wanted: lease.wanted,
            target: lease.target,
            expires_ms: lease.expires_ms,
            state: state.into(),
            report: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_the_rules_do_not_keep_follow_from_theirs() {
        let region = RegionView {
            name: "normandie".into(),
            nominal: 10,
            ceiling: None,
            weight: 1,
            held: 30,
            wanted: 45,
            target: 40,
            borrowed: 20,
            lent: 0,
            leases: 2,
            mode: quota::Mode::Paused,
            reason: "repairs".into(),
            zone: String::new(),
            set_aside: 0,
            floors: Vec::new(),
        };
        assert_eq!(v1::RegionStatus::from(region.clone()).waiting, 15);
        let satisfied = RegionView {
            wanted: 5,
            ..region
        };
        assert_eq!(v1::RegionStatus::from(satisfied).waiting, 0);
        let pool = PoolView {
            name: "ent".into(),
            capacity: 100,
            ttl_ms: 10_000,
            drift_ppm: 10_000,
            held: 120,
            wanted: 130,
            leases: 3,
            mode: quota::Mode::Open,
            reason: String::new(),
            rules: quota::Rules::default(),
            rules_revision: 1,
            set_aside: 0,
        };
        assert_eq!(v1::PoolStatus::from(pool).over_by, 20);
    }

    #[test]
    fn a_reply_to_another_kind_of_request_is_a_number_used_twice() {
        let status = grant(Reply::Returned(quota::Returned { slots: 3 })).expect_err("no grant");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(status.message().starts_with("seq: "));
    }
}
