//! One visitor, whose every answer is looked at closely.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::eventually;
use crate::site::COOKIE_NAME;

const WITHIN: Duration = Duration::from_secs(20);

/// What a browser says of itself when it goes to a page, and a program.
pub const BROWSER: &[(&str, &str)] = &[("accept", "text/html"), ("sec-fetch-mode", "navigate")];
pub const PROGRAM: &[(&str, &str)] = &[("accept", "application/json")];
/// What it says when it gets a part of a page.
pub const IMAGE: &[(&str, &str)] = &[
    ("accept", "image/*"),
    ("sec-fetch-dest", "image"),
    ("sec-fetch-mode", "no-cors"),
];

/// With a cookie of the gate's.
#[derive(Debug, Clone)]
pub struct Visitor {
    port: u16,
    client: Client<HttpConnector, Full<Bytes>>,
    pub token: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Cookies that it sets, by name.
    pub fn sets(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(SET_COOKIE).iter();
        let pairs = values.filter_map(|value| value.to_str().unwrap().split(';').next());
        pairs
            .filter_map(|pair| pair.split_once('='))
            .filter(|(own, _)| *own == name)
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

impl Visitor {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            client: Client::builder(TokioExecutor::new()).build_http(),
            token: None,
        }
    }

    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        self.ask(Method::GET, path, headers, Bytes::new()).await
    }

    /// How they stand, as their page is told.
    pub async fn state(&mut self) -> String {
        let answer = self.get("/preau/turn", &[]).await.unwrap();
        let turn: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        turn["state"].as_str().unwrap().to_owned()
    }

    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(COOKIE, format!("other=1; {COOKIE_NAME}={token}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
        }
        let request = request.body(Full::from(body)).unwrap();
        let whole = async {
            let answer = self.client.request(request).await;
            let (head, body) = answer.map_err(|e| format!("{path}: {e:?}"))?.into_parts();
            let body = body.collect().await.map_err(|e| format!("{path}: {e:?}"))?;
            Ok::<_, String>((head, body.to_bytes()))
        };
        let (head, body) = timeout(WITHIN, whole)
            .await
            .map_err(|_| format!("{path}: no answer within {WITHIN:?}"))??;
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            body,
        };
        if let Some(token) = answer.sets(COOKIE_NAME).into_iter().next() {
            self.token = Some(token).filter(|token| !token.is_empty());
        }
        Ok(answer)
    }

    /// As a browser that follows redirects, until the portal's page is there.
    pub async fn get_in(&mut self) -> Answer {
        let this = tokio::sync::Mutex::new(self);
        eventually("a seat", || async {
            let mut this = this.lock().await;
            let mut path = "/".to_owned();
            for _ in 0..6 {
                let answer = this.get(&path, BROWSER).await?;
                if answer.status == 200 && !path.starts_with("/preau/") {
                    return Ok(answer);
                }
                if !answer.status.is_redirection() {
                    return Err(format!("{path}: {}", answer.status));
                }
                path = answer.header(LOCATION.as_str()).to_owned();
                if !path.starts_with('/') {
                    return Err(format!("sent to {path}"));
                }
            }
            Err("redirected without end".to_owned())
        })
        .await
    }

    /// Opens a WebSocket.
    pub async fn socket(&self) -> Result<Socket, String> {
        let uri = format!("ws://127.0.0.1:{}/socket", self.port);
        let mut request = uri.into_client_request().unwrap();
        if let Some(token) = &self.token {
            let cookie = format!("{COOKIE_NAME}={token}").parse().unwrap();
            request.headers_mut().insert(COOKIE, cookie);
        }
        let opened = timeout(WITHIN, tokio_tungstenite::connect_async(request)).await;
        match opened.map_err(|e| e.to_string())? {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks for HTTP/2 on this connection, as clients of 2015 did (RFC 7540, 3.2), by such lines; the answer's head.
    pub async fn tunnel(&self, path: &str, upgrades: &[&str]) -> String {
        let lines = upgrades.iter().map(|value| format!("\r\nUpgrade: {value}"));
        let lines: String = lines.collect();
        let settings = "HTTP2-Settings: AAMAAABkAAQAAP__";
        let upgrade = format!("Connection: Upgrade, HTTP2-Settings{lines}\r\n{settings}");
        self.say(path, &upgrade).await
    }

    /// Goes to a page by its whole address, as HTTP/2 has it and HTTP/1.1 may; the answer's head.
    pub async fn by_address(&self, path: &str) -> String {
        let address = format!("http://127.0.0.1{path}");
        self.say(&address, "Accept: text/html").await
    }

    async fn say(&self, target: &str, headers: &str) -> String {
        let token = self.token.as_deref().unwrap_or_default();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\nCookie: {COOKIE_NAME}={token}\r\n\r\n"
        );
        let head = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap().to_lowercase()
        };
        timeout(WITHIN, head).await.unwrap()
    }
}

/// A WebSocket whose other end says everything again.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn echoes(&mut self, word: &str) {
        use futures_util::{SinkExt as _, StreamExt as _};
        self.0.send(Message::text(word)).await.unwrap();
        let heard = timeout(WITHIN, self.0.next()).await.unwrap();
        assert_eq!(heard.unwrap().unwrap(), Message::text(word));
    }
}
