//! Changes of the membership, as an operator makes them: tried until the leader shows them.

use std::future::Future;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::cluster_service_client::ClusterServiceClient;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::Channel;

use crate::cluster::{Cluster, status};

const WITHIN: Duration = Duration::from_secs(45);
const ONE_CALL: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(300);
/// A follower so close to the leader has all but what is under way.
const CLOSE: u64 = 1_000;

/// A new node with a vote, and its id.
pub async fn join(cluster: &mut Cluster) -> Result<u64, String> {
    let id = cluster.add()?;
    cluster.wait_up(id).await?;
    let address = cluster.address(id);
    change(
        cluster,
        &format!("node {id} a learner"),
        |members| members.iter().any(|member| member.node_id == id),
        |channel| {
            let member = v1::MemberAddress {
                node_id: id,
                address: address.clone(),
            };
            let message = v1::AddMemberRequest {
                member: Some(member),
            };
            async move {
                let mut service = ClusterServiceClient::new(channel);
                service.add_member(message).await.map(drop)
            }
        },
    )
    .await?;
    change(
        cluster,
        &format!("node {id} a voter"),
        |members| members.iter().any(|m| m.node_id == id && m.voter),
        |channel| async move {
            let mut service = ClusterServiceClient::new(channel);
            let message = v1::PromoteMemberRequest { node_id: id };
            service.promote_member(message).await.map(drop)
        },
    )
    .await?;
    Ok(id)
}

/// A member leaves for good, and what it had is removed.
pub async fn leave(cluster: &mut Cluster, id: u64) -> Result<(), String> {
    change(
        cluster,
        &format!("node {id} removed"),
        |members| members.iter().all(|member| member.node_id != id),
        |channel| async move {
            let mut service = ClusterServiceClient::new(channel);
            let message = v1::RemoveMemberRequest { node_id: id };
            service.remove_member(message).await.map(drop)
        },
    )
    .await?;
    cluster.remove(id)
}

/// Hands leadership to a node.
pub async fn transfer(cluster: &Cluster, to: u64) -> Result<(), Status> {
    let nodes = cluster.way().map_err(Status::internal)?;
    nodes
        .call(ONE_CALL, |channel| async move {
            let mut service = ClusterServiceClient::new(channel);
            let message = v1::TransferLeaderRequest { node_id: to };
            service.transfer_leader(message).await.map(drop)
        })
        .await
}

async fn change<F, Fut>(
    cluster: &Cluster,
    what: &str,
    done: impl Fn(&[v1::Member]) -> bool,
    call: F,
) -> Result<(), String>
where
    F: Fn(Channel) -> Fut,
    Fut: Future<Output = Result<(), Status>>,
{
    let end = Instant::now() + WITHIN;
    let nodes = cluster.way()?;
    loop {
        if let Some(leader) = leader(cluster).await
            && done(&leader.members)
        {
            return Ok(());
        }
        let ended = nodes.call(ONE_CALL, &call).await;
        if Instant::now() > end {
            let why = ended.err().map(|status| status.message().to_owned());
            return Err(format!("{what}: not within {WITHIN:?}: {why:?}"));
        }
        sleep(PAUSE).await;
    }
}

/// How the leader stands: of two that believe so, the one of the higher term.
pub async fn leader(cluster: &Cluster) -> Option<v1::StatusResponse> {
    let mut best: Option<v1::StatusResponse> = None;
    for id in cluster.ids() {
        let Ok(status) = status(&cluster.doors, id).await else {
            continue;
        };
        let leads = status.role() == v1::NodeRole::Leader;
        if leads && best.as_ref().is_none_or(|best| best.term < status.term) {
            best = Some(status);
        }
    }
    best
}

/// Waits until every node follows one leader, close behind.
pub async fn whole(cluster: &Cluster) -> Result<(), String> {
    let end = Instant::now() + WITHIN;
    loop {
        let why = match leader(cluster).await {
            None => "nobody leads".to_owned(),
            Some(leader) => {
                let mut behind = Vec::new();
                for id in cluster.ids() {
                    let follows = status(&cluster.doors, id).await.is_ok_and(|status| {
                        status.leader_id == leader.node_id
                            && status.applied_index + CLOSE >= leader.committed_index
                    });
                    if !follows {
                        behind.push(id);
                    }
                }
                if behind.is_empty() {
                    return Ok(());
                }
                format!(
                    "of nodes {behind:?} node {} is not followed",
                    leader.node_id
                )
            }
        };
        if Instant::now() > end {
            return Err(format!("the cluster is not whole within {WITHIN:?}: {why}"));
        }
        sleep(PAUSE).await;
    }
}
