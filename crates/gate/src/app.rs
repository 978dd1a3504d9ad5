//! What all requests are answered from, and the answers that several of them share.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse as _, Response};

use crate::address::truncated;
use crate::desk::{Answer, Desk, Visitor};
use crate::metrics::{Metrics, Way};
use crate::page::Page;
use crate::routes::api;
use crate::view::View;
use crate::visitor::{By, Reader, Wanted, languages};

/// Where a browser takes a place.
pub const ENTER: &str = "/preau/enter";
/// Whoever was invited is to come back after so many seconds: at once, but for apps that wait anyway.
pub const INVITED_IN_S: u32 = 1;

/// What requests are answered from.
#[derive(Debug)]
pub struct App {
    /// Who may come in.
    pub desk: Arc<Desk>,
    /// What people see.
    pub page: Page,
    /// How requests are read.
    pub reader: Reader,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The pool and the region, by name.
    pub names: (String, String),
}

impl App {
    /// Who makes a request.
    pub fn visitor(&self, parts: &request::Parts) -> Visitor {
        self.reader.visitor(peer(parts), &parts.headers)
    }

    /// Counts an answer, and logs it: without who it was, and with no more of where from than the network.
    pub fn answered(&self, way: Way, answer: &Answer, visitor: &Visitor) {
        self.metrics.answered(way, answer);
        // A proxy that asks in a status alone passes nothing on to anybody.
        if way != Way::Auth {
            self.desk.told(answer, visitor);
        }
        let from = visitor.address.map(truncated).map(tracing::field::display);
        tracing::debug!(way = way.name(), state = answer.name(), from, "answered");
    }

    /// The answer to a request for the portal by whoever may not come in, and, where `answer` has it that they
    /// may by now, the way back to it.
    pub fn turn_away(
        &self,
        way: Way,
        answer: &Answer,
        visitor: &Visitor,
        wanted: &Wanted,
        headers: &HeaderMap,
    ) -> Response {
        self.answered(way, answer, visitor);
        let mut response = match answer {
            answer if answer.is_in() => again(&wanted.to),
            answer if wanted.by == By::Program => api::turned_away(&self.desk, answer),
            Answer::Invited(_) if wanted.by == By::Visit => see_other(&enter(&wanted.to)),
            Answer::Stands(view, _) if wanted.by == By::Visit => self.page(
                StatusCode::SERVICE_UNAVAILABLE,
                view,
                &wanted.to,
                None,
                headers,
            ),
            // What was sent is lost in any case, and the page is to ask again by itself. The cookie that another
            // site's form does not show is shown by then.
            Answer::Invited(_) => see_other(&wanted.to),
            Answer::Stands(..) => see_other(&enter(&wanted.to)),
        };
        // An invitation is for who comes by themselves. Any other request may have been made without the cookie that
        // there is.
        if wanted.by == By::Visit || !matches!(answer, Answer::Invited(_)) {
            self.set_cookie(&mut response, answer, visitor);
        }
        response
    }

    /// The page of a view.
    pub fn page(
        &self,
        status: StatusCode,
        view: &View,
        to: &str,
        language: Option<&str>,
        headers: &HeaderMap,
    ) -> Response {
        let language = self.page.language(language, languages(headers));
        let mut response = (status, self.page.html(view, language, to)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(CONTENT_SECURITY_POLICY, self.page.csp());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language, Cookie"));
        retry_after(&mut response, view.ask_in_s);
        no_store(response)
    }

    /// What the browser is to keep, where that is anything new.
    pub fn cookie(&self, answer: &Answer, visitor: &Visitor) -> Option<HeaderValue> {
        if visitor.cookieless {
            return None;
        }
        let invite = || self.desk.invitation();
        self.reader.cookies.set(answer, invite)
    }

    /// Adds it.
    pub fn set_cookie(&self, response: &mut Response, answer: &Answer, visitor: &Visitor) {
        if let Some(cookie) = self.cookie(answer, visitor) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }

    /// Has the browser forget.
    pub fn clear_cookie(&self, response: &mut Response) {
        if let Some(cookie) = self.reader.cookies.clear() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

/// The other end of the connection.
pub fn peer(parts: &request::Parts) -> Option<SocketAddr> {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|ConnectInfo(peer)| *peer)
}

/// Where somebody takes a place who wants to go to `to`.
pub fn enter(to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new());
    let query = { query }.append_pair("to", to).finish();
    format!("{ENTER}?{query}")
}

/// Sends a browser on by GET.
pub fn see_other(to: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, to)
}

/// Sends a browser there once more, as it came.
fn again(to: &str) -> Response {
    redirect(StatusCode::TEMPORARY_REDIRECT, to)
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let mut response = status.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    no_store(response)
}

/// Says when to ask again.
pub fn retry_after(response: &mut Response, seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
}

/// No cache keeps it.
pub fn no_store(mut response: Response<Body>) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For what is between the gate and people, and keeps answers whatever they say.
    headers.insert(
        HeaderName::from_static("surrogate-control"),
        HeaderValue::from_static("no-store"),
    );
    response
}
