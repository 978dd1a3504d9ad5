//! The way to the portal.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum_reverse_proxy::{HostBehaviour, ProxyPolicy, ReverseProxy, XForwardedFor};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::forwarded::Forwarded;
use super::turn::Turn;
use crate::address::Trusted;
use crate::config::{Config, ConfigError};

/// A connection to the portal that is not there after so long is given up, and so is a WebSocket that does not open.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection to the portal that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A portal that can be reached.
#[derive(Clone)]
pub struct Portal {
    portal: ReverseProxy<HttpsConnector<HttpConnector>>,
    forwarded: Forwarded,
    within: Duration,
}

impl Portal {
    /// That at `config.upstream`; `None` where there is none.
    ///
    /// # Errors
    /// Where the address can't be one, or there are no certificates to trust.
    pub fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(upstream) = &config.upstream else {
            return Ok(None);
        };
        let expected = "http://host:port or https://host, without a path";
        let refuse = || ConfigError::new("upstream", format!("{upstream:?}"), expected);
        let uri: Uri = upstream.parse().map_err(|_| refuse())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.authority().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err(refuse());
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(tokio_rustls::rustls::crypto::ring::default_provider())
            .map_err(|why| ConfigError::new("upstream", why, "the system's certificates to trust"))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let within = Duration::from_secs(config.limits.upstream_s.into());
        // Its own time would count from the request's head on, and an upload may take longer.
        let mut policy = ProxyPolicy::new()
            .with_host_behaviour(HostBehaviour::Preserve)
            .with_x_forwarded_for(XForwardedFor::Preserve)
            .with_websocket_connect_timeout(within.min(CONNECT_WITHIN));
        if config.limits.upload_bytes > 0 {
            policy = policy.with_max_request_body_bytes(config.limits.upload_bytes);
        }
        let scheme = if config.https.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(Some(Self {
            portal: ReverseProxy::new_with_client("", upstream, client).with_policy(policy),
            forwarded: Forwarded {
                trusted: Trusted::new(config.trusted_proxies.clone()),
                scheme,
            },
            within,
        }))
    }

    /// The portal's answer, or that it gives none.
    pub async fn ask(&self, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        self.forwarded.tell(&mut parts);
        let turn = Turn::portals();
        let request = Request::from_parts(parts, turn.passing(body));
        tokio::select! {
            answer = self.portal.proxy_request(request) => match answer {
                Ok(response) => response.into_response(),
                Err(never) => match never {},
            },
            () = turn.overdue(self.within) => {
                tracing::warn!(within = ?self.within, "the portal does not begin to answer");
                (StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::http::HeaderMap;
    use axum::routing::{get, post};
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;

    use crate::stream::slow::Slow;

    const WITHIN: Duration = Duration::from_millis(400);

    fn portal(at: SocketAddr) -> Portal {
        let mut config = Config::new("ent", "normandie", Vec::new());
        config.upstream = Some(format!("http://{at}"));
        let portal = Portal::new(&config).unwrap().unwrap();
        Portal {
            within: WITHIN,
            ..portal
        }
    }

    async fn served() -> Portal {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/length", post(async |body: Bytes| body.len().to_string()))
            .route("/never", post(std::future::pending::<()>))
            .route(
                "/told",
                get(async |headers: HeaderMap| format!("{headers:?}")),
            )
            .layer(DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await });
        portal(at)
    }

    async fn asked(portal: &Portal, request: Request<Body>) -> (u16, String) {
        let (head, body) = portal.ask(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (head.status.as_u16(), text)
    }

    #[tokio::test]
    async fn an_upload_may_take_longer_than_the_portal_may() {
        let portal = served().await;
        let slow = Slow::body(12, WITHIN / 4);
        let upload = Request::post("/length").body(slow).unwrap();
        assert_eq!(asked(&portal, upload).await, (200, "48".into()));
    }

    #[tokio::test]
    async fn a_portal_that_begins_no_answer_or_takes_nothing_is_given_up() {
        let portal_that_thinks = served().await;
        let slow = Slow::body(4, WITHIN / 4);
        let upload = Request::post("/never").body(slow).unwrap();
        let given_up = (504, "Gateway Timeout".into());
        assert_eq!(asked(&portal_that_thinks, upload).await, given_up);
        // Connections are there, and nobody reads.
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let portal_that_is_deaf = portal(deaf.local_addr().unwrap());
        let upload = Request::post("/").body(vec![0; 64 << 20].into()).unwrap();
        assert_eq!(asked(&portal_that_is_deaf, upload).await, given_up);
    }

    #[tokio::test]
    async fn the_portal_hears_of_where_from_by_the_gate_alone() {
        let mut portal = served().await;
        portal.forwarded.trusted = Trusted::new(Vec::new());
        let peer: SocketAddr = "[::ffff:192.0.2.7]:4711".parse().unwrap();
        let request = Request::get("/told")
            .header("host", "ent.example")
            .header("x-forwarded-for", "10.0.0.1")
            .header("forwarded", "for=10.0.0.1")
            .header("connection", "x-forwarded-for, x-forwarded-proto")
            .extension(axum::extract::ConnectInfo(peer));
        let (status, told) = asked(&portal, request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, 200);
        for told_of in [
            "\"x-forwarded-for\": \"192.0.2.7\"",
            "\"x-forwarded-host\": \"ent.example\"",
            "\"x-forwarded-proto\": \"http\"",
            "\"host\": \"ent.example\"",
        ] {
            assert!(told.contains(told_of), "{told_of}: {told}");
        }
        assert!(!told.contains("10.0.0.1"), "{told}");
    }
}
