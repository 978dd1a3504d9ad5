//! The listener: what a connection may cost before anybody is known to be behind it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::address::Trusted;
use crate::open::{Open, Rest};
use crate::stream::{Held, fed};

/// The pause where the system has no connection to give, such as where no file can be opened any more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What whoever comes beyond the bound is told, in at most this time.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const FULL_WITHIN: Duration = Duration::from_millis(100);
/// Requests under way when the gate stops have so long.
pub const DRAIN: Duration = Duration::from_secs(10);

/// What is borne of connections.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// At a time; an eighth more while others close that rest between two requests.
    pub connections: usize,
    /// Bytes of a request's headers, at least 8 KiB.
    pub header_bytes: usize,
    /// Until they are there; a connection that idles between two requests has as long, and so has TLS to come up.
    pub header_time: Duration,
    /// For which the other end may take nothing of an answer, or send nothing of a body.
    pub stall_time: Duration,
    /// Whose connections are many people's. Any other address has a quarter of them at the most, one of IPv6 by its
    /// /56; and the /48 around that has half.
    pub trusted: Trusted,
}

/// Why certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or has not what it should.
    #[error("{field}: {path}: {why}; expected {expected}")]
    File {
        /// Which.
        field: &'static str,
        /// The file.
        path: String,
        /// Why.
        why: String,
        /// What would do.
        expected: &'static str,
    },
    /// They don't fit together.
    #[error("https: {0}; expected a certificate and its key")]
    Mismatch(#[from] tokio_rustls::rustls::Error),
}

/// TLS by a certificate, with those that sign it, and its key.
///
/// # Errors
/// Where a file can't be read or has none, or the key is another certificate's.
pub fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let refuse = |field, path: &Path, why: String, expected| TlsError::File {
        field,
        path: path.display().to_string(),
        why,
        expected,
    };
    let bad_cert = |why| refuse("https.cert", cert, why, "certificates in PEM");
    let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert)
        .map_err(|why| bad_cert(why.to_string()))?
        .collect();
    let certs = certs.map_err(|why| bad_cert(why.to_string()))?;
    if certs.is_empty() {
        return Err(bad_cert("no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|why| refuse("https.key", key, why.to_string(), "a private key in PEM"))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until it is told to stop, and then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    app: Router,
    stop: CancellationToken,
) {
    let open = Open::new(bounds.connections);
    let tasks = TaskTracker::new();
    let http = http(&bounds);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken on");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ip = peer.ip().to_canonical();
        let Some(place) = Open::take(&open, ip, bounds.trusted.contains(ip)) else {
            refuse(stream);
            continue;
        };
        // Where it can't be set, answers come later.
        let _ = stream.set_nodelay(true);
        let (stall, rest) = (bounds.stall_time, place.rest(&stop));
        let stream = Held::new(stream, stall, place);
        let (http, app, tls) = (http.clone(), app.clone(), tls.clone());
        let handshake = bounds.header_time;
        tasks.spawn(async move {
            match tls {
                None => attend(stream, peer, stall, http, app, rest).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(handshake, tls.accept(stream)).await {
                        attend(stream, peer, stall, http, app, rest).await;
                    }
                }
            }
        });
    }
    drop(listener);
    tasks.close();
    if timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "closed with requests under way");
    }
}

fn http(bounds: &Bounds) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time)
        .max_buf_size(bounds.header_bytes.max(8 << 10))
        .max_header_size(bounds.header_bytes);
    http
}

