//! The gate as the portal's own reverse proxy.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Uri};
use axum::response::{IntoResponse as _, Response};
use axum_reverse_proxy::{
    HostBehaviour, ProxyPolicy, ReverseProxy, TunnelCancellation, TunnelGuard,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::config::{Config, ConfigError};
use crate::desk::{Answer, Change, Showing, Visitor};
use crate::drain::drain;
use crate::metrics::Way;
use crate::visitor::Wanted;

/// A connection to the portal that is not there after so long is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection to the portal that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A tunnel or a long answer is a sign of its user, so often.
const SIGN_EVERY: Duration = Duration::from_secs(15);

/// The way to the portal.
#[derive(Clone)]
pub struct Proxy {
    app: Arc<App>,
    portal: ReverseProxy<HttpsConnector<HttpConnector>>,
}

impl Proxy {
    /// The way to `config.upstream`; `None` where there is none.
    ///
    /// # Errors
    /// Where the address can't be one, or there are no certificates to trust.
    pub fn new(config: &Config, app: &Arc<App>) -> Result<Option<Self>, ConfigError> {
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
        let mut policy = ProxyPolicy::new()
            .with_host_behaviour(HostBehaviour::Preserve)
            .with_upstream_timeout(Duration::from_secs(config.limits.upstream_s.into()));
        if config.limits.upload_bytes > 0 {
            policy = policy.with_max_request_body_bytes(config.limits.upload_bytes);
        }
        if config.https.is_some() {
            policy = policy.with_public_scheme("https");
        }
        let portal = ReverseProxy::new_with_client("", upstream, client).with_policy(policy);
        Ok(Some(Self {
            app: Arc::clone(app),
            portal,
        }))
    }

    /// All that is not the gate's own.
    pub fn router(self) -> Router {
        Router::new().fallback(pass).with_state(self)
    }

    /// While it lives, what is under way counts as a sign of its user, and a tunnel ends with the session.
    fn attend(&self, visitor: Visitor, tunnel: CancellationToken) -> DropGuard {
        let (desk, over) = (Arc::clone(&self.app.desk), CancellationToken::new());
        let guard = over.clone().drop_guard();
        tokio::spawn(async move {
            let mut visitor = visitor;
            while over
                .run_until_cancelled(tokio::time::sleep(SIGN_EVERY))
                .await
                .is_some()
            {
                match desk.look(&visitor, Showing::Sign).await {
                    Answer::Stands(view, change) if view.state.is_in() => {
                        if let Change::Set(token, _) = change {
                            visitor.token = Some(token);
                        }
                    }
                    _ => return tunnel.cancel(),
                }
            }
        });
        guard
    }
}

async fn pass(State(proxy): State<Proxy>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let app = &proxy.app;
    let visitor = app.visitor(&parts);
    let answer = app.desk.look(&visitor, Showing::Sign).await;
    if !answer.is_in() {
        drain(&parts.headers, body).await;
        let wanted = Wanted::of(&parts.method, &parts.uri, &parts.headers);
        return app.turn_away(Way::Proxy, &answer, &visitor, &wanted, &parts.headers);
    }
    app.answered(Way::Proxy, &answer, &visitor);
    let tunnel = CancellationToken::new();
    let guard = proxy.attend(visitor.clone(), tunnel.clone());
    parts.extensions.insert(TunnelGuard::new(guard));
    parts.extensions.insert(TunnelCancellation(tunnel));
    let request = Request::from_parts(parts, body);
    let mut response = match proxy.portal.proxy_request(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    };
    app.set_cookie(&mut response, &answer, &visitor);
    response
}
