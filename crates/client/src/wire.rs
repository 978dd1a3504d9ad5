//! The keeper's requests and answers as messages.

use std::time::Duration;

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::nodes::Nodes;
use crate::reason;
use crate::reports::{self, KnownRules};
use crate::requests::{Answer, Grant, Refused, Request};

/// The names that never change in a holder's life.
#[derive(Debug, Clone)]
pub struct Names {
    pub pool: String,
    pub region: String,
    pub holder: String,
}

/// What comes of a call.
pub enum Outcome {
    /// It was carried out; the pool's rules, where they have changed.
    Answered(Answer, Option<KnownRules>),
    /// The cluster refused it for good.
    Refused(Refused, Status),
    /// Nobody knows whether it was carried out.
    Failed(Status),
}

/// Sends a request until it is answered or the time is up.
pub async fn send(
    nodes: &Nodes,
    within: Duration,
    names: &Names,
    rules: &KnownRules,
    request: &Request,
) -> Outcome {
    match nodes
        .call(within, |channel| one_try(channel, names, rules, request))
        .await
    {
        Ok((answer, rules)) => Outcome::Answered(answer, rules),
        Err(status) if is_unanswered(&status) => Outcome::Failed(status),
        Err(status) => Outcome::Refused(refused(&status), status),
    }
}

/// Whether nobody knows what came of a call, as no node that could say has answered.
pub fn is_unanswered(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

async fn one_try(
    channel: Channel,
    names: &Names,
    rules: &KnownRules,
    request: &Request,
) -> Result<(Answer, Option<KnownRules>), Status> {
    let mut client = LeaseServiceClient::new(channel);
    let answer = match *request {
        Request::Take { epoch, seq, wanted } => {
            let request = v1::LeaseRequest {
                pool: names.pool.clone(),
                region: names.region.clone(),
                holder: names.holder.clone(),
                epoch,
                seq,
                wanted,
            };
            Answer::Granted(granted(client.lease(request).await?.into_inner().grant)?)
        }
        Request::Renew {
            lease,
            seq,
            kept,
            wanted,
        } => {
            let request = v1::RenewRequest {
                lease_id: lease,
                seq,
                kept,
                wanted,
            };
            Answer::Granted(granted(client.renew(request).await?.into_inner().grant)?)
        }
        Request::Report {
            lease,
            seq,
            ref report,
        } => {
            let request = reports::request(lease, seq, report, rules);
            let response = client.report(request).await?.into_inner();
            let grant = granted(response.grant)?;
            let (more, changed) = reports::response(response, rules);
            return Ok((Answer::Reported(grant, Box::new(more)), changed));
        }
        Request::Return { lease, seq } => {
            let request = v1::ReturnRequest {
                lease_id: lease,
                seq,
            };
            client.r#return(request).await?;
            Answer::Returned
        }
    };
    Ok((answer, None))
}

/// The grant of an answer.
pub fn granted(grant: Option<v1::Grant>) -> Result<Grant, Status> {
    let grant = grant.ok_or_else(|| Status::internal("the answer carries no grant"))?;
    Ok(Grant {
        lease: grant.lease_id,
        slots: grant.slots,
        target: grant.target,
        ttl_ms: grant.ttl_ms,
        drift_ppm: grant.drift_ppm,
    })
}

/// What a refusal comes to.
pub fn refused(status: &Status) -> Refused {
    match reason::reason(status).as_deref() {
        Some("LEASE_ENDED" | "NO_SUCH_LEASE") => Refused::Ended,
        Some("LEASE_CLOSING") => Refused::Closing,
        Some("STALE_EPOCH") => Refused::StaleEpoch {
            current: reason::current_epoch(status),
        },
        Some("STALE_SEQ") => Refused::StaleSeq,
        _ => Refused::Other,
    }
}
