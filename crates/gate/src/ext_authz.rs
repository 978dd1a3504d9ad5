//! Envoy's external authorization, over gRPC.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response as HttpResponse;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};
use tonic::{Request, Response, Status};

use crate::address::{Trusted, truncated};
use crate::app::App;
use crate::desk::Showing;
use crate::metrics::Way;
use crate::stream::Held;
use crate::visitor::Wanted;

/// What of Envoy's protocol is used.
pub mod v3 {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("envoy.service.auth.v3");
}

use v3::authorization_server::{Authorization, AuthorizationServer};
use v3::check_response::HttpResponse as Verdict;

/// Longest page that is given to Envoy, in bytes: none is longer.
const MAX_PAGE_BYTES: usize = 64 << 10;
/// google.rpc.Code: OK and PERMISSION_DENIED.
const OK: i32 = 0;
const DENIED: i32 = 7;

/// Longest question, in bytes: a request's head, of which Envoy takes 60 KiB by default.
const MAX_QUESTION_BYTES: usize = 256 << 10;
/// Connections at a time, of which Envoy has one for each thread, and questions at a time by each.
const CONNECTIONS: usize = 256;
const QUESTIONS: u32 = 1_024;
/// A question is answered within so long, or not at all: proxies wait for less.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For which the other end may take nothing of what it is sent; and how often it is asked whether it is there, which
/// it has to say as soon.
const STALL_TIME: Duration = Duration::from_secs(60);
const THERE_EVERY: Duration = Duration::from_secs(30);
const THERE_WITHIN: Duration = Duration::from_secs(10);

/// What a listener bears.
#[derive(Debug)]
pub struct Bounds {
    /// Who may ask: whoever does is believed about where a request comes from.
    pub trusted: Trusted,
    /// How long questions under way have when the gate stops.
    pub drain: Duration,
}

/// Answers Envoy until it is told to stop, and then finishes what is under way.
pub async fn serve(listener: TcpListener, app: Arc<App>, bounds: Bounds, stop: CancellationToken) {
    let (places, mut told) = (Arc::new(Semaphore::new(CONNECTIONS)), false);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = incoming.filter_map(move |accepted| match accepted {
        Ok(stream) => match admit(stream, &bounds.trusted, &places) {
            Ok(admitted) => Some(Ok(admitted)),
            Err(why) => {
                // Once: whoever is refused may well come again at once.
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        why,
                        "ext_authz: a connection is closed, and so are others like it"
                    );
                }
                None
            }
        },
        Err(error) => Some(Err(error)),
    });
    let checks = AuthorizationServer::new(Checks { app });
    let served = Server::builder()
        .timeout(ANSWER_WITHIN)
        .max_concurrent_streams(QUESTIONS)
        .http2_keepalive_interval(Some(THERE_EVERY))
        .http2_keepalive_timeout(Some(THERE_WITHIN))
        .add_service(checks.max_decoding_message_size(MAX_QUESTION_BYTES))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let too_long = async {
        stop.cancelled().await;
        sleep(bounds.drain).await;
    };
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::error!(%error, "Envoy is answered no more");
        },
        () = too_long => tracing::warn!("closed while Envoy has connections open"),
    }
}

type Admitted = Held<TcpStream, OwnedSemaphorePermit>;

/// Takes a connection on, or says why not.
fn admit(
    stream: TcpStream,
    trusted: &Trusted,
    places: &Arc<Semaphore>,
) -> Result<Admitted, String> {
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    if !trusted.contains(peer.ip()) {
        let from = truncated(peer.ip());
        return Err(format!(
            "it comes from {from}, and by none of trusted_proxies"
        ));
    }
    let place = Arc::clone(places).try_acquire_owned();
    let place = place.map_err(|_| format!("{CONNECTIONS} are open"))?;
    Ok(Held::new(stream, STALL_TIME, place))
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.get_ref().connect_info()
    }
}

/// Answers whether requests may go through.
#[derive(Debug)]
pub struct Checks {
    app: Arc<App>,
}

