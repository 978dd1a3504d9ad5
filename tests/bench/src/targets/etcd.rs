//! Three members of etcd, as its package installs it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use preau::parts::{Failure, Processes, free};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use self::pb::lease_client::LeaseClient;
use self::pb::maintenance_client::MaintenanceClient;
use super::{TTL_S, make, told};
use crate::connection::Connection;
use crate::load::{Client, Phase, connect};

mod pb {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("etcdserverpb");
}

/// The program.
pub const PROGRAM: &str = "etcd";
/// Its package.
pub const PACKAGE: &str = "etcd-server";
/// What each member is told beyond where it is: so much room that it never runs out of it.
const FLAGS: [&str; 2] = ["--quota-backend-bytes", "8589934592"];
/// The one variable that it is left with: without it etcd refuses to run on some processors.
const UNTRIED: &str = "ETCD_UNSUPPORTED_ARCH";
/// How long three members may take to have a leader.
const FORM_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A cluster.
pub struct Etcd {
    pub processes: Processes,
    pub door: Door,
}

/// The way to whoever leads it: any other member would only send calls on.
pub struct Door {
    leader: String,
}

impl Etcd {
    /// Starts one in `dir`, and waits until it has a leader.
    pub async fn start(dir: &Path) -> Result<Self, Failure> {
        let dir = make(dir)?;
        let addresses = free::<6>()?;
        let members: Vec<(String, SocketAddr, SocketAddr)> = (1..)
            .zip(addresses.chunks_exact(2))
            .map(|(number, two)| (format!("member-{number}"), two[0], two[1]))
            .collect();
        let cluster: Vec<String> = members
            .iter()
            .map(|(name, _, peers)| format!("{name}=http://{peers}"))
            .collect();
        let mut processes = Processes::default();
        for (name, clients, peers) in &members {
            let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
            let mut command = Command::new(PROGRAM);
            command
                .args(["--name", name])
                .arg("--data-dir")
                .arg(dir.join(name))
                .args(["--listen-client-urls", &clients])
                .args(["--advertise-client-urls", &clients])
                .args(["--listen-peer-urls", &peers])
                .args(["--initial-advertise-peer-urls", &peers])
                .args(["--initial-cluster", &cluster.join(",")])
                .args(["--initial-cluster-state", "new"])
                .args(FLAGS);
            for (variable, _) in std::env::vars_os() {
                let name = variable.to_string_lossy();
                if name.starts_with("ETCD_") && name != UNTRIED {
                    command.env_remove(&variable);
                }
            }
            let log = dir.join(format!("{name}.log"));
            processes.start(format!("etcd's {name}"), command, log)?;
        }
        let doors = members.iter().map(|(_, clients, _)| clients.to_string());
        let leader = tokio::select! {
            leader = leader(doors.collect()) => leader?,
            failure = processes.ended() => return Err(failure),
        };
        let door = Door { leader };
        Ok(Self { processes, door })
    }
}

/// The address of the member that leads, once one does.
async fn leader(addresses: Vec<String>) -> Result<String, Failure> {
    let end = Instant::now() + FORM_WITHIN;
    while Instant::now() < end {
        for address in &addresses {
            let Ok(connection) = Connection::open(address).await else {
                continue;
            };
            let status = MaintenanceClient::new(connection)
                .status(pb::StatusRequest {})
                .await;
            let Ok(status) = status.map(tonic::Response::into_inner) else {
                continue;
            };
            let member = status.header.map_or(0, |header| header.member_id);
            if status.leader != 0 && status.leader == member {
                return Ok(address.clone());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let message = format!("etcd has no leader after {FORM_WITHIN:.0?}");
    Err(Failure::operation(message))
}

impl Door {
    /// Clients without leases.
    pub async fn clients(&self, count: usize) -> Result<Vec<Holder>, Failure> {
        let connections = connect(&self.leader, count).await?;
        let holder = |number: usize| Holder {
            client: LeaseClient::new(connections[number % connections.len()].clone()),
            alive: None,
            leases: Vec::new(),
            turn: 0,
        };
        Ok((0..count).map(holder).collect())
    }
}

/// A client with its leases, by their ids.
pub struct Holder {
    client: LeaseClient<Connection>,
    alive: Option<Alive>,
    leases: Vec<i64>,
    turn: usize,
}

/// The stream on which etcd's clients keep their leases.
struct Alive {
    up: mpsc::Sender<pb::LeaseKeepAliveRequest>,
    down: Streaming<pb::LeaseKeepAliveResponse>,
}

impl Holder {
    async fn grant(&mut self) -> Result<u64, String> {
        let ttl = TTL_S as i64;
        let asked = self.client.lease_grant(pb::LeaseGrantRequest { ttl }).await;
        let granted = asked.map_err(|e| told(&e))?.into_inner();
        if !granted.error.is_empty() {
            return Err(granted.error);
        }
        self.leases.push(granted.id);
        Ok(1)
    }

    async fn keep(&mut self) -> Result<u64, String> {
        if self.leases.is_empty() {
            return Ok(0);
        }
        self.turn = (self.turn + 1) % self.leases.len();
        let id = self.leases[self.turn];
        let kept = self.keep_alive(id).await;
        if kept.is_err() {
            self.alive = None;
        }
        kept.map(|()| 1)
    }

    async fn keep_alive(&mut self, id: i64) -> Result<(), String> {
        let gone = || "the stream has ended".to_owned();
        let request = pb::LeaseKeepAliveRequest { id };
        let alive = match &mut self.alive {
            Some(alive) => {
                alive.up.send(request).await.map_err(|_| gone())?;
                alive
            }
            none => {
                let (up, requests) = mpsc::channel(1);
                // etcd does not answer that there is a stream before it answers something on it.
                up.send(request).await.map_err(|_| gone())?;
                let requests = ReceiverStream::new(requests);
                let down = self.client.lease_keep_alive(requests).await;
                let down = down.map_err(|e| told(&e))?.into_inner();
                none.insert(Alive { up, down })
            }
        };
        let answer = alive.down.message().await.map_err(|e| told(&e))?;
        match answer.ok_or_else(gone)?.ttl {
            ..=0 => Err("the lease has ended".into()),
            _ => Ok(()),
        }
    }

    async fn revoke(&mut self) -> Result<u64, String> {
        let Some(id) = self.leases.pop() else {
            return Ok(0);
        };
        let revoked = self
            .client
            .lease_revoke(pb::LeaseRevokeRequest { id })
            .await;
        revoked.map(|_| 1).map_err(|e| told(&e))
    }
}

impl Client for Holder {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        match phase {
            Phase::Grant => self.grant().await,
            Phase::Keep => self.keep().await,
            Phase::Revoke => self.revoke().await,
        }
    }
}
