//! What people's browsers ask the gate itself.

use std::sync::Arc;

use axum::extract::{Form, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::app::{App, ENTER, INVITED_IN_S, enter, no_store, see_other};
use crate::desk::{Answer, Showing, Visitor};
use crate::metrics::Way;
use crate::page::{SESSION_JS, Words};
use crate::view::{self, View};
use crate::visitor::{languages, local};

const SESSION: &str = "/preau/session";

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(ENTER, get(come))
        .route("/preau/turn", get(turn))
        .route("/preau/leave", post(leave))
        .route("/preau/again", post(again))
        .route(SESSION, get(session))
        .route("/preau/session.js", get(session_js))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    to: String,
    lang: Option<String>,
    /// Whether a page looks by itself.
    look: Option<String>,
    /// What has just been given up.
    left: Option<String>,
}

impl Asked {
    fn to(&self) -> &str {
        local(&self.to).unwrap_or("/")
    }
}

/// Whoever was invited takes a place.
async fn come(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    parts: request::Parts,
) -> Response {
    let visitor = app.visitor(&parts);
    let answer = app.desk.enter(&visitor).await;
    app.answered(Way::Page, &answer, &visitor);
    let page = |view: &View| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        app.page(
            status,
            view,
            asked.to(),
            asked.lang.as_deref(),
            &parts.headers,
        )
    };
    let mut response = match &answer {
        answer if answer.is_in() => see_other(asked.to()),
        Answer::Stands(view, _) => page(view),
        Answer::Invited(_) if visitor.token.is_some() => see_other(&enter(asked.to())),
        Answer::Invited(_) => page(&View::of(view::State::NoCookies)),
    };
    app.set_cookie(&mut response, &answer, &visitor);
    response
}

#[derive(Debug, Serialize)]
struct Turn {
    state: &'static str,
    ask_in_s: Option<u32>,
    left_s: Option<u32>,
    page: Words,
}

/// How somebody stands, in words.
async fn turn(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    parts: request::Parts,
) -> Response {
    let visitor = app.visitor(&parts);
    let showing = match asked.look {
        Some(_) => Showing::Look,
        None => Showing::Sign,
    };
    let answer = app.desk.look(&visitor, showing).await;
    app.answered(Way::Page, &answer, &visitor);
    let language = app
        .page
        .language(asked.lang.as_deref(), languages(&parts.headers));
    let view = match &answer {
        Answer::Stands(view, _) => view.clone(),
        Answer::Invited(_) => View {
            ask_in_s: Some(INVITED_IN_S),
            ..View::of(view::State::Checking)
        },
    };
    let turn = Turn {
        state: answer.name(),
        ask_in_s: view.ask_in_s,
        left_s: view.left_s,
        page: app.page.words(&view, language),
    };
    let mut response = Json(turn).into_response();
    app.set_cookie(&mut response, &answer, &visitor);
    no_store(response)
}

/// Somebody gives up the place or the session.
async fn leave(State(app): State<Arc<App>>, parts: request::Parts) -> Response {
    let view = app.desk.leave(&app.visitor(&parts));
    let mut response = see_other(&format!("{SESSION}?left={}", view.state.name()));
    app.clear_cookie(&mut response);
    response
}

/// Somebody whose place or session is gone comes anew.
async fn again(
    State(app): State<Arc<App>>,
    parts: request::Parts,
    Form(asked): Form<Asked>,
) -> Response {
    let to = asked.to();
    let before = app.visitor(&parts);
    let visitor = Visitor {
        token: None,
        ..before
    };
    let answer = app.desk.look(&visitor, Showing::Sign).await;
    app.answered(Way::Page, &answer, &visitor);
    let mut response = match &answer {
        Answer::Stands(view, _) if !view.state.is_in() && !view.state.is_queued() => app.page(
            StatusCode::SERVICE_UNAVAILABLE,
            view,
            to,
            None,
            &parts.headers,
        ),
        _ => see_other(&enter(to)),
    };
    app.set_cookie(&mut response, &answer, &visitor);
    response
}

/// What is left of the session.
async fn session(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
    parts: request::Parts,
) -> Response {
    let visitor = app.visitor(&parts);
    let answer = app.desk.look(&visitor, Showing::Look).await;
    app.answered(Way::Page, &answer, &visitor);
    let view = match (&answer, asked.left.as_deref()) {
        (Answer::Stands(view, _), _) if view.state.is_queued() => {
            return see_other(&enter(asked.to()));
        }
        (Answer::Stands(view, _), _) => view.clone(),
        (Answer::Invited(_), Some("over")) => View::of(view::State::Over),
        (Answer::Invited(_), Some("lost")) => View::of(view::State::Lost),
        (Answer::Invited(_), _) => return see_other("/"),
    };
    app.page(
        StatusCode::OK,
        &view,
        asked.to(),
        asked.lang.as_deref(),
        &parts.headers,
    )
}

/// What a portal's pages may include to show how much is left.
async fn session_js() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, SESSION_JS).into_response()
}