/// Answers the requests of one connection.
async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    stall: Duration,
    http: http1::Builder,
    app: Router,
    rest: Arc<Rest>,
) {
    let close = rest.close();
    let service = service_fn(move |request: Request<Incoming>| {
        let body = |body: Incoming| match hyper::body::Body::is_end_stream(&body) {
            true => Body::empty(),
            false => Body::new(fed(body, stall)),
        };
        let (mut request, app) = (request.map(body), app.clone());
        request.extensions_mut().insert(ConnectInfo(peer));
        let busy = Rest::interrupt(&rest);
        async move {
            let response = match app.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok::<_, Infallible>(busy.until_taken(response))
        }
    });
    let connection = http
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // How a connection ends is its other end's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Says that there are too many, without waiting for anything.
fn refuse(mut stream: TcpStream) {
    // Into the socket's buffer, which is empty: nothing is kept of it here.
    if stream.try_write(FULL).is_ok() {
        tokio::spawn(async move { timeout(FULL_WITHIN, stream.shutdown()).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use bytes::Bytes;
    use std::time::Instant;
    use tokio::io::AsyncReadExt as _;

    const HEADER_BYTES: usize = 8 << 10;
    const HEADER_TIME: Duration = Duration::from_millis(400);

    type Started = (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>);

    async fn start(shared: bool) -> Started {
        start_with(shared, None).await
    }

    async fn start_with(shared: bool, tls: Option<TlsAcceptor>) -> Started {
        start_by(shared, tls, HEADER_TIME).await
    }

    async fn start_by(shared: bool, tls: Option<TlsAcceptor>, header_time: Duration) -> Started {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let slow = get(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        });
        let app = Router::new()
            .route("/", get("here"))
            .route("/slow", slow)
            .route("/body", post(async |body: Bytes| body))
            .route("/echo", get(echo));
        let trusted = if shared { "127.0.0.0/8" } else { "10.0.0.0/8" };
        let bounds = Bounds {
            connections: 16,
            header_bytes: HEADER_BYTES,
            header_time,
            stall_time: HEADER_TIME,
            trusted: Trusted::new(vec![trusted.parse().unwrap()]),
        };
        let served = serve(listener, tls, bounds, app, stop.clone());
        (address, stop, tokio::spawn(served))
    }

    /// Becomes another protocol, which says everything twice.
    async fn echo(mut request: Request<Body>) -> impl IntoResponse {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            while let Ok(byte) = stream.read_u8().await {
                stream.write_all(&[byte, byte]).await.unwrap();
            }
        });
        let mut headers = HeaderMap::new();
        headers.insert("upgrade", "echo".parse().unwrap());
        headers.insert("connection", "upgrade".parse().unwrap());
        (axum::http::StatusCode::SWITCHING_PROTOCOLS, headers)
    }

    async fn connect(address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.unwrap()
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // A reset after the answer is an end as well.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8(text).unwrap()
    }

    async fn ask(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn answers_and_closes_who_is_slow_or_idle() {
        let (address, _stop, _task) = start(true).await;
        let mut stream = connect(address).await;
        ask(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let began = Instant::now();
        assert!(said(&mut stream).await.ends_with("here"));
        assert!(began.elapsed() >= HEADER_TIME / 2);
        let mut slow = connect(address).await;
        ask(&mut slow, "GET / HTTP/1.1\r\nHost:").await;
        assert!(!said(&mut slow).await.contains("here"));
        let mut silent = connect(address).await;
        assert_eq!(said(&mut silent).await, "");
    }

    #[tokio::test]
    async fn long_headers_are_refused() {
        let (address, _stop, _task) = start(true).await;
        let mut stream = connect(address).await;
        let long = "a".repeat(HEADER_BYTES);
        ask(
            &mut stream,
            &format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"),
        )
        .await;
        let answer = said(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn one_address_has_a_part_of_the_connections_and_all_have_the_bound() {
        for (shared, most) in [(false, 4), (true, 16)] {
            let (address, _stop, _task) = start(shared).await;
            let mut held = Vec::new();
            for _ in 0..most {
                let mut stream = connect(address).await;
                ask(&mut stream, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
                held.push(stream);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let refused = said(&mut connect(address).await).await;
            assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
            for mut stream in held {
                assert!(said(&mut stream).await.ends_with("slow"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut stream = connect(address).await;
            ask(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(said(&mut stream).await.ends_with("here"));
        }
    }

    #[tokio::test]
    async fn whoever_announces_a_body_and_sends_none_is_given_up() {
        let (address, _stop, _task) = start(true).await;
        let mut stream = connect(address).await;
        let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
        ask(&mut stream, &format!("{head}ab")).await;
        let began = Instant::now();
        let answer = said(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(began.elapsed() >= HEADER_TIME / 2);
        let mut stream = connect(address).await;
        ask(&mut stream, &format!("{head}abcd")).await;
        assert!(said(&mut stream).await.ends_with("abcd"));
    }

    #[tokio::test]
    async fn a_connection_that_was_upgraded_counts_and_may_be_silent() {
        let (address, _stop, _task) = start(false).await;
        let mut upgraded = Vec::new();
        for _ in 0..4 {
            let mut stream = connect(address).await;
            let head =
                "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
            ask(&mut stream, head).await;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await.unwrap());
            }
            assert!(answer.starts_with(b"HTTP/1.1 101"));
            upgraded.push(stream);
        }
        tokio::time::sleep(2 * HEADER_TIME).await;
        let refused = said(&mut connect(address).await).await;
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        for stream in &mut upgraded {
            stream.write_u8(b'x').await.unwrap();
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"xx");
        }
        drop(upgraded);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = connect(address).await;
        ask(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(said(&mut stream).await.ends_with("here"));
    }

    #[tokio::test]
    async fn where_all_are_taken_the_one_that_has_rested_longest_makes_room() {
        let (address, _stop, _task) = start_by(false, None, Duration::from_secs(20)).await;
        let from = async |host: u8| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, host], 0).into()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let answered = async |stream: &mut TcpStream| {
            ask(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut answer = Vec::new();
            while !answer.ends_with(b"here") {
                answer.push(stream.read_u8().await.unwrap());
            }
        };
        let mut held = Vec::new();
        for nth in 0..16 {
            let mut stream = from(1 + nth / 4).await;
            answered(&mut stream).await;
            held.push(stream);
        }
        // The first has been used again, so that the second has rested longest.
        answered(&mut held[0]).await;
        let mut newcomer = from(9).await;
        answered(&mut newcomer).await;
        assert_eq!(
            held[1].read(&mut [0]).await.unwrap(),
            0,
            "it was not closed"
        );
        held.remove(1);
        for stream in &mut held {
            answered(stream).await;
        }
        // None that is busy makes room.
        for stream in held.iter_mut().chain([&mut newcomer]) {
            ask(stream, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let refused = said(&mut from(9).await).await;
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_under_way_is_answered_before_the_end() {
        let (address, stop, task) = start(true).await;
        let mut stream = connect(address).await;
        ask(&mut stream, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
        assert!(said(&mut stream).await.ends_with("slow"));
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn tls_is_http_1_and_has_to_come_up_in_time() {
        use tokio_rustls::TlsConnector;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore};
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["portal.example".into()]).unwrap();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let Err(error) = tls(&key, &cert) else {
            panic!("the files are in each other's place");
        };
        assert!(error.to_string().contains("certificates in PEM"), "{error}");
        let tls = tls(&cert, &key).unwrap();
        let (address, _stop, _task) = start_with(true, Some(tls)).await;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let name = "portal.example".try_into().unwrap();
        let stream = connect(address).await;
        let mut stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"here"));
        let mut silent = connect(address).await;
        assert_eq!(said(&mut silent).await, "");
    }

    #[test]
    fn certificates_that_are_not_there_are_named() {
        let Err(error) = tls(Path::new("/no/cert.pem"), Path::new("/no/key.pem")) else {
            panic!("no such file");
        };
        assert!(
            error.to_string().starts_with("https.cert: /no/cert.pem: "),
            "{error}"
        );
    }
}
