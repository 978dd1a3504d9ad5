//! Certificates read from their files, and the way to another node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use api::status::Reason;

use crate::config::Tls;
use crate::network::PeerTls;

/// A connection that is not there after this long is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle connection is asked whether it still lives, and how long it may take to say so.
pub(crate) const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));

/// A certificate or key that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{field}: can't read {}: {why}", path.display())]
    Read {
        /// The field that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: std::io::Error,
    },
    /// The files hold nothing that can be used together.
    #[error(
        "tls: {0}; expected PEM files: ca and cert with certificates, key with the key of cert"
    )]
    Unusable(String),
}

/// Both ends' configuration, seen to be good before anything is listened on.
pub(crate) fn load(tls: &Tls) -> Result<(ServerTlsConfig, ClientTlsConfig), TlsError> {
    let ca = Certificate::from_pem(read("tls.ca", &tls.ca)?);
    let identity = Identity::from_pem(read("tls.cert", &tls.cert)?, read("tls.key", &tls.key)?);
    let server = ServerTlsConfig::new()
        .identity(identity.clone())
        .client_ca_root(ca.clone())
        .client_auth_optional(!tls.require_client_certificates);
    let client = ClientTlsConfig::new().identity(identity).ca_certificate(ca);
    let unusable = |why: tonic::transport::Error| TlsError::Unusable(root(&why));
    Server::builder()
        .tls_config(server.clone())
        .map_err(unusable)?;
    Endpoint::from_static("https://localhost")
        .tls_config(client.clone())
        .map_err(unusable)?;
    Ok((server, client))
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|why| TlsError::Read {
        field,
        path: path.into(),
        why,
    })
}

/// The way to the node at `address`. Nothing is connected yet.
pub(crate) fn endpoint(address: &str, tls: &PeerTls) -> Result<Endpoint, tonic::transport::Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true);
    match tls {
        Some(tls) => endpoint.tls_config(tls.clone()),
        None => Ok(endpoint),
    }
}

/// Lets a call of another node through where it came with a certificate. The handshake has seen that
/// the cluster's authority signed it.
pub(crate) fn require_certificate(request: Request<()>) -> Result<Request<()>, Status> {
    match request.peer_certs() {
        Some(certificates) if !certificates.is_empty() => Ok(request),
        _ => {
            let what = "a node must show a certificate that the cluster's ca has signed";
            Err(Reason::NoCertificate.because(what).into())
        }
    }
}

/// The error at the bottom, which says most.
pub(crate) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
