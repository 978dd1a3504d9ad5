//! What strangers send to a gate.

use std::net::IpAddr;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::tokens::{Kind, MAX_TOKEN_CHARS};
use gate::untrusted::{Cookies, Identity, IdentityConfig, MAX_TO_BYTES, Trusted, local, truncated};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Uri};
use ring::hmac;
use serde_json::json;
use tempfile::TempDir;

use crate::{said, text};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TRUSTED: [&str; 2] = ["127.0.0.0/8", "fd00::/8"];

/// Lines, each a value of every header that is looked at.
pub fn headers(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let lines: Vec<HeaderValue> = lines.flat_map(HeaderValue::from_bytes).collect();
    let trusted = Trusted::new(TRUSTED.map(|net| net.parse().expect("a network")).into());
    let client = |peer: &str| trusted.client(peer.parse().expect("an address"), lines.iter());
    assert_eq!(
        client("192.0.2.7").to_string(),
        "192.0.2.7",
        "a stranger says who they are"
    );
    for peer in ["127.0.0.1", "fd00::1", "::ffff:127.0.0.1"] {
        let client = client(peer);
        assert_eq!(client, client.to_canonical());
        let said_so = lines.iter().any(|line| says(line, client));
        assert!(
            said_so || trusted.contains(client),
            "nobody has said {client}"
        );
        let shown = truncated(client).to_string();
        assert!(shown.ends_with("/24") || shown.ends_with("/48"), "{shown}");
    }
    let mut map = HeaderMap::new();
    for line in &lines {
        map.append(COOKIE, line.clone());
    }
    let cookies = Cookies::new(&gate::Config::new("ent", "normandie", Vec::new()));
    let tokens = cookies.tokens(&map);
    assert!(tokens.len() <= 3, "{tokens:?}");
    for token in tokens {
        assert!(
            Kind::of(&token).is_some() && token.len() <= MAX_TOKEN_CHARS,
            "{token:?}"
        );
    }
    if let Some(to) = text(data).and_then(local) {
        assert!(to.len() <= MAX_TO_BYTES && to.starts_with('/'));
        HeaderValue::from_str(to).expect("a header's value");
        if let Ok(uri) = to.parse::<Uri>() {
            assert!(
                uri.authority().is_none() && uri.scheme().is_none(),
                "{to} is elsewhere"
            );
        }
    }
}

/// Whether a header has an address in some form.
fn says(line: &HeaderValue, client: IpAddr) -> bool {
    let entries = line.as_bytes().split(|byte| *byte == b',');
    let mut entries = entries.map(|entry| String::from_utf8_lossy(entry.trim_ascii()).into_owned());
    entries.any(|entry| {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse().or_else(|_| {
            let both = entry.parse::<std::net::SocketAddr>();
            both.map(|both| both.ip())
        });
        address.is_ok_and(|address| address.to_canonical() == client)
    })
}

struct Login {
    _dir: TempDir,
    identity: Identity,
    jwks: IdentityConfig,
    path: std::path::PathBuf,
}

fn login() -> &'static Login {
    static LOGIN: OnceLock<Login> = OnceLock::new();
    LOGIN.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let (secret, path) = (dir.path().join("secret"), dir.path().join("jwks"));
        std::fs::write(&secret, SECRET).expect("written");
        let config = |config| serde_json::from_value::<IdentityConfig>(config).expect("whole");
        let by_secret =
            config(json!({ "secret": secret, "cookie": "id", "classes": { "a": "b" } }));
        let jwks = config(json!({ "jwks": path, "issuer": "i", "audience": "a" }));
        Login {
            _dir: dir,
            identity: Identity::new(&by_secret).expect("usable"),
            jwks,
            path,
        }
    })
}

/// A token as it is; what a login would have signed; and its published keys.
pub fn identity(data: &[u8]) {
    let login = login();
    let shown = |value: &[u8]| {
        let value = HeaderValue::from_bytes(value).ok()?;
        let headers =
            HeaderMap::from_iter([("x-preau-identity".parse().expect("a name"), value.clone())]);
        let person = login.identity.person(&headers);
        let by_cookie = HeaderMap::from_iter([(COOKIE, value)]);
        let _ = login.identity.person(&by_cookie);
        match person {
            Ok(person) => person,
            Err(error) => {
                said(&error.to_string());
                None
            }
        }
    };
    if shown(data).is_some() {
        // Somebody who is believed was vouched for by the secret.
        let token = text(data).expect("a token is text").trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token).trim_start();
        let (signed, signature) = token.rsplit_once('.').expect("a token has a signature");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert!(
            hmac::verify(&key(), signed.as_bytes(), &signature).is_ok(),
            "{token} passes"
        );
    }
    for head in [
        &br#"{"alg":"HS256"}"#[..],
        br#"{"alg":"none"}"#,
        br#"{"alg":"RS256","kid":""}"#,
    ] {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(data)
        );
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key(), signed.as_bytes()));
        let person = shown(format!("{signed}.{signature}").as_bytes());
        assert!(person.is_none() || head.starts_with(br#"{"alg":"HS256""#));
        if let Some(person) = person {
            assert!(person.class.is_none_or(|class| class == "b"));
        }
    }
    std::fs::write(&login.path, data).expect("written");
    if let Err(error) = Identity::new(&login.jwks) {
        said(&error.to_string());
    }
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes())
}
