//! The way to a node: over the machine's network, or over one that is given.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::{Service, ServiceExt as _};

pub use crate::gather::Gathered;

/// Something that bytes go through, both ways and in order.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A connection being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Another network than the machine's, such as a simulated one.
pub trait Dial: Debug + Send + Sync + 'static {
    /// Connects to `address`, which is `host:port`.
    fn dial(&self, address: String) -> Dialling;
}

/// The machine's network, as a connector for [`Endpoint`]s that limit the time of a connection themselves.
fn network() -> impl Service<
    Uri,
    Response = TokioIo<Gathered<TcpStream>>,
    Error = Box<dyn std::error::Error + Send + Sync>,
    Future: Send,
> + Send
+ 'static {
    let mut network = HttpConnector::new();
    // Endpoints see to TLS.
    network.enforce_http(false);
    network.set_nodelay(true);
    network
        .map_response(|stream| TokioIo::new(Gathered::new(stream.into_inner())))
        .map_err(Into::into)
}

/// A channel that connects when it is first used: by `dial`, or over the machine's network where there is none.
pub fn channel(endpoint: &Endpoint, dial: Option<&Arc<dyn Dial>>) -> Channel {
    let Some(dial) = dial.cloned() else {
        return endpoint.connect_with_connector_lazy(network());
    };
    endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
        let address = uri.authority().map_or(String::new(), ToString::to_string);
        let dialling = dial.dial(address);
        async move {
            let stream = dialling.await?;
            io::Result::Ok(TokioIo::new(Gathered::new(stream)))
        }
    }))
}
