//! The keeper's requests and answers as messages.

use std::time::Duration;

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::keeper::{Answer, Grant, Refused, Request};
use crate::nodes::Nodes;
use crate::reason;

/// The names that never change in a holder's life.
#[derive(Debug, Clone)]
pub struct Names {
    pub pool: String,
    pub region: String,
    pub holder: String,
}

/// What comes of a call.
pub enum Outcome {
    Answered(Answer),
    /// The cluster refused it for good.
    Refused(Refused, Status),
    /// Nobody knows whether it was carried out.
    Failed(Status),
}

/// Sends a request until it is answered or the time is up.
pub async fn send(nodes: &Nodes, within: Duration, names: &Names, request: Request) -> Outcome {
    match nodes
        .call(within, |channel| one_try(channel, names.clone(), request))
        .await
    {
        Ok(answer) => Outcome::Answered(answer),
        Err(status) => match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => Outcome::Failed(status),
            _ => Outcome::Refused(refused(&status), status),
        },
    }
}

async fn one_try(channel: Channel, names: Names, request: Request) -> Result<Answer, Status> {
    let mut client = LeaseServiceClient::new(channel);
    match request {
        Request::Take { epoch, seq, wanted } => {
            let request = v1::LeaseRequest {
                pool: names.pool,
                region: names.region,
                holder: names.holder,
                epoch,
                seq,
                wanted,
            };
            granted(client.lease(request).await?.into_inner().grant)
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
            granted(client.renew(request).await?.into_inner().grant)
        }
        Request::Return { lease, seq } => {
            let request = v1::ReturnRequest {
                lease_id: lease,
                seq,
            };
            client.r#return(request).await?;
            Ok(Answer::Returned)
        }
    }
}

fn granted(grant: Option<v1::Grant>) -> Result<Answer, Status> {
    let grant = grant.ok_or_else(|| Status::internal("the answer carries no grant"))?;
    Ok(Answer::Granted(Grant {
        lease: grant.lease_id,
        slots: grant.slots,
        target: grant.target,
        ttl_ms: grant.ttl_ms,
        drift_ppm: grant.drift_ppm,
    }))
}

fn refused(status: &Status) -> Refused {
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
