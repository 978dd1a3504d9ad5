//! What a request says of whoever makes it: the one place where headers are believed or not.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap};
use axum::http::{Method, Uri};
use client::tokens::{Kind, MAX_TOKEN_CHARS};

use crate::address::Trusted;
use crate::cookies::Cookies;
use crate::desk::Visitor;
use crate::identity::{Guarded, Person};

/// The header by which an app shows its token on the way to the portal.
pub const TOKEN_HEADER: &str = "x-preau-ticket";
/// Longest address that somebody is sent back to, in bytes.
pub const MAX_TO_BYTES: usize = 2_000;

/// How requests are read.
#[derive(Debug)]
pub struct Reader {
    /// The cookie.
    pub cookies: Cookies,
    /// Whose word is taken for where a request comes from.
    pub trusted: Trusted,
    /// Who somebody is.
    pub identity: Option<Guarded>,
}

/// A request to the portal, as the gate or a proxy got it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Path and query, beginning with one slash.
    pub to: String,
    /// Whether a person's browser goes there, so that a page can be shown.
    pub is_navigation: bool,
}

impl Reader {
    /// Who makes a request.
    pub fn visitor(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Visitor {
        let address = peer.map(|peer| self.address(peer.ip(), headers));
        let token = self.cookies.token(headers);
        Visitor {
            address,
            token: token.or_else(|| header_token(headers)),
            person: self.person(address, headers),
        }
    }

    fn person(&self, address: Option<IpAddr>, headers: &HeaderMap) -> Option<Person> {
        let person = self.identity.as_ref()?.person(address, headers);
        person.unwrap_or_else(|error| {
            tracing::debug!(%error, "an identity is refused, and counts as none");
            None
        })
    }

    /// Where a request comes from.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let said = headers.get_all("x-forwarded-for").into_iter();
        self.trusted.client(peer, said)
    }

    /// What a proxy asks about, by the headers in which it says so; `None` where it may not or does not.
    pub fn wanted(
        &self,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        uri: &str,
        method: &str,
    ) -> Option<Wanted> {
        if peer.is_some_and(|peer| !self.trusted.contains(peer.ip())) {
            return None;
        }
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let method = text(method).and_then(|method| method.parse().ok());
        Some(Wanted::new(
            &method.unwrap_or(Method::GET),
            text(uri)?,
            headers,
        ))
    }
}

impl Wanted {
    /// A request for a path and query.
    pub fn new(method: &Method, to: &str, headers: &HeaderMap) -> Self {
        let is_get = matches!(*method, Method::GET | Method::HEAD);
        Self {
            to: local(to).unwrap_or("/").to_owned(),
            is_navigation: is_get && is_navigation(headers),
        }
    }

    /// The path and query of a request that came here.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let to = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(method, to, headers)
    }
}

/// What somebody's browser may be sent to: a path on this host, and nothing that a browser takes for another host.
pub fn local(to: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let is_local = to.len() <= MAX_TO_BYTES
        && to.starts_with('/')
        && !to.starts_with("//")
        && to.bytes().all(plain);
    is_local.then_some(to)
}

/// The languages that somebody reads.
pub fn languages(headers: &HeaderMap) -> &str {
    let said = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok());
    said.unwrap_or_default()
}

fn is_navigation(headers: &HeaderMap) -> bool {
    let has = |name: &str, wanted: &str| {
        let said = headers.get(name).and_then(|value| value.to_str().ok());
        said.map(|said| said.contains(wanted))
    };
    has("sec-fetch-mode", "navigate")
        .unwrap_or_else(|| has(ACCEPT.as_str(), "text/html") == Some(true))
}

fn header_token(headers: &HeaderMap) -> Option<String> {
    let token = headers.get(TOKEN_HEADER)?.to_str().ok()?;
    (token.len() <= MAX_TOKEN_CHARS && Kind::of(token).is_some()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_is_sent_to_another_host() {
        for good in ["/", "/a/b?c=d&e=%2F", "/é".replace('é', "%C3%A9").as_str()] {
            assert_eq!(local(good), Some(good));
        }
        let long = format!("/{}", "a".repeat(MAX_TO_BYTES));
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x",
            "/a b",
            "\t//evil.example",
            long.as_str(),
        ] {
            assert_eq!(local(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_local_has_no_host(to in "[/\\\\a-z:.@?#%]{0,12}") {
            if let Some(to) = local(&to) {
                let uri: Uri = to.parse().unwrap_or_default();
                prop_assert_eq!(uri.host(), None);
            }
        }
    }

    #[test]
    fn a_navigation_is_what_a_browser_says_it_is() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        let html = ("accept", "text/html,*/*;q=0.8");
        assert!(is_navigation(&headers(&[html])));
        assert!(is_navigation(&headers(&[("sec-fetch-mode", "navigate")])));
        assert!(!is_navigation(&headers(&[
            html,
            ("sec-fetch-mode", "cors")
        ])));
        assert!(!is_navigation(&headers(&[("accept", "application/json")])));
        assert!(!is_navigation(&HeaderMap::new()));
    }
}
