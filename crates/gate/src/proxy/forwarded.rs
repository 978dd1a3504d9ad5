//! What the portal is told of where a request comes from: what the gate sees, and before that what a trusted proxy
//! has said. A stranger says nothing of it, in none of the ways in which portals look for it.

use axum::http::header::{CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use axum::http::request::Parts;

use crate::address::Trusted;
use crate::app::peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How it is told.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// Whose word is passed on.
    pub trusted: Trusted,
    /// What the gate itself is reached by: `http` or `https`.
    pub scheme: &'static str,
}

impl Forwarded {
    /// Sets `X-Forwarded-For`, `-Host` and `-Proto`, and `Forwarded` (RFC 7239).
    pub fn tell(&self, parts: &mut Parts) {
        let peer = peer(parts).map(|peer| peer.ip().to_canonical());
        let is_trusted = peer.is_some_and(|peer| self.trusted.contains(peer));
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let authority = authority.and_then(|text| HeaderValue::from_str(text).ok());
        let headers = &mut parts.headers;
        // No proxy writes `_` in these: who does is a stranger whom it passes on.
        let is_strange = |name: &str| !is_trusted || name.contains('_');
        forget(headers, |name| is_told(name) && is_strange(name));
        keep_from_connection(headers);
        let host = headers.get(HOST).cloned().or(authority);
        if let Some(peer) = peer {
            append(headers, X_FORWARDED_FOR, &peer.to_string());
            let node = match peer.is_ipv6() {
                true => format!("for=\"[{peer}]\""),
                false => format!("for={peer}"),
            };
            if !is_trusted {
                let host = host.as_ref().and_then(plain);
                let host = host.map_or(String::new(), |host| format!(";host=\"{host}\""));
                append(
                    headers,
                    FORWARDED,
                    &format!("{node}{host};proto={}", self.scheme),
                );
            } else if headers.contains_key(FORWARDED) {
                append(headers, FORWARDED, &node);
            }
        }
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
        let scheme = HeaderValue::from_static(self.scheme);
        headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    }
}

/// Whether a header says where a request comes from. PHP, Python and Ruby take `_` for `-`.
fn is_told(name: &str) -> bool {
    let same =
        |(one, other): (u8, u8)| one.eq_ignore_ascii_case(&other) || (one, other) == (b'_', b'-');
    let begins = |with: &str| name.len() >= with.len() && name.bytes().zip(with.bytes()).all(same);
    let is = |other: &str| name.len() == other.len() && begins(other);
    begins("x-forwarded-") || is("forwarded") || is("x-real-ip")
}

fn forget(headers: &mut HeaderMap, is_lie: impl Fn(&str) -> bool) {
    let said = headers.keys().filter(|name| is_lie(name.as_str()));
    for name in said.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// What `Connection` names goes no further (RFC 9110, 7.6.1): none of this is for the sender to take off.
fn keep_from_connection(headers: &mut HeaderMap) {
    let is_kept = |name: &&str| is_told(name) || name.eq_ignore_ascii_case(HOST.as_str());
    let lines = headers.get_all(CONNECTION).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(str::trim);
    let (kept, others): (Vec<_>, Vec<_>) = names.partition(is_kept);
    if kept.is_empty() {
        return;
    }
    let others = HeaderValue::from_str(&others.join(", ")).ok();
    headers.remove(CONNECTION);
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        headers.insert(CONNECTION, others);
    }
}

/// Adds to a list, which may be in several lines.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &str) {
    let lines = headers.get_all(&name).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok()).chain([last]);
    if let Ok(whole) = HeaderValue::from_str(&lines.collect::<Vec<_>>().join(", ")) {
        headers.insert(name, whole);
    }
}

/// A host that may stand in quotes.
fn plain(host: &HeaderValue) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    host.to_str().ok().filter(|host| host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::connect_info::ConnectInfo;
    use axum::http::Request;
    use std::net::SocketAddr;

    /// What the portal is told, one line each, of what such a peer says.
    fn told(peer: &str, scheme: &'static str, said: &[(&str, &str)]) -> Vec<String> {
        let mut request = Request::get("/page").header("host", "ent.example");
        for (name, value) in said {
            request = request.header(*name, *value);
        }
        let (mut parts, _) = request.body(Body::empty()).unwrap().into_parts();
        let peer: SocketAddr = peer.parse().unwrap();
        parts.extensions.insert(ConnectInfo(peer));
        let trusted = Trusted::new(vec!["10.0.0.0/8".parse().unwrap()]);
        Forwarded { trusted, scheme }.tell(&mut parts);
        let mut lines: Vec<_> = parts
            .headers
            .iter()
            .filter(|(name, _)| *name != HOST)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    const OF_A_STRANGER: [&str; 4] = [
        "forwarded: for=192.0.2.7;host=\"ent.example\";proto=https",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: ent.example",
        "x-forwarded-proto: https",
    ];

    #[test]
    fn nothing_is_passed_on_that_a_stranger_says() {
        let lies = [
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X_Forwarded_For", "127.0.0.1"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("X-Forwarded-Server", "evil.example"),
            ("X-Real-IP", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1;host=evil.example"),
        ];
        assert_eq!(told("192.0.2.7:4711", "https", &lies), OF_A_STRANGER);
        assert_eq!(told("192.0.2.7:4711", "https", &[]), OF_A_STRANGER);
        // As a listener of both kinds sees it.
        assert_eq!(told("[::ffff:192.0.2.7]:4711", "https", &[]), OF_A_STRANGER);
        assert_eq!(
            told("[2001:db8::7]:4711", "http", &[]),
            [
                "forwarded: for=\"[2001:db8::7]\";host=\"ent.example\";proto=http",
                "x-forwarded-for: 2001:db8::7",
                "x-forwarded-host: ent.example",
                "x-forwarded-proto: http",
            ]
        );
    }

    #[test]
    fn connection_takes_nothing_of_it_off() {
        let named = [(
            "Connection",
            "Upgrade, X-Forwarded-For, x_forwarded_proto, forwarded, Host, X-Own",
        )];
        let mut wanted = vec!["connection: Upgrade, X-Own"];
        wanted.extend(OF_A_STRANGER);
        assert_eq!(told("192.0.2.7:4711", "https", &named), wanted);
        let others = told("192.0.2.7:4711", "https", &[("Connection", "keep-alive")]);
        assert_eq!(others[0], "connection: keep-alive");
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_added_to() {
        let said = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-For", "192.0.2.7"),
            ("X-Forwarded-Host", "portal.example"),
            ("X-Forwarded-Proto", "https"),
            ("X_Forwarded_For", "127.0.0.1"),
            ("X-Real_IP", "127.0.0.1"),
            ("X-Real-IP", "192.0.2.7"),
            ("Forwarded", "for=192.0.2.7"),
            ("Connection", "x-forwarded-for"),
        ];
        assert_eq!(
            told("[::ffff:10.1.2.3]:4711", "http", &said),
            [
                "forwarded: for=192.0.2.7, for=10.1.2.3",
                "x-forwarded-for: 198.51.100.1, 192.0.2.7, 10.1.2.3",
                "x-forwarded-host: portal.example",
                "x-forwarded-proto: https",
                "x-real-ip: 192.0.2.7",
            ]
        );
        assert_eq!(
            told("10.1.2.3:4711", "http", &[]),
            [
                "x-forwarded-for: 10.1.2.3",
                "x-forwarded-host: ent.example",
                "x-forwarded-proto: http",
            ]
        );
    }
}
