//! A portal that knows nothing of the gate, and keeps count of who reaches it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, COOKIE, SET_COOKIE, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::keys::KeyFile;
use client::tokens::{Scope, Token};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::site::{COOKIE_NAME, POOL, REGION};

/// What stays ungated where the files in `deploy` have it so. Who comes there is not counted.
pub const UNGATED: &str = "/saml/acs";

/// A download is so many pieces, one after the other with a pause.
pub const PIECES: usize = 25;
pub const PIECE: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(100);

/// In the test's own process.
pub struct Portal {
    pub port: u16,
    door: Arc<Door>,
    server: JoinHandle<()>,
}

/// Who reached it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// By the ids of their seats.
    pub seats: HashMap<u64, Stay>,
    /// Requests by a ticket whose turn has come: the gate gives the seat with the answer.
    pub called: u64,
    /// Requests by nobody whom the gate knows: there must be none.
    pub strangers: Vec<String>,
    /// All requests.
    pub requests: u64,
}

/// Somebody's requests.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// The second of cluster time in which they came, and the one in which the session began.
    pub second: u32,
    pub start_s: u32,
    pub first: Instant,
    pub last: Instant,
}

struct Door {
    scope: Scope,
    keys: KeyFile,
    seen: Mutex<Seen>,
}

impl Portal {
    pub async fn start(keys: &Path) -> Self {
        let door = Arc::new(Door {
            scope: Scope::new(POOL, REGION),
            keys: KeyFile::open(keys).unwrap(),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/socket", any(socket))
            .route("/told", get(told))
            .route(UNGATED, get(told).post(upload))
            .route("/download", get(download))
            .route(
                "/upload",
                post(upload).layer(axum::extract::DefaultBodyLimit::disable()),
            )
            .route("/status/{code}", get(status))
            .fallback(page)
            .layer(from_fn_with_state(Arc::clone(&door), note));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, door, server }
    }

    pub fn seen(&self) -> Seen {
        self.door.lock().clone()
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Seen {
    /// The most people whose sessions, from the first request to the last, were at the same time.
    pub fn most_at_once(&self) -> usize {
        let mut moments: Vec<_> = self
            .seats
            .values()
            .flat_map(|stay| [(stay.first, 1_i32), (stay.last, -1)])
            .collect();
        // A session that ends as another begins is over by then.
        moments.sort_by_key(|&(at, change)| (at, change));
        let (mut now, mut most) = (0, 0);
        for (_, change) in moments {
            now += change;
            most = most.max(now);
        }
        usize::try_from(most).unwrap()
    }

    /// The longest time, in seconds, by which anybody was let in before somebody who had come in an earlier second.
    pub fn longest_overtaking_s(&self) -> u32 {
        let mut stays: Vec<_> = self.seats.values().collect();
        stays.sort_by_key(|stay| std::cmp::Reverse(stay.second));
        let (mut worst, mut before) = (0, u32::MAX);
        for same in stays.chunk_by(|a, b| a.second == b.second) {
            let (mut first, mut last) = (u32::MAX, 0);
            for stay in same {
                (first, last) = (first.min(stay.start_s), last.max(stay.start_s));
            }
            worst = worst.max(last.saturating_sub(before));
            before = before.min(first);
        }
        worst
    }
}

impl Door {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that a request shows.
    fn token(&self, headers: &HeaderMap) -> Option<Token> {
        let mut pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, text) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        // The portal does not know the second of cluster time: it takes the one of issue, which the token says.
        let issued_s = u32::from_be_bytes(bytes.get(19..23)?.try_into().ok()?);
        self.scope.read(self.keys.keys(), text, issued_s).ok()
    }
}

/// Whose token it is.
pub fn id(token: &str) -> u64 {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    u64::from_be_bytes(bytes[23..31].try_into().unwrap())
}

async fn note(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if request.uri().path() == UNGATED {
        return next.run(request).await;
    }
    let token = door.token(request.headers());
    {
        let (mut seen, now) = (door.lock(), Instant::now());
        seen.requests += 1;
        match token.map(|token| (token, token.seat)) {
            Some((token, Some(term))) => {
                let stay = seen.seats.entry(token.id).or_insert(Stay {
                    second: token.second,
                    start_s: term.start_s,
                    first: now,
                    last: now,
                });
                stay.last = now;
            }
            Some((_, None)) => seen.called += 1,
            None => seen
                .strangers
                .push(format!("{} {:?}", request.uri(), request.headers())),
        }
    }
    next.run(request).await
}

async fn page() -> Response {
    let headers = [
        (SET_COOKIE, "portal=1; Path=/"),
        (CACHE_CONTROL, "public, max-age=60"),
    ];
    (headers, "the portal").into_response()
}

async fn status(axum::extract::Path(code): axum::extract::Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

async fn upload(body: Bytes) -> String {
    body.len().to_string()
}

async fn download() -> Response {
    let pieces = futures_util::stream::unfold(0, |sent| async move {
        if sent == PIECES {
            return None;
        }
        sleep(PAUSE).await;
        Some((
            Ok::<_, std::io::Error>(Bytes::from(vec![b'.'; PIECE])),
            sent + 1,
        ))
    });
    Body::from_stream(pieces).into_response()
}

/// What it is told of a request. Begins to speak HTTP/2 if that is among what it is asked to.
async fn told(headers: HeaderMap) -> Response {
    let asked = format!("{:?}", headers.get_all(UPGRADE).iter().collect::<Vec<_>>());
    if asked.contains("h2c") {
        let said = [(UPGRADE, "h2c"), (CONNECTION, "upgrade")];
        return (StatusCode::SWITCHING_PROTOCOLS, said).into_response();
    }
    format!("{headers:?}").into_response()
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
