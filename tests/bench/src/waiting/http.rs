//! A connection over HTTP/1.1 that takes as little as it can of the processors that the load and the servers share:
//! one request at a time, written as it is to go out.

use std::fmt::Write as _;

use preau::parts::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::CONNECT_WITHIN;
use crate::load::ANSWER_WITHIN;

/// Headers of an answer that are looked at.
const HEADERS: usize = 32;
/// Longest answer, in bytes.
const LONGEST: usize = 1 << 20;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub method: &'static str,
    pub path: &'a str,
    /// The address that it is said to come from, by number.
    pub from: u32,
    /// A header beyond that.
    pub header: Option<(&'static str, &'a str)>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The value of the cookie that is to be kept from now on.
    pub cookie: Option<String>,
    pub body: Vec<u8>,
}

/// A connection, which is made again once it is lost.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    text: String,
    read: Vec<u8>,
}

impl Connection {
    /// A connection to `address`, which is `host:port`, once something is asked.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
            text: String::new(),
            read: Vec::new(),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why there is none, in a few words.
    pub async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, String> {
        let answer = match timeout(ANSWER_WITHIN, self.exchange(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
        };
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    async fn exchange(&mut self, ask: Ask<'_>) -> Result<Answer, String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        self.text.clear();
        let [a, b, c, d] = ask.from.to_be_bytes();
        // Writing into a string fails never.
        let _ = write!(
            self.text,
            "{} {} HTTP/1.1\r\nHost: portal.example\r\nX-Forwarded-For: {a}.{b}.{c}.{d}\r\nAccept: text/html\r\n",
            ask.method, ask.path
        );
        if let Some((name, value)) = ask.header {
            let _ = write!(self.text, "{name}: {value}\r\n");
        }
        if ask.method == "POST" {
            self.text += "Content-Length: 0\r\n";
        }
        self.text += "\r\n";
        let told = |error: std::io::Error| error.kind().to_string();
        stream.write_all(self.text.as_bytes()).await.map_err(told)?;
        self.read.clear();
        loop {
            let read = stream.read_buf(&mut self.read).await.map_err(told)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            if let Some((answer, keep)) = parse(&self.read)? {
                self.stream = Some(stream).filter(|_| keep);
                return Ok(answer);
            }
            if self.read.len() > LONGEST {
                return Err(format!("an answer of more than {LONGEST} bytes"));
            }
        }
    }

    async fn open(&self) -> Result<TcpStream, String> {
        let opened = timeout(CONNECT_WITHIN, TcpStream::connect(&self.address)).await;
        let opened = opened.map_err(|_| "no connection in time".to_owned())?;
        let stream = opened.map_err(|error| error.kind().to_string())?;
        // Where it can't be set, it takes longer.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// An answer, once it is whole, and whether the connection goes on.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, bool)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(bytes).map_err(|error| error.to_string())?;
    let (httparse::Status::Complete(begin), Some(status)) = (parsed, head.code) else {
        return Ok(None);
    };
    let find = |name: &str| {
        let header = head
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length = match (status, find("content-length")) {
        (204 | 304, _) => 0,
        (_, Some(length)) => length
            .parse()
            .map_err(|_| format!("a length of {length}"))?,
        (_, None) => return Err("an answer without a length".into()),
    };
    let Some(body) = bytes.get(begin..begin + length) else {
        return Ok(None);
    };
    let cookie = find("set-cookie").and_then(|cookie| {
        let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
        Some(pair.split_once('=')?.1.to_owned())
    });
    let keep = find("connection").is_none_or(|said| !said.eq_ignore_ascii_case("close"));
    let body = body.to_vec();
    Ok(Some((
        Answer {
            status,
            cookie,
            body,
        },
        keep,
    )))
}

/// An answer that is to be of one of these kinds.
pub fn expect(answer: Result<Answer, String>, statuses: &[u16]) -> Result<Answer, String> {
    let answer = answer?;
    match statuses.contains(&answer.status) {
        true => Ok(answer),
        false => Err(format!("answered {}", answer.status)),
    }
}

/// A failure of what has to go well for anything to be measured.
pub fn failed(what: &str) -> impl Fn(String) -> Failure + '_ {
    move |why| Failure::operation(format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: preau-bench=EQ; Path=/\r\n\r\nabc";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let (answer, keep) = parse(whole).unwrap().unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice(), keep),
            (200, &b"abc"[..], true)
        );
        assert_eq!(answer.cookie.as_deref(), Some("EQ"));
        let empty = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert!(!parse(empty).unwrap().unwrap().1);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_is_made_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /a HTTP/1.1\r\n"));
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    .await
                    .unwrap();
            }
        });
        let mut connection = Connection::new(&address);
        let ask = Ask {
            method: "GET",
            path: "/a",
            from: 1,
            header: None,
        };
        assert_eq!(connection.ask(ask).await.unwrap().status, 204);
        assert!(connection.ask(ask).await.is_err());
        assert_eq!(connection.ask(ask).await.unwrap().status, 204);
    }
}
