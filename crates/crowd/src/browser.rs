//! As much of a browser as matters to a gate: cookies, redirects, and what kind of request it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::tally::micros;
use crate::{Crowd, Scene};

/// A request takes no longer, or has failed.
const WITHIN: Duration = Duration::from_secs(15);
/// Connections are kept for less than the five seconds that some servers allow: what is sent as they close is lost.
const IDLE: Duration = Duration::from_secs(4);
const LONGEST_BODY: usize = 4 << 20;
const MOST_REDIRECTS: usize = 6;
/// Paths of the gate's own begin so.
const GATES_OWN: &str = "/preau/";

/// The connections that all share.
#[derive(Debug)]
pub(crate) struct Http {
    /// One for each local address.
    clients: Vec<Client<HttpConnector, Full<Bytes>>>,
    turn: Semaphore,
}

impl Http {
    pub fn new(crowd: &Crowd) -> Self {
        let client = |from: Option<IpAddr>| {
            let mut connector = HttpConnector::new();
            connector.set_local_address(from);
            connector.set_nodelay(true);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector)
        };
        let mut clients: Vec<_> = crowd.from.iter().map(|ip| client(Some(*ip))).collect();
        if clients.is_empty() {
            clients.push(client(None));
        }
        Self {
            clients,
            turn: Semaphore::new(crowd.connections.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// One request and its whole answer; and how long both took, once there was a connection to be had.
    pub async fn ask(
        &self,
        nth: usize,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Bytes>, Duration), String> {
        let _turn = self.turn.acquire().await.map_err(|e| e.to_string())?;
        let began = Instant::now();
        let client = &self.clients[nth % self.clients.len()];
        let whole = async {
            let answer = client.request(request).await.map_err(root_cause)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST_BODY).collect().await;
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        match timeout(WITHIN, whole).await {
            Ok(answer) => answer.map(|answer| (answer, began.elapsed())),
            Err(_) => Err(format!("no answer in {WITHIN:?}")),
        }
    }
}

/// What it comes down to, without addresses and ports, so that it can be counted.
fn root_cause(error: impl std::error::Error) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        why = next.to_string();
        source = next.source();
    }
    why
}

/// What the browser is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A page, to be shown.
    Navigate,
    /// What a page consists of, or a script asks for.
    Part,
}

/// An answer as a browser has it, redirects followed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    /// Where it came from in the end.
    pub path: String,
    pub retry_after_s: Option<u32>,
    pub body: Bytes,
}

impl Answer {
    /// Whether the portal itself has answered, and well.
    pub fn is_portals(&self) -> bool {
        self.status.is_success() && !self.path.starts_with(GATES_OWN)
    }
}

/// One person's.
#[derive(Debug)]
pub(crate) struct Browser {
    scene: Arc<Scene>,
    nth: usize,
    cookies: Vec<(String, String)>,
}

impl Browser {
    pub fn new(scene: Arc<Scene>, nth: usize) -> Self {
        Self {
            scene,
            nth,
            cookies: Vec::new(),
        }
    }

    pub async fn get(&mut self, path: &str, mode: Mode) -> Result<Answer, String> {
        self.go(Method::GET, path, mode, "").await
    }

    /// Sends a form.
    pub async fn post(&mut self, path: &str, form: &'static str) -> Result<Answer, String> {
        self.go(Method::POST, path, Mode::Navigate, form).await
    }

    async fn go(
        &mut self,
        mut method: Method,
        path: &str,
        mode: Mode,
        mut form: &'static str,
    ) -> Result<Answer, String> {
        let mut path = path.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.once(&method, &path, mode, form).await?;
            let to = answer.headers().get(LOCATION);
            if !answer.status().is_redirection() || to.is_none() {
                let retry_after = answer.headers().get(RETRY_AFTER);
                return Ok(Answer {
                    status: answer.status(),
                    path,
                    retry_after_s: retry_after.and_then(|v| v.to_str().ok()?.parse().ok()),
                    body: answer.into_body(),
                });
            }
            let to: Option<Uri> = to.and_then(|to| to.to_str().ok()?.parse().ok());
            let to = to.ok_or("a redirect to what is no address")?;
            let ours = self.scene.crowd.portal.authority();
            if to.authority().is_some_and(|other| Some(other) != ours) {
                return Err(format!("a redirect to elsewhere: {to}"));
            }
            path = to
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned();
            (method, form) = (Method::GET, "");
        }
        Err("redirected without end".to_owned())
    }

    async fn once(
        &mut self,
        method: &Method,
        path: &str,
        mode: Mode,
        form: &'static str,
    ) -> Result<Response<Bytes>, String> {
        let request = request(&self.scene.crowd.portal, method, path, mode);
        let mut request = request.map_err(|e| e.to_string())?;
        let headers = request.headers_mut();
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect();
            let value = HeaderValue::try_from(pairs.join("; ")).map_err(|e| e.to_string())?;
            headers.insert(COOKIE, value);
        }
        if method == Method::POST {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, kind);
            *request.body_mut() = Full::from(form);
        }
        let (answer, took) = self.scene.http.ask(self.nth, request).await?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap_or_default());
        }
        let mut tally = self.scene.ledger.lock();
        let gates = path.starts_with(GATES_OWN) || !answer.status().is_success();
        let times = if gates {
            &mut tally.gate_us
        } else {
            &mut tally.portal_us
        };
        times.saturating_record(micros(took));
        drop(tally);
        Ok(answer)
    }

    fn keep(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let over = parts.any(|part| part.eq_ignore_ascii_case("Max-Age=0"));
        self.cookies.retain(|(own, _)| own != name);
        if !over && !value.is_empty() {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// A browser's request, without its cookies.
pub(crate) fn request(
    portal: &Uri,
    method: &Method,
    path: &str,
    mode: Mode,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(portal.authority().map_or("", http::uri::Authority::as_str))
        .path_and_query(path)
        .build()?;
    let (accept, fetch) = match mode {
        Mode::Navigate => ("text/html,application/xhtml+xml,*/*;q=0.8", "navigate"),
        Mode::Part => ("*/*", "no-cors"),
    };
    Request::builder()
        .method(method)
        .uri(uri)
        .header(ACCEPT, accept)
        .header("Sec-Fetch-Mode", fetch)
        .header("Accept-Language", "fr")
        .body(Full::default())
}
