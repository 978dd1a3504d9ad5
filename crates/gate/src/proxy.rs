//! The gate as the portal's own reverse proxy.

mod caches;
mod forwarded;
mod portal;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use axum_reverse_proxy::{TunnelCancellation, TunnelGuard};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::desk::{Showing, Visitor};
use crate::drain::drain;
use crate::metrics::Way;
use crate::visitor::Wanted;

pub use portal::Portal;

/// A tunnel or a long answer is a sign of its user, so often.
const SIGN_EVERY: Duration = Duration::from_secs(15);

/// The portal, for whoever may use it.
#[derive(Clone)]
pub struct Proxy {
    app: Arc<App>,
    portal: Portal,
}

impl Proxy {
    /// Lets people through to a portal as the desk says.
    pub fn new(app: &Arc<App>, portal: Portal) -> Self {
        let app = Arc::clone(app);
        Self { app, portal }
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
                let answer = desk.look(&visitor, Showing::Sign).await;
                if !answer.is_in() {
                    return tunnel.cancel();
                }
                if let Some(token) = answer.anew() {
                    visitor.token = Some(token.clone());
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
    let mut response = proxy.portal.ask(request).await;
    if let Some(cookie) = app.cookie(&answer, &visitor) {
        caches::keep_private(response.headers_mut());
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
