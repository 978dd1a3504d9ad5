//! What proxies ask.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};

use crate::app::{App, no_store, peer};
use crate::desk::{Answer, Showing, Visitor};
use crate::drain::drain;
use crate::metrics::Way;
use crate::visitor::Wanted;

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/preau/auth", get(auth))
        .route("/preau/wait", any(wait))
        .route("/preau/forward", any(forward))
}

/// Whether a request may go through, in a status alone: what nginx asks.
async fn auth(State(app): State<Arc<App>>, parts: request::Parts) -> Response {
    let visitor = app.visitor(&parts);
    let answer = app.desk.look(&visitor, Showing::Sign).await;
    app.answered(Way::Auth, &answer, &visitor);
    if !answer.is_in() {
        return no_store(StatusCode::UNAUTHORIZED.into_response());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    app.set_cookie(&mut response, &answer, &visitor);
    no_store(response)
}

/// The answer to who was not let through: what nginx passes on.
async fn wait(State(app): State<Arc<App>>, request: Request) -> Response {
    let (wanted, visitor, answer, headers) =
        match asked(&app, request, "x-original-uri", "x-original-method").await {
            Ok(asked) => asked,
            Err(header) => return unheard(header),
        };
    app.turn_away(Way::Wait, &answer, &visitor, &wanted, &headers)
}

/// Both in one: 200 lets through, and anything else is passed on. What Traefik and Caddy ask.
async fn forward(State(app): State<Arc<App>>, request: Request) -> Response {
    let (wanted, visitor, answer, headers) =
        match asked(&app, request, "x-forwarded-uri", "x-forwarded-method").await {
            Ok(asked) => asked,
            Err(header) => return unheard(header),
        };
    if !answer.is_in() {
        return app.turn_away(Way::Forward, &answer, &visitor, &wanted, &headers);
    }
    app.answered(Way::Forward, &answer, &visitor);
    let mut response = StatusCode::OK.into_response();
    app.set_cookie(&mut response, &answer, &visitor);
    no_store(response)
}

/// Who wants what by the headers of a proxy, and how they stand; or the header that is missing.
async fn asked(
    app: &App,
    request: Request,
    uri: &'static str,
    method: &str,
) -> Result<(Wanted, Visitor, Answer, HeaderMap), &'static str> {
    let (parts, body) = request.into_parts();
    // A stranger's body is not waited for.
    let wanted = app.reader.wanted(peer(&parts), &parts.headers, uri, method);
    let wanted = wanted.ok_or(uri)?;
    drain(&parts.headers, body).await;
    let visitor = app.visitor(&parts);
    let answer = app.desk.look(&visitor, Showing::Sign).await;
    Ok((wanted, visitor, answer, parts.headers))
}

fn unheard(header: &str) -> Response {
    let why = format!(
        "{header}: nothing given, or not by one of trusted_proxies; expected the path that was asked for\n"
    );
    no_store((StatusCode::BAD_REQUEST, why).into_response())
}
