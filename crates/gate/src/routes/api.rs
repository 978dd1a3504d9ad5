//! The API for apps. What it answers is described from here, as OpenAPI.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use client::tokens::{Kind, MAX_TOKEN_CHARS};
use serde::Serialize;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, INVITED_IN_S, no_store, retry_after};
use crate::desk::{Answer, Desk, Showing, Visitor};
use crate::metrics::Way;
use crate::view;

/// What the names of states mean.
const STATES: &str = "`invited`: come back for a place; `waiting`, `before` (opening), `paused`, `checking`: a place \
    in the queue; `seated`, `ending`: in; `lost`, `over`: arrive anew; `unreachable`, `closed`, `full`, `too-many`: ask \
    again.";
const MODES: [quota::Mode; 5] = [
    quota::Mode::Open,
    quota::Mode::Paused,
    quota::Mode::Draining,
    quota::Mode::Frozen,
    quota::Mode::Closed,
];
/// A program that shows what is over, and reads no more than the status, is to ask again after so many seconds.
const GONE_IN_S: u32 = 10;
const NO_TOKEN: &str = "Authorization: expected `Bearer` and a token, as POST /v1/arrive gives";

/// How somebody stands.
#[derive(Debug, Serialize, ToSchema)]
struct Turn {
    #[schema(schema_with = states)]
    state: &'static str,
    /// The token to show from now on, where it is another than the one that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 127)]
    token: Option<String>,
    /// People of the same class before them, of whom this gate knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<u64>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    /// Why nobody or fewer get in, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In how many seconds to ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask_in_s: Option<u32>,
    /// When people are let in again, in seconds since 1970, where the calendar says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_unix_s: Option<i64>,
    /// How many seconds are left of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_s: Option<u32>,
}

/// An estimated wait, in seconds.
#[derive(Debug, Serialize, ToSchema)]
struct Wait {
    /// Half of those who are told so wait for less.
    p50_s: u32,
    /// Nine in ten wait for less.
    p90_s: u32,
}

/// Why a request can't be answered.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// What is wrong, and what was expected.
    error: &'static str,
}

/// How the gate stands.
#[derive(Debug, Serialize, ToSchema)]
struct Status {
    /// The pool that sessions are of.
    pool: String,
    /// The region that the gate leases for.
    region: String,
    /// Whether people are let in.
    #[schema(schema_with = modes)]
    mode: &'static str,
    /// Why, in the operator's words; may be empty.
    reason: String,
    /// Whether arrivals are seated at once.
    open: bool,
    /// People who wait here.
    waiting: u64,
    /// Whether the coordinator answers.
    connected: bool,
}

/// The names of all states that the API answers with.
fn states() -> Object {
    let names = view::State::ALL.map(view::State::name);
    // Apps have no cookies, so are never told that they keep none.
    let told = names
        .into_iter()
        .filter(|name| *name != view::State::NoCookies.name());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(STATES))
        .enum_values(Some(
            std::iter::once(Answer::INVITED)
                .chain(told)
                .collect::<Vec<_>>(),
        ))
        .build()
}

/// The names of all modes of a pool.
fn modes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(MODES.map(mode)))
        .build()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Préau gate",
        description = "A place in the queue before a portal, and a session. Arrive once, show the token that each answer \
            gives, and ask again when the answer says so. A request to the portal shows the token in the header \
            `X-Preau-Ticket`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/preau")),
    modifiers(&Bearer),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme.description(Some("The token: a ticket, a seat, or an invitation"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

pub fn router() -> Router<Arc<App>> {
    let (router, document) = described().split_for_parts();
    let json = document.to_json().unwrap_or_default();
    let document = move || async move { ([("content-type", "application/json")], json) };
    Router::new().nest("/preau", router.route("/v1/openapi.json", get(document)))
}

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(arrive))
        .routes(routes!(ticket, leave))
        .routes(routes!(status))
}

/// The description of the API, as JSON.
pub fn document() -> String {
    described()
        .split_for_parts()
        .1
        .to_pretty_json()
        .unwrap_or_default()
}

