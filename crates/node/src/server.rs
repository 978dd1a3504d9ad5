//! The gRPC server: which services there are, over which connections, and how they end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use api::connect::{self, Gathered};
use api::v1;
use api::v1::budget_service_server::BudgetServiceServer;
use api::v1::cluster_service_server::ClusterServiceServer;
use api::v1::lease_service_server::LeaseServiceServer;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::core::Core;
use crate::services::{Budget, Cluster, Context, Leases};
use crate::tls::{KEEPALIVE, require_certificate};

/// Most bytes of one request to `LeaseService`: names, buckets and claims at their bounds take an eighth, and a
/// batch of the usual ones fits.
const LEASE_MESSAGE_BYTES: usize = 64 << 10;
/// The pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The services that front-ends, operators and health checks see, by name; "" stands for the node.
const SERVICES: [&str; 4] = [
    "",
    v1::lease_service_server::SERVICE_NAME,
    v1::budget_service_server::SERVICE_NAME,
    v1::cluster_service_server::SERVICE_NAME,
];

/// Serves until `stop` turns true, and then until the last call has ended.
pub(crate) async fn serve(
    incoming: Incoming,
    tls: Option<ServerTlsConfig>,
    context: Context,
    health: HealthReporter,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let limits = &context.limits;
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let message_bytes = size(limits.message_bytes);
    let per_connection = u32::try_from(limits.streams_per_connection).unwrap_or(u32::MAX);
    let reflection = |bytes| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(bytes)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let text = |e: &dyn std::fmt::Display| e.to_string();

    let secure = tls.is_some();
    let mut server = Server::builder()
        .max_concurrent_streams(per_connection)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1));
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(|e| text(&e))?;
    }
    let peers = context.core.peer_service();
    let leases = LeaseServiceServer::new(Leases(context.clone()))
        .max_decoding_message_size(LEASE_MESSAGE_BYTES.min(message_bytes));
    let others = Routes::default()
        .add_service(
            BudgetServiceServer::new(Budget(context.clone()))
                .max_decoding_message_size(message_bytes),
        )
        .add_service(
            ClusterServiceServer::new(Cluster(context.clone()))
                .max_decoding_message_size(message_bytes),
        )
        .add_service(tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(health),
        ))
        .add_service(
            reflection(api::DESCRIPTORS)
                .build_v1()
                .map_err(|e| text(&e))?,
        )
        .add_service(
            reflection(api::DESCRIPTORS)
                .build_v1alpha()
                .map_err(|e| text(&e))?,
        );
    let others = if secure {
        others.add_service(InterceptedService::new(peers, require_certificate))
    } else {
        others.add_service(peers)
    };
    let services = Services {
        leases,
        others: others.prepare(),
    };

    let incoming = accept(incoming, size(limits.connections));
    let stopped = async move {
        // A sender that is gone is a node that is gone.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    server
        .serve_with_incoming_shutdown(services, incoming, stopped)
        .await
        .map_err(|e| text(&e))
}

/// All services. Calls of the one that front-ends make go straight to it: a router for any services moves and boxes each
/// several times.
#[derive(Clone)]
struct Services {
    leases: LeaseServiceServer<Leases>,
    others: Routes,
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        // All are ready at any time.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().strip_prefix('/');
        let service = path.and_then(|path| path.split_once('/'));
        match service {
            Some((v1::lease_service_server::SERVICE_NAME, _)) => self.leases.call(request),
            _ => Box::pin(self.others.call(request)),
        }
    }
}

/// Connections as they come in.
pub(crate) type Incoming = BoxStream<'static, io::Result<Accepted>>;

/// A connection that came in.
pub(crate) struct Accepted {
    pub stream: Box<dyn connect::Stream>,
    /// From where and to where, as far as is known.
    pub info: TcpConnectInfo,
}

/// Those that come to a listener.
pub(crate) fn incoming(listener: TcpListener) -> Incoming {
    Box::pin(futures_util::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            let info = stream.connect_info();
            let stream = Box::new(stream);
            Ok(Accepted { stream, info })
        });
        Some((accepted, listener))
    }))
}

/// Connections, so many at a time. One more is closed at once: its caller goes to another node.
fn accept(incoming: Incoming, most: usize) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    futures_util::stream::unfold(
        (incoming, places),
        move |(mut incoming, places)| async move {
            loop {
                match incoming.next().await? {
                    Ok(accepted) => match Arc::clone(&places).try_acquire_owned() {
                        Ok(place) => {
                            let connection = Connection {
                                stream: Gathered::new(accepted.stream),
                                info: accepted.info,
                                _place: place,
                            };
                            return Some((Ok(connection), (incoming, places)));
                        }
                        Err(_) => {
                            let from = accepted.info.remote_addr;
                            tracing::warn!(
                                ?from,
                                most,
                                "connection closed: limits.connections is reached"
                            );
                        }
                    },
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        },
    )
}

/// A connection and its place among those that may be.
struct Connection {
    stream: Gathered<Box<dyn connect::Stream>>,
    info: TcpConnectInfo,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Says whether the node can serve: where it knows a leader, until it stops.
pub(crate) async fn report_health(core: Core, health: HealthReporter) {
    let mut leaders = core.leaders();
    let mut stopped = core.stopped();
    loop {
        let serving =
            leaders.borrow_and_update().is_some() && stopped.borrow_and_update().is_none();
        set_health(&health, serving).await;
        let changed = tokio::select! {
            changed = leaders.changed() => changed,
            changed = stopped.changed() => changed,
        };
        if changed.is_err() {
            return set_health(&health, false).await;
        }
    }
}

/// Tells all watchers.
pub(crate) async fn set_health(health: &HealthReporter, serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// Listens, where nobody else does.
pub(crate) async fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
