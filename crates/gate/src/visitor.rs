//! What a request says of whoever makes it: the one place where headers are believed or not.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, HOST, HeaderMap, HeaderValue, ORIGIN};
use axum::http::{Method, Uri};
use client::tokens::{Kind, MAX_TOKEN_CHARS};

use crate::address::Trusted;
use crate::cookies::Cookies;
use crate::desk::Visitor;
use crate::identity::{Guarded, Person};

/// The header by which an app shows its token on the way to the portal.
pub const TOKEN_HEADER: &str = "x-preau-ticket";
/// What a browser asks for as a part of a page, which a cache on the way may keep.
const PARTS: &[&[u8]] = &[
    b"audio",
    b"font",
    b"image",
    b"manifest",
    b"script",
    b"style",
    b"track",
    b"video",
];
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
    /// By what.
    pub by: By,
}

/// What makes a request to the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A browser that goes there: a page can be shown.
    Visit,
    /// A browser that sends a form. If it is another site's, the cookie is not shown, though there may be one.
    Form,
    /// Something else, which reads no page.
    Program,
}

impl Reader {
    /// Who makes a request.
    pub fn visitor(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Visitor {
        let address = peer.map(|peer| self.address(peer.ip(), headers));
        let tokens = self.cookies.tokens(headers).into_iter();
        let mut tokens = tokens.chain(header_token(headers));
        Visitor {
            address,
            token: tokens.next(),
            others: tokens.collect(),
            person: self.person(address, headers),
            cookieless: is_part(headers) || is_strange_form(headers),
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
        let said = |name: &str| Some(headers.get(name)?.as_bytes());
        let method = said(method).and_then(|method| Method::from_bytes(method).ok());
        Some(Wanted::new(
            &method.unwrap_or(Method::GET),
            said(uri)?,
            headers,
        ))
    }
}

impl Wanted {
    /// A request for a path and query, as it came.
    pub fn new(method: &Method, to: impl AsRef<[u8]>, headers: &HeaderMap) -> Self {
        let to = encoded(to.as_ref());
        Self {
            to: local(&to).unwrap_or("/").to_owned(),
            by: match *method {
                Method::GET | Method::HEAD if is_navigation(headers) => By::Visit,
                Method::POST if is_navigation(headers) => By::Form,
                _ => By::Program,
            },
        }
    }

    /// The path and query of a request that came here.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let to = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(method, to, headers)
    }
}

/// What no address holds as it is, but some send: as browsers write it.
fn encoded(to: &[u8]) -> String {
    let mut text = String::with_capacity(to.len());
    for &byte in to {
        match byte.is_ascii() {
            true => text.push(byte.into()),
            // Writing to a string does not fail.
            false => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
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

/// Whether another site's page makes a request to the gate itself, by a form of its own, say.
pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let text = |value: &HeaderValue| value.to_str().ok()?.parse::<Uri>().ok();
    let Some(origin) = text(origin) else {
        return true;
    };
    // Nobody's page sends a header of this kind to another site. A port tells no sites apart, and proxies drop it.
    let hosts = [HOST.as_str(), "x-forwarded-host"].map(|name| headers.get(name).and_then(text));
    let is_ours = |host: &Uri| match (host.host(), origin.host()) {
        (Some(host), Some(origin)) => host.eq_ignore_ascii_case(origin),
        _ => false,
    };
    !hosts.iter().flatten().any(is_ours)
}

/// Whether the answer is a part of a page. It may be kept by what is between, and a cookie with it.
fn is_part(headers: &HeaderMap) -> bool {
    let dest = headers.get("sec-fetch-dest");
    dest.is_some_and(|dest| PARTS.contains(&dest.as_bytes()))
}

/// Whether another site's form is sent. It comes without the cookie, which one to be set would replace. A browser
/// says the origin of a form, and of a visit it does not.
fn is_strange_form(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site == "cross-site") && headers.contains_key(ORIGIN)
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

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn an_address_that_is_not_encoded_is_and_any_other_is_the_front_page() {
        let to = |to: &[u8]| Wanted::new(&Method::GET, to, &HeaderMap::new()).to;
        assert_eq!(to("/élève?n=é".as_bytes()), "/%C3%A9l%C3%A8ve?n=%C3%A9");
        assert_eq!(to(b"/\xe9"), "/%E9");
        assert_eq!(
            to("/é".repeat(MAX_TO_BYTES / 10).as_bytes()).len(),
            MAX_TO_BYTES / 10 * 7
        );
        for bad in [
            &b"/a b"[..],
            b"/a\tb",
            "/é".repeat(MAX_TO_BYTES / 2).as_bytes(),
            b"",
        ] {
            assert_eq!(to(bad), "/");
        }
    }

    #[test]
    fn a_form_is_told_from_a_visit_and_both_from_a_program() {
        let by = |method, pairs: &[_]| Wanted::new(&method, "/", &headers(pairs)).by;
        let (browser, script) = (
            &[("sec-fetch-mode", "navigate")],
            &[("sec-fetch-mode", "cors")],
        );
        assert_eq!(by(Method::GET, browser), By::Visit);
        assert_eq!(by(Method::HEAD, browser), By::Visit);
        assert_eq!(by(Method::POST, browser), By::Form);
        assert_eq!(by(Method::POST, &[("accept", "text/html")]), By::Form);
        assert_eq!(by(Method::POST, script), By::Program);
        assert_eq!(by(Method::PUT, browser), By::Program);
    }

    #[test]
    fn no_cookie_goes_with_parts_of_a_page_nor_to_another_sites_form() {
        let cookieless = |pairs: &[_]| is_part(&headers(pairs)) || is_strange_form(&headers(pairs));
        let (cross, origin) = (
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://a.example"),
        );
        for dest in [
            "image", "style", "script", "font", "audio", "video", "track", "manifest",
        ] {
            assert!(cookieless(&[("sec-fetch-dest", dest)]), "{dest}");
        }
        for dest in ["document", "empty", "iframe", "websocket"] {
            assert!(!cookieless(&[("sec-fetch-dest", dest)]), "{dest}");
        }
        assert!(cookieless(&[cross, origin]));
        // Who follows a link from elsewhere has shown the cookie, if there is one.
        assert!(!cookieless(&[cross]));
        assert!(!cookieless(&[("sec-fetch-site", "same-origin"), origin]));
    }

    #[test]
    fn what_another_site_asks_for_is_told_by_either_of_two_headers() {
        let host = ("host", "ent.example");
        let elsewhere = |pairs: &[_]| is_from_elsewhere(&headers(pairs));
        for site in ["cross-site", "same-site", "anything"] {
            assert!(elsewhere(&[
                host,
                ("sec-fetch-site", site),
                ("origin", "https://ent.example")
            ]));
        }
        for site in ["same-origin", "none"] {
            assert!(!elsewhere(&[host, ("sec-fetch-site", site)]));
        }
        for origin in [
            "https://evil.example",
            "https://ent.example.evil.example",
            "null",
            "ent.example/",
        ] {
            assert!(elsewhere(&[host, ("origin", origin)]), "{origin}");
        }
        for origin in ["https://ent.example", "https://ENT.example:8443"] {
            assert!(!elsewhere(&[host, ("origin", origin)]), "{origin}");
        }
        let inside = [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-host", "ent.example"),
        ];
        assert!(!elsewhere(&[
            inside[0],
            inside[1],
            ("origin", "https://ent.example")
        ]));
        assert!(!elsewhere(&[host]));
    }

    #[test]
    fn a_navigation_is_what_a_browser_says_it_is() {
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
