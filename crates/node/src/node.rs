//! A node: its parts started in order, and stopped in order.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic_health::server::HealthReporter;

use crate::config::{Config, ConfigError};
use crate::core::{Core, StartError as CoreError};
use crate::due;
use crate::forward::Forward;
use crate::server;
use crate::services::Context;
use crate::tls::{self, TlsError};

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
        let core = Core::start(&config, peer_tls.clone()).await?;
        let context = Context::new(core.clone(), Forward::new(peer_tls), config.limits.clone());
        let health = HealthReporter::new();
        server::set_health(&health, false).await;
        let stop = watch::Sender::new(false);
        let serve = server::serve(
            listener,
            server_tls,
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
    pub async fn stopped(&self) -> String {
        let mut stopped = self.context.core.stopped();
        match stopped
            .wait_for(Option::is_some)
            .await
            .map(|why| why.clone())
        {
            Ok(why) => why.unwrap_or_default(),
            Err(_) => "the node's core is gone; start the node again".into(),
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
