//! A node: its parts started in order, and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::connect::{self, Dial};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use store::Storage;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::ServerTlsConfig;
use tonic::transport::server::TcpConnectInfo;
use tonic_health::server::HealthReporter;

use crate::config::{Config, ConfigError};
use crate::core::{Core, Role, StartError as CoreError};
use crate::due;
use crate::forward::Forward;
use crate::network::Way;
use crate::server::{self, Accepted, Incoming};
use crate::services::Context;
use crate::tls::{self, TlsError};
use crate::types::Disk;

/// How long connections have to take leave once nothing is at work on them.
const TAKE_LEAVE: Duration = Duration::from_millis(200);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of the configuration can't be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address can't be listened on.
    #[error("listen: can't listen on {address}: {why}; expected a free address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        why: std::io::Error,
    },
    /// The data directory can't be used, or holds what does not fit.
    #[error(transparent)]
    Data(#[from] CoreError),
}

/// What a node stands on, in the place of the machine's disk and network.
pub struct Ground {
    /// The disk.
    pub store: Arc<dyn Storage>,
    /// The connections that come in.
    pub incoming: BoxStream<'static, Box<dyn connect::Stream>>,
    /// The way to the other nodes.
    pub dial: Arc<dyn Dial>,
}

/// How far a node has applied the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The last entry's index, 0 for none.
    pub index: u64,
    /// The last entry's term.
    pub term: u64,
    /// The state that it came to, encoded: equal at equal indexes.
    pub state: Vec<u8>,
}

/// A running member of a cluster, or one that waits for its cluster to be made.
pub struct Node {
    address: SocketAddr,
    advertised: String,
    context: Context,
    health: HealthReporter,
    health_task: Task<()>,
    calendar_task: Task<()>,
    server: Task<Result<(), String>>,
    stop: watch::Sender<bool>,
}

impl Node {
    /// Opens the data directory, and serves. A node that knows no cluster waits for `Init`, or for the
    /// leader of the cluster that it is added to.
    ///
    /// # Errors
    /// Where the configuration, a certificate, the address or the data directory can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let (server_tls, peer_tls) = match config.tls.as_ref().map(tls::load).transpose()? {
            Some((server, peer)) => (Some(server), Some(peer)),
            None => (None, None),
        };
        let (listener, address) =
            server::bind(config.listen)
                .await
                .map_err(|why| StartError::Listen {
                    address: config.listen,
                    why,
                })?;
        let store = Core::open(&config).await?;
        let way = Way {
            tls: peer_tls,
            dial: None,
        };
        Self::run(
            config,
            store,
            way,
            address,
            server::incoming(listener),
            server_tls,
        )
        .await
    }

    /// As [`Node::start`], on a disk and a network that are given, without TLS.
    ///
    /// # Errors
    /// Where the configuration or what is stored can't be used.
    pub async fn start_on(config: Config, ground: Ground) -> Result<Self, StartError> {
        config.validate()?;
        let address = config.listen;
        let way = Way {
            tls: None,
            dial: Some(ground.dial),
        };
        let incoming = Box::pin(ground.incoming.map(|stream| {
            Ok(Accepted {
                stream,
                info: TcpConnectInfo {
                    local_addr: None,
                    remote_addr: None,
                },
            })
        }));
        Self::run(config, ground.store, way, address, incoming, None).await
    }

    async fn run(
        config: Config,
        store: Disk,
        way: Way,
        address: SocketAddr,
        incoming: Incoming,
        tls: Option<ServerTlsConfig>,
    ) -> Result<Self, StartError> {
        let core = Core::start(store, &config, way.clone()).await?;
        let context = Context::new(core.clone(), Forward::new(way), config.limits.clone());
        let health = HealthReporter::new();
        server::set_health(&health, false).await;
        let stop = watch::Sender::new(false);
        let serve = server::serve(
            incoming,
            tls,
            context.clone(),
            health.clone(),
            stop.subscribe(),
        );
        let report = server::report_health(core.clone(), health.clone());
        Ok(Self {
            address,
            advertised: config.advertise.unwrap_or_else(|| address.to_string()),
            context,
            health_task: Task(tokio::spawn(report)),
            calendar_task: Task(tokio::spawn(due::drive(core))),
            server: Task(tokio::spawn(serve)),
            health,
            stop,
        })
    }

    /// How far this node has applied the log, and what came of it.
    pub fn applied(&self) -> Applied {
        let core = &self.context.core;
        core.with_state(|state| {
            let last = core.last_applied();
            Applied {
                index: last.map_or(0, |id| id.index),
                term: last.map_or(0, |id| id.leader_id.term),
                state: state.snapshot(),
            }
        })
    }

    /// Whether this node thinks that it leads, and the term that it is in.
    pub fn leads(&self) -> (bool, u64) {
        let status = self.context.core.status();
        (status.role == Role::Leader, status.term)
    }

    /// The address that the node listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `host:port` as the others reach the node.
    pub fn advertised(&self) -> &str {
        &self.advertised
    }

    /// Resolves when the node has stopped by itself, and says why and what to do. The process should end,
    /// with that message, and be started again once the cause is mended.
    pub fn stopped(&self) -> impl Future<Output = String> + Send + use<> {
        let mut stopped = self.context.core.stopped();
        async move {
            match stopped
                .wait_for(Option::is_some)
                .await
                .map(|why| why.clone())
            {
                Ok(why) => why.unwrap_or_default(),
                Err(_) => "the node's core is gone; start the node again".into(),
            }
        }
    }

    /// Stops in good order: health checks and front-ends are told to go elsewhere, leadership is handed
    /// over, what is at work is finished (for `drain_ms` at most), and the log is closed.
    pub async fn shutdown(mut self) {
        let core = &self.context.core;
        let gate = &self.context.gate;
        // First a new leader, so that nobody waits for one while this node drains.
        core.hand_over().await;
        gate.close();
        self.health_task.end().await;
        self.calendar_task.end().await;
        server::set_health(&self.health, false).await;
        let drain = Duration::from_millis(self.context.limits.drain_ms);
        if tokio::time::timeout(drain, gate.idle()).await.is_err() {
            tracing::warn!(
                ?drain,
                "requests were still at work; their callers will send them again"
            );
        }
        self.stop.send_replace(true);
        core.shutdown().await;
        // Streams of the other nodes and of health checks have no end of their own.
        if tokio::time::timeout(TAKE_LEAVE, &mut self.server.0)
            .await
            .is_err()
        {
            self.server.end().await;
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.address)
            .field("advertised", &self.advertised)
            .finish_non_exhaustive()
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    async fn end(&mut self) {
        self.0.abort();
        // It was told to end: how it does makes no difference.
        let _ = (&mut self.0).await;
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