#[tonic::async_trait]
impl Authorization for Checks {
    async fn check(
        &self,
        request: Request<v3::CheckRequest>,
    ) -> Result<Response<v3::CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let http = attributes.request.and_then(|request| request.http);
        let http = http.ok_or_else(|| {
            Status::invalid_argument(
                "attributes.request.http: nothing given, expected the request's",
            )
        })?;
        let headers = headers(&http);
        let method = http.method.parse().unwrap_or(Method::GET);
        let wanted = Wanted::new(&method, &http.path, &headers);
        let source = attributes.source.and_then(|source| source.address);
        let source = source.and_then(|address| address.socket_address);
        let peer: Option<IpAddr> = source.and_then(|socket| socket.address.parse().ok());
        // Envoy's own peer: with a proxy before Envoy, that proxy.
        let visitor = self
            .app
            .reader
            .visitor(peer.map(|ip| (ip, 0).into()), &headers);
        let answer = self.app.desk.look(&visitor, Showing::Sign).await;
        let verdict = if answer.is_in() {
            self.app.answered(Way::Envoy, &answer, &visitor);
            let mut response = HttpResponse::default();
            self.app.set_cookie(&mut response, &answer, &visitor);
            let response_headers_to_add = options(response.headers());
            let ok = v3::OkHttpResponse {
                response_headers_to_add,
            };
            (OK, Verdict::OkResponse(ok))
        } else {
            let app = &self.app;
            let response = app.turn_away(Way::Envoy, &answer, &visitor, &wanted, &headers);
            (DENIED, Verdict::DeniedResponse(denied(response).await))
        };
        Ok(Response::new(v3::CheckResponse {
            status: Some(v3::Status { code: verdict.0 }),
            http_response: Some(verdict.1),
        }))
    }
}

async fn denied(response: HttpResponse) -> v3::DeniedHttpResponse {
    let (parts, body) = response.into_parts();
    // What is here is in memory already.
    let body = to_bytes(body, MAX_PAGE_BYTES).await.unwrap_or_default();
    v3::DeniedHttpResponse {
        status: Some(v3::HttpStatus {
            code: parts.status.as_u16().into(),
        }),
        headers: options(&parts.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn options(headers: &HeaderMap) -> Vec<v3::HeaderValueOption> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?.to_owned();
        let key = name.as_str().to_owned();
        Some(v3::HeaderValueOption {
            header: Some(v3::HeaderValue { key, value }),
        })
    });
    texts.collect()
}

/// The request's headers, without those that Envoy makes of the request line.
fn headers(http: &v3::attribute_context::HttpRequest) -> HeaderMap {
    let pairs = http
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(':'));
    let pairs = pairs.filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use crate::config::Config;
    use crate::gate;

    /// How a connection of HTTP/2 begins: the preface, and settings with nothing in them.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SOON: Duration = Duration::from_secs(20);

    async fn start(trusted: &str) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let app = gate::app(&Config::new("ent", "normandie", Vec::new())).unwrap();
        let bounds = Bounds {
            trusted: Trusted::new(vec![trusted.parse().unwrap()]),
            drain: Duration::from_millis(100),
        };
        let served = serve(listener, app, bounds, stop.clone());
        (address, stop, tokio::spawn(served))
    }

    /// A connection that is answered; `None` where it is closed.
    async fn connect(address: SocketAddr) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(HELLO).await.ok()?;
        let answered = timeout(SOON, stream.read_u8()).await.unwrap();
        answered.ok().map(|_| stream)
    }

    #[tokio::test]
    async fn only_trusted_proxies_may_ask_and_so_many_at_a_time() {
        let (address, _stop, _task) = start("10.0.0.0/8").await;
        assert!(connect(address).await.is_none());
        let (address, _stop, _task) = start("127.0.0.0/8").await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(connect(address).await.unwrap());
        }
        assert!(connect(address).await.is_none());
        drop(held);
        let again = async {
            while connect(address).await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, again).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_stays_open_does_not_keep_the_gate_from_its_end() {
        let (address, stop, task) = start("127.0.0.0/8").await;
        let answered = connect(address).await.unwrap();
        let silent = TcpStream::connect(address).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        stop.cancel();
        timeout(SOON, task).await.unwrap().unwrap();
        drop((answered, silent));
    }
}