/// Ask for a place.
///
/// Answers with an invitation: whoever shows it within two minutes to `GET /v1/ticket` has a place from then on, or
/// is in.
#[utoipa::path(
    post, path = "/v1/arrive", tag = "queue",
    responses(
        (status = 200, description = "The token to come back with", body = Turn),
        (status = 429, description = "Too many requests from the same address", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 503, description = "The coordinator can't be reached", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
async fn arrive(State(app): State<Arc<App>>, parts: request::Parts) -> Response {
    let visitor = app.visitor(&parts).without_token();
    let answer = app.desk.look(&visitor, Showing::Sign).await;
    app.answered(Way::Api, &answer, &visitor);
    stands(&app.desk, &answer)
}

/// Ask how one stands.
///
/// Asking is what keeps a place: ask again when the answer says so.
#[utoipa::path(
    get, path = "/v1/ticket", tag = "queue", security(("token" = [])),
    responses(
        (status = 200, description = "How one stands", body = Turn),
        (status = 401, description = "No token, or one that is good for nothing: arrive", body = Problem,
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
        (status = 404, description = "The place or the session is gone: arrive anew", body = Turn),
        (status = 429, description = "Too many requests", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 503, description = "The coordinator can't be reached, or nobody may come in or queue", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
async fn ticket(State(app): State<Arc<App>>, parts: request::Parts) -> Response {
    let Some(visitor) = bearer(&app, &parts) else {
        return unauthorized(NO_TOKEN);
    };
    let answer = app.desk.enter(&visitor).await;
    app.answered(Way::Api, &answer, &visitor);
    match answer {
        // The token was good for nothing, or there would be more to say.
        Answer::Invited(_) => unauthorized("the token is not good here, or no more; arrive anew"),
        answer => stands(&app.desk, &answer),
    }
}

/// Give up the place or the session.
#[utoipa::path(
    delete, path = "/v1/ticket", tag = "queue", security(("token" = [])),
    responses(
        (status = 204, description = "It is given up, or was gone"),
        (status = 401, description = "No token", body = Problem,
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
        (status = 503, description = "It can't be given up right now: ask again", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
async fn leave(State(app): State<Arc<App>>, parts: request::Parts) -> Response {
    let Some(visitor) = bearer(&app, &parts) else {
        return unauthorized(NO_TOKEN);
    };
    let view = app.desk.leave(&visitor).await;
    if view.state.is_gone() {
        return no_store(StatusCode::NO_CONTENT.into_response());
    }
    let answer = Answer::of(view);
    respond(&app.desk, StatusCode::SERVICE_UNAVAILABLE, &answer)
}

/// Ask how the gate stands.
#[utoipa::path(
    get, path = "/v1/status", tag = "gate",
    responses(
        (status = 200, description = "How the gate stands", body = Status),
        (status = 503, description = "The coordinator has not been heard yet", body = Turn,
            headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
async fn status(State(app): State<Arc<App>>) -> Response {
    let Some(glance) = app.desk.glance() else {
        return stands(&app.desk, &app.desk.not_yet());
    };
    let status = &glance.status;
    let (pool, region) = app.names.clone();
    no_store(
        Json(Status {
            pool,
            region,
            mode: mode(status.mode),
            reason: status.reason.clone(),
            open: status.open,
            waiting: status.waiting,
            connected: status.lease.connected,
        })
        .into_response(),
    )
}

/// The answer to an app's request for the portal that is not let through.
pub fn turned_away(desk: &Desk, answer: &Answer) -> Response {
    let mut response = respond(desk, StatusCode::TOO_MANY_REQUESTS, answer);
    if answer.is_gone() {
        // It is not for them to wait: but whoever goes by the status alone is not to ask at once.
        retry_after(&mut response, Some(GONE_IN_S));
    }
    response
}

fn stands(desk: &Desk, answer: &Answer) -> Response {
    use view::State::{Closed, Full, Lost, Over, TooMany, Unreachable};
    let status = match answer {
        Answer::Stands(view, _) => match view.state {
            TooMany => StatusCode::TOO_MANY_REQUESTS,
            Unreachable | Closed | Full => StatusCode::SERVICE_UNAVAILABLE,
            Lost | Over => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        },
        Answer::Invited(_) => StatusCode::OK,
    };
    respond(desk, status, answer)
}

fn respond(desk: &Desk, status: StatusCode, answer: &Answer) -> Response {
    let turn = Turn::of(desk, answer);
    let pause = turn.ask_in_s;
    let mut response = (status, Json(turn)).into_response();
    if status != StatusCode::OK {
        retry_after(&mut response, pause);
    }
    no_store(response)
}

impl Turn {
    fn of(desk: &Desk, answer: &Answer) -> Self {
        let state = answer.name();
        match answer {
            Answer::Invited(invitation) => Self {
                state,
                token: invitation.clone().or_else(|| desk.invitation()),
                ahead: None,
                wait: None,
                reason: None,
                ask_in_s: Some(INVITED_IN_S),
                opens_unix_s: None,
                left_s: None,
            },
            Answer::Stands(view, _) => Self {
                state,
                token: answer.anew().cloned(),
                ahead: view.ahead,
                wait: view.wait.map(|wait| Wait {
                    p50_s: wait.p50_s,
                    p90_s: wait.p90_s,
                }),
                reason: Some(view.reason.clone()).filter(|reason| !reason.is_empty()),
                ask_in_s: view.ask_in_s,
                opens_unix_s: view.opens_unix_s,
                left_s: view.left_s,
            },
        }
    }
}

/// Who shows a token; a cookie does not count here.
fn bearer(app: &App, parts: &request::Parts) -> Option<Visitor> {
    let token = token(&parts.headers)?;
    Some(Visitor {
        token: Some(token),
        ..app.visitor(parts).without_token()
    })
}

fn token(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = said.split_once(' ')?;
    let token = token.trim();
    let good = scheme.eq_ignore_ascii_case("bearer")
        && token.len() <= MAX_TOKEN_CHARS
        && Kind::of(token).is_some();
    good.then(|| token.to_owned())
}

fn unauthorized(error: &'static str) -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, Json(Problem { error })).into_response();
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    no_store(response)
}

const fn mode(mode: quota::Mode) -> &'static str {
    match mode {
        quota::Mode::Open => "open",
        quota::Mode::Paused => "paused",
        quota::Mode::Draining => "draining",
        quota::Mode::Frozen => "frozen",
        quota::Mode::Closed => "closed",
    }
}
