//! `ClusterService`: members, leader, and how things stand.

use api::status::Reason;
use api::v1;
use api::v1::cluster_service_client::ClusterServiceClient as Client;
use api::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use super::{Context, refuse};
use crate::core::Role;
use crate::membership::MemberError;
use crate::propose::ProposeError;

/// The service.
pub(crate) struct Cluster(pub Context);

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn init(
        &self,
        request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitResponse>, Status> {
        let call = self.0.gate.enter(request.metadata())?;
        let members = request.into_inner().members.into_iter();
        let members = members
            .map(|member| (member.node_id, member.address))
            .collect();
        // Goes on where the caller leaves: half a cluster would be in the way of the next try, which may
        // come to another node.
        let core = self.0.core.clone();
        let init = tokio::spawn(async move { core.init(members).await });
        let init = async {
            init.await
                .map_err(|e| {
                    Status::from(api::status::Reason::Internal.because(format!("init: {e}")))
                })?
                .map_err(|e| self.0.member_failed(e))
        };
        call.within(init).await?;
        Ok(Response::new(v1::InitResponse {}))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let _call = self.0.gate.enter(request.metadata())?;
        Ok(Response::new(self.0.status()))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let Some(v1::MemberAddress { node_id, address }) = message.member else {
                        return Err(refuse("member", "nothing", "a node's id and address"));
                    };
                    let added = context.core.add_learner(node_id, address).await;
                    added.map_err(|e| context.member_failed(within("member", e)))?;
                    Ok(v1::AddMemberResponse {})
                },
                |channel, request| async { Client::new(channel).add_member(request).await },
            )
            .await
    }

    async fn promote_member(
        &self,
        request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let promoted = context.core.promote(message.node_id).await;
                    promoted.map_err(|e| context.member_failed(e))?;
                    Ok(v1::PromoteMemberResponse {})
                },
                |channel, request| async { Client::new(channel).promote_member(request).await },
            )
            .await
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let removed = context.core.remove(message.node_id).await;
                    removed.map_err(|e| context.member_failed(e))?;
                    Ok(v1::RemoveMemberResponse {})
                },
                |channel, request| async { Client::new(channel).remove_member(request).await },
            )
            .await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let moved = context.core.transfer(message.node_id).await;
                    let leader_id = moved.map_err(|e| context.member_failed(e))?;
                    Ok(v1::TransferLeaderResponse { leader_id })
                },
                |channel, request| async { Client::new(channel).transfer_leader(request).await },
            )
            .await
    }
}

impl Context {
    /// How things stand, as this node knows it.
    fn status(&self) -> v1::StatusResponse {
        let status = self.core.status();
        let role = match status.role {
            Role::Leader => v1::NodeRole::Leader,
            Role::Follower => v1::NodeRole::Follower,
            Role::Candidate => v1::NodeRole::Candidate,
            Role::Learner => v1::NodeRole::Learner,
            Role::Uninitialized => v1::NodeRole::Uninitialized,
        };
        let members = status.members.into_iter().map(|member| v1::Member {
            node_id: member.node_id,
            address: member.address,
            voter: member.voter,
            matched_index: member.matched_index,
            last_seen_ms: member.last_seen_ms,
        });
        v1::StatusResponse {
            node_id: status.node_id,
            cluster_id: status.cluster_id.unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").into(),
            role: role.into(),
            term: status.term,
            leader_id: status.leader_id.unwrap_or(0),
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            disk_bytes: status.disk_bytes,
            cluster_time_ms: status.cluster_time_ms,
            members: members.collect(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn member_failed(&self, error: MemberError) -> Status {
        match error {
            MemberError::NotLeader { leader } => self.failed(ProposeError::NotLeader { leader }),
            MemberError::Stopped(why) => self.failed(ProposeError::Stopped(why)),
            MemberError::Unknown(why) => self.failed(ProposeError::Unknown(why)),
            MemberError::Invalid {
                field,
                value,
                expected,
            } => refuse(&field, value, expected),
            MemberError::NoSuchMember(node_id) => Reason::NoSuchMember
                .because(error.to_string())
                .with("node_id", node_id)
                .into(),
            MemberError::Refused(why) => Reason::MembershipRefused.because(why).into(),
            MemberError::Unreachable(why) => Reason::MemberUnreachable.because(why).into(),
        }
    }
}

/// The same error, its field named from the message's top.
fn within(parent: &str, error: MemberError) -> MemberError {
    match error {
        MemberError::Invalid {
            field,
            value,
            expected,
        } => MemberError::Invalid {
            field: format!("{parent}.{field}"),
            value,
            expected,
        },
        error => error,
    }
}
