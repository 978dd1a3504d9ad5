//! Clusters of real members in one process: gRPC on loopback, sled in temporary directories.

mod cluster;
mod log;
mod members;
mod refusals;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quota::{Change, Command, Configure, Outcome, Reply, SetPool, SetRegion, Take};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::Config;
use crate::core::Core;
use crate::network::Way;
use crate::propose::ProposeError;

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member, its server and its directory.
struct Member {
    core: Core,
    config: Config,
    address: SocketAddr,
    server: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Member {
    async fn start(config: Config) -> Self {
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let core = Core::open(&config).await.unwrap();
        let core = Core::start(core, &config, Way::default()).await.unwrap();
        let service = core.peer_service();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let served = Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(
                    TcpIncoming::from(listener).with_nodelay(Some(true)),
                    async move {
                        let _ = stopped.await;
                    },
                );
            served.await.unwrap();
        });
        Self {
            core,
            config: Config {
                listen: address,
                ..config
            },
            address,
            server,
            stop,
        }
    }

    /// Stops as a process that is killed: nobody is told.
    async fn kill(self) -> Config {
        self.server.abort();
        let _ = self.server.await;
        self.core.inner.raft.shutdown().await.unwrap();
        self.core.shutdown().await;
        self.config
    }

    /// Stops as a process that is asked to.
    async fn stop(self) -> Config {
        self.core.shutdown().await;
        let _ = self.stop.send(());
        self.server.abort();
        let _ = self.server.await;
        self.config
    }

    fn leads(&self) -> bool {
        self.core.leader().is_some_and(|leader| leader.is_me)
    }
}

/// Members by id, from 1 on; those that were stopped leave a gap.
struct Cluster {
    dir: TempDir,
    members: Vec<Option<Member>>,
    tune: fn(&mut Config),
}

impl Cluster {
    /// Starts members that know nothing of each other.
    async fn unfounded(count: u64, tune: fn(&mut Config)) -> Self {
        let mut cluster = Self {
            dir: TempDir::new().unwrap(),
            members: Vec::new(),
            tune,
        };
        for id in 1..=count {
            cluster.add(id).await;
        }
        cluster
    }

    async fn founded(count: u64, tune: fn(&mut Config)) -> Self {
        let cluster = Self::unfounded(count, tune).await;
        let founders = (1..=count).map(|id| (id, cluster.address(id))).collect();
        cluster.core(1).init(founders).await.unwrap();
        cluster.leader().await;
        cluster
    }

    fn data(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    fn config(&self, id: u64) -> Config {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::new(id, self.data(id), any);
        (self.tune)(&mut config);
        config
    }

    /// Starts a member on a directory of its own.
    async fn add(&mut self, id: u64) {
        let config = self.config(id);
        self.start(config).await;
    }

    async fn start(&mut self, config: Config) {
        let at = config.node_id as usize - 1;
        let member = Member::start(config).await;
        if self.members.len() <= at {
            self.members.resize_with(at + 1, || None);
        }
        self.members[at] = Some(member);
    }

    fn take(&mut self, id: u64) -> Member {
        self.members[id as usize - 1].take().unwrap()
    }

    fn member(&self, id: u64) -> &Member {
        self.members[id as usize - 1].as_ref().unwrap()
    }

    fn core(&self, id: u64) -> &Core {
        &self.member(id).core
    }

    fn address(&self, id: u64) -> String {
        self.member(id).address.to_string()
    }

    fn up(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten()
    }

    /// Waits for a member that leads and is known to all.
    async fn leader(&self) -> u64 {
        let up: Vec<u64> = self.up().map(|member| member.config.node_id).collect();
        self.leader_of(&up).await
    }

    /// Waits for a member that leads and is known to these.
    async fn leader_of(&self, ids: &[u64]) -> u64 {
        eventually("a leader", || async {
            let known = |&id: &u64| self.core(id).leader().map(|leader| leader.node_id);
            let leads: Vec<Option<u64>> = ids.iter().map(known).collect();
            let first = leads[0]?;
            let known = leads.iter().all(|leads| *leads == Some(first));
            let up = self.members.get(first as usize - 1)?.as_ref()?;
            (known && up.leads()).then_some(first)
        })
        .await
    }

    /// Proposes where it can be, until it is known to have been carried out.
    async fn propose(&self, command: Command) -> Outcome {
        eventually("an outcome", || async {
            for member in self.up() {
                match member.core.propose(command.clone()).await {
                    Ok(outcome) => return Some(outcome),
                    Err(ProposeError::Stopped(why)) => panic!("{why}"),
                    Err(_) => {}
                }
            }
            None
        })
        .await
    }

    /// Waits until all are in the same state, byte for byte.
    async fn agree(&self) {
        eventually("all to be in one state", || async {
            let mut states = self.up().map(|member| snapshot(&member.core));
            let first = states.next()?;
            states.all(|state| state == first).then_some(())
        })
        .await;
    }

    async fn stop(mut self) {
        for member in self.members.drain(..).flatten() {
            member.kill().await;
        }
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut f: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = f().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {what} in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn budget() -> Command {
    let pool = SetPool {
        name: "ent".into(),
        capacity: 1_000_000_000,
        ttl_ms: Some(60_000),
        drift_ppm: None,
    };
    let region = SetRegion {
        pool: "ent".into(),
        name: "normandie".into(),
        nominal: 1_000_000,
        ceiling: None,
        weight: 1,
    };
    Command::Configure(Configure {
        request_id: "budget".into(),
        expected_revision: None,
        changes: vec![Change::SetPool(pool), Change::SetRegion(region)],
    })
}

fn take(holder: &str, seq: u64) -> Command {
    Command::Take(Take {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: holder.into(),
        epoch: 1,
        seq,
        wanted: 10,
    })
}

fn granted(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(Reply::Grant(grant)) if grant.slots == 10)
}

/// The whole state, to compare.
fn snapshot(core: &Core) -> Vec<u8> {
    core.with_state(quota::State::snapshot)
}
