//! Messages to commands, and replies and views to messages.

use quota::{
    ClassView, FloorView, Grant, LeaseId, LeasePhase, LeaseView, PoolView, QueueView, RegionView,
    RemoveHolder, Renew, Reply, ReportView, Reported, Return, Rules, Take,
};
use tonic::Status;

use crate::status::Reason;
use crate::v1;
use crate::waiting::class_name;

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
            pool: pool.into(),
            region: region.into(),
            holder: holder.into(),
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

/// A region, and who waits in it; `rules` are those of its pool.
pub fn region(region: RegionView, queue: Option<QueueView>, rules: &Rules) -> v1::RegionStatus {
    let class = |class: ClassView| v1::ClassStatus {
        class: class_name(rules, class.class),
        waiting: class.waiting,
        oldest_s: class.oldest_s,
        rate_milli: class.rate,
        low_rate_milli: class.low_rate,
        wait_p50_s: class.wait.map(|wait| wait.p50_s.into()),
        wait_p90_s: class.wait.map(|wait| wait.p90_s.into()),
    };
    let in_use = queue.as_ref().map_or(0, |queue| queue.in_use);
    let open = queue.as_ref().is_some_and(|queue| queue.open);
    let classes = queue.map(|queue| queue.classes).unwrap_or_default();
    v1::RegionStatus {
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
        classes: classes.into_iter().map(class).collect(),
        in_use,
        open,
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

/// A lease, and what it reported last.
pub fn lease(lease: LeaseView, report: Option<ReportView>) -> v1::Lease {
    let state = match lease.phase {
        LeasePhase::Live => v1::LeaseState::Live,
        LeasePhase::Closing => v1::LeaseState::Closing,
    };
    v1::Lease {
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
        report: report.map(|report| v1::ReportStatus {
            in_use: report.in_use,
            waiting: report.waiting,
            spare: report.spare,
            floor: report.floor,
            reported_ms: report.reported_ms,
        }),
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
        let rules = Rules::default();
        assert_eq!(super::region(region.clone(), None, &rules).waiting, 15);
        let queue = QueueView {
            region: "normandie".into(),
            mode: quota::Mode::Paused,
            closed_s: None,
            opened_s: None,
            open: false,
            in_use: 28,
            reporting: 2,
            waiting: 9,
            horizon_s: None,
            classes: vec![ClassView {
                class: 0,
                waiting: 9,
                oldest_s: 4,
                rate: 500,
                low_rate: 250,
                wait: Some(quota::Wait {
                    p50_s: 20,
                    p90_s: 60,
                }),
            }],
        };
        let told = super::region(region.clone(), Some(queue), &rules);
        assert_eq!((told.in_use, told.open), (28, false));
        let class = &told.classes[0];
        assert_eq!((class.class.as_str(), class.waiting), ("everyone", 9));
        assert_eq!((class.wait_p50_s, class.wait_p90_s), (Some(20), Some(60)));
        let satisfied = RegionView {
            wanted: 5,
            ..region
        };
        assert_eq!(super::region(satisfied, None, &rules).waiting, 0);
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
