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
use crate::desk::{Answer, Showing};
use crate::metrics::Way;
use crate::page::{SESSION_JS, Words};
use crate::view::{self, View};
use crate::visitor::{is_from_elsewhere, languages, local};

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
    if is_from_elsewhere(&parts.headers) {
        return not_from_here();
    }
    let view = app.desk.leave(&app.visitor(&parts)).await;
    if !view.state.is_gone() {
        // It could not be given up: there they read how they stand, and may try again.
        return see_other(SESSION);
    }
    let mut response = see_other(&format!("{SESSION}?left={}", view.state.name()));
    app.clear_cookie(&mut response);
    response
}

/// Somebody whose place or session is gone comes anew. In another tab they may have done so already.
async fn again(
    State(app): State<Arc<App>>,
    parts: request::Parts,
    Form(asked): Form<Asked>,
) -> Response {
    if is_from_elsewhere(&parts.headers) {
        return not_from_here();
    }
    let to = asked.to();
    let before = app.visitor(&parts);
    let stands = app.desk.look(&before, Showing::Sign).await;
    let is_gone = stands.is_gone();
    let (visitor, answer) = match is_gone {
        true => {
            let visitor = before.without_token();
            let answer = app.desk.look(&visitor, Showing::Sign).await;
            (visitor, answer)
        }
        false => (before, stands),
    };
    app.answered(Way::Page, &answer, &visitor);
    let has_place = |view: &View| view.state.is_in() || view.state.is_queued();
    match &answer {
        Answer::Stands(view, _) if is_gone && !has_place(view) => {
            // Where they are going they are told why not, as those who come for the first time.
            let mut response = see_other(to);
            app.clear_cookie(&mut response);
            response
        }
        answer => {
            let mut response = see_other(&enter(to));
            app.set_cookie(&mut response, answer, &visitor);
            response
        }
    }
}

/// A page of another site does not press our buttons: nothing is changed.
fn not_from_here() -> Response {
    let why = "sec-fetch-site, origin: another site's; expected the gate's own page\n";
    no_store((StatusCode::FORBIDDEN, why).into_response())
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
