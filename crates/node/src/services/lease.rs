//! `LeaseService`: the single calls. [`super::hold`] has the stream, and [`super::batch`] many requests in a call.

use std::sync::Arc;

use api::v1::lease_service_client::LeaseServiceClient as Client;
use api::v1::lease_service_server::LeaseService;
use api::{status, v1};
use quota::{Command, LeaseId, Refusal, Reply, Rules, State};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ANSWER_BYTES, Context, batch, hold, regions};

/// The service.
pub(crate) struct Leases(pub Context);

#[tonic::async_trait]
impl LeaseService for Leases {
    async fn lease(
        &self,
        request: Request<v1::LeaseRequest>,
    ) -> Result<Response<v1::LeaseResponse>, Status> {
        let answered = self
            .0
            .at_leader(
                request,
                |context, message| async move {
                    let reply = context.propose(Command::Take(message.into())).await?;
                    let grant = Some(api::grant(reply)?);
                    Ok(v1::LeaseResponse { grant })
                },
                |channel, request| async { Client::new(channel).lease(request).await },
            )
            .await?;
        has_grant(answered.get_ref().grant.as_ref())?;
        Ok(answered)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let answered = self
            .0
            .at_leader(
                request,
                |context, message| async move {
                    let reply = context.propose(Command::Renew(message.into())).await?;
                    let grant = Some(api::grant(reply)?);
                    Ok(v1::RenewResponse { grant })
                },
                |channel, request| async { Client::new(channel).renew(request).await },
            )
            .await?;
        has_grant(answered.get_ref().grant.as_ref())?;
        Ok(answered)
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let (command, asked) = context.read_report(message).await?;
                    context.tell_report(asked, context.propose(command).await?)
                },
                |channel, request| async { Client::new(channel).report(request).await },
            )
            .await
    }

    async fn r#return(
        &self,
        request: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::ReturnResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    api::returned(context.propose(Command::Return(message.into())).await?)
                },
                |channel, request| async { Client::new(channel).r#return(request).await },
            )
            .await
    }

    async fn lease_batch(
        &self,
        request: Request<v1::LeaseBatchRequest>,
    ) -> Result<Response<v1::LeaseBatchResponse>, Status> {
        let requests = batch::count(request.get_ref())?;
        let call = self.0.gate.enter_with(request.metadata(), requests)?;
        let answered = self.0.batch(&call, request.into_inner()).await?;
        Ok(Response::new(answered))
    }

    async fn inspect(
        &self,
        request: Request<v1::InspectRequest>,
    ) -> Result<Response<v1::InspectResponse>, Status> {
        if request.get_ref().stale {
            let _call = self.0.gate.enter(request.metadata())?;
            return inspect(&self.0, request.get_ref()).map(Response::new);
        }
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    context.barrier().await?;
                    inspect(&context, &message)
                },
                |channel, request| async {
                    let client = Client::new(channel);
                    let mut client = client.max_decoding_message_size(ANSWER_BYTES);
                    client.inspect(request).await
                },
            )
            .await
    }

    type HoldStream = ReceiverStream<Result<v1::HoldResponse, Status>>;

    async fn hold(
        &self,
        request: Request<Streaming<v1::HoldRequest>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let permit = self.0.gate.enter_stream()?;
        let (answers, stream) = mpsc::channel(hold::ANSWERS_AHEAD);
        let (metadata, _, requests) = request.into_parts();
        let hold = hold::Hold::new(self.0.clone(), metadata, requests, answers);
        tokio::spawn(async move {
            hold.run().await;
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What a report is answered with beside what came of it.
pub(super) struct Reporting {
    lease: LeaseId,
    rules: Arc<Rules>,
    /// The revision of the rules that the holder goes by.
    known: u64,
}

/// What single reports and those among many have in common.
impl Context {
    /// Classes go by name on the wire and by their place in the log: the rules keep those places while
    /// anybody reports.
    pub(super) async fn read_report(
        &self,
        message: v1::ReportRequest,
    ) -> Result<(Command, Reporting), Status> {
        let lease = LeaseId(message.lease_id);
        let mut rules = self.rules_of(lease);
        if rules.is_none() {
            // A new leader may have the lease in its log still, and not know it yet.
            self.barrier().await?;
            rules = self.rules_of(lease);
        }
        let known = message.rules_revision;
        // Of a lease that is not known the classes matter to nobody: it is for the rules to say so.
        let (rules, message) = match rules {
            Some((rules, _)) => (rules, message),
            None => {
                let waiting = Vec::new();
                (
                    Arc::<Rules>::default(),
                    v1::ReportRequest { waiting, ..message },
                )
            }
        };
        let report = api::report(message, &rules).map_err(|refusal| status::refused(&refusal))?;
        let asked = Reporting {
            lease,
            rules,
            known,
        };
        Ok((Command::ReportV2(report), asked))
    }

    pub(super) fn tell_report(
        &self,
        asked: Reporting,
        reply: Reply,
    ) -> Result<v1::ReportResponse, Status> {
        let reported = api::answered(reply)?;
        let (rules, revision) = self
            .rules_of(asked.lease)
            .unwrap_or((asked.rules, reported.rules_revision));
        Ok(api::reported(reported, &rules, revision, asked.known))
    }

    fn rules_of(&self, lease: LeaseId) -> Option<(Arc<Rules>, u64)> {
        self.core.with_state(|state| {
            let (rules, revision) = state.lease_rules(lease)?;
            Some((Arc::clone(rules), revision))
        })
    }
}

/// What a leader passed on must say what the holder has.
fn has_grant(grant: Option<&v1::Grant>) -> Result<(), Status> {
    let what = "the leader answered without a grant";
    grant
        .map(|_| ())
        .ok_or_else(|| status::Reason::Internal.because(what).into())
}

fn inspect(context: &Context, request: &v1::InspectRequest) -> Result<v1::InspectResponse, Status> {
    let v1::InspectRequest { pool, region, .. } = request;
    context
        .core
        .with_state(|state| read(state, pool, region))
        .map_err(|refusal| status::refused(&refusal))
}

fn read(state: &State, pool: &str, region: &str) -> Result<v1::InspectResponse, Refusal> {
    let status = state
        .pool(pool)
        .ok_or_else(|| Refusal::NoSuchPool { pool: pool.into() })?;
    let mut regions = regions(state, pool);
    if !region.is_empty() {
        regions.retain(|known| known.name == region);
        if regions.is_empty() {
            return Err(Refusal::NoSuchRegion {
                pool: pool.into(),
                region: region.into(),
            });
        }
    }
    Ok(v1::InspectResponse {
        pool: Some(status.into()),
        regions,
        cluster_time_ms: state.now_ms(),
    })
}
