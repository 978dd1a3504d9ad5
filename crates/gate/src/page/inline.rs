//! The page's style and script, as they stand in it, and the policy that allows them and no other.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// What stands in every page.
pub struct Inline {
    /// Its style.
    pub css: String,
    /// Its script.
    pub js: String,
    /// The policy.
    pub csp: HeaderValue,
}

/// Worked out once.
pub static INLINE: LazyLock<Inline> = LazyLock::new(|| {
    let (css, js) = (
        squeezed(include_str!("page.css")),
        squeezed(include_str!("page.js")),
    );
    // Forms may lead on to any host over TLS: browsers hold the whole way of a form to this, and a portal may send
    // whoever is let in to where people log in.
    let csp = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         form-action 'self' https:; base-uri 'none'; frame-ancestors 'self'",
        STANDARD.encode(digest(&SHA256, css.as_bytes())),
        STANDARD.encode(digest(&SHA256, js.as_bytes())),
    );
    // ASCII: the fallback is never taken, and stricter.
    let csp = HeaderValue::from_str(&csp);
    let csp = csp.unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    Inline { css, js, csp }
});

/// Without the comments that are lines of their own, and without indentation: a third less to send to millions.
fn squeezed(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let lines =
        lines.filter(|line| !(line.is_empty() || line.starts_with("//") || line.starts_with("/*")));
    lines.collect::<Vec<_>>().join("\n")
}
