//! What caches between the gate and people may keep of an answer by the portal that the gate's cookie goes with: their
//! copy would give one person's place to all.

use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

/// Where caches that many share look before `Cache-Control`; some have a name of their own before it.
const CDN_CACHE_CONTROL: &str = "cdn-cache-control";
const OTHERS: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];

/// Leaves it to the browser's cache alone, which may keep it as long as before.
pub fn keep_private(headers: &mut HeaderMap) {
    let is_for_shared = |name: &&HeaderName| {
        name.as_str().ends_with(CDN_CACHE_CONTROL) || OTHERS.contains(&name.as_str())
    };
    let for_shared: Vec<_> = headers.keys().filter(is_for_shared).cloned().collect();
    for name in for_shared {
        headers.remove(name);
    }
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut said: Vec<_> = lines.flat_map(directives).collect();
    said.retain(|directive| !is(directive, "public") && !is(directive, "s-maxage"));
    // One that names headers is of these alone (RFC 9111, 5.2.2.7).
    let is_private =
        |directive: &&str| is(directive, "no-store") || directive.eq_ignore_ascii_case("private");
    if !said.iter().any(is_private) {
        said.push("private");
    }
    if let Ok(said) = HeaderValue::from_str(&said.join(", ")) {
        headers.insert(CACHE_CONTROL, said);
    }
}

/// The parts of a list, some of which may have commas in quotes.
fn directives(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn is(directive: &str, name: &str) -> bool {
    let own = directive.split('=').next().unwrap_or_default();
    own.trim().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(said: &[(&'static str, &'static str)]) -> Vec<String> {
        let pairs = said.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        keep_private(&mut headers);
        let lines = headers.iter();
        lines
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    fn now(said: &'static str) -> String {
        kept(&[("cache-control", said)]).concat()
    }

    #[test]
    fn an_answer_that_caches_may_share_is_the_browsers_alone() {
        for (said, wanted) in [
            ("public, max-age=60", "max-age=60, private"),
            ("Public,S-MaxAge = 9,max-age=60", "max-age=60, private"),
            ("max-age=60, s-maxage=600", "max-age=60, private"),
            ("no-cache", "no-cache, private"),
            (
                "private=\"a, public\", max-age=1",
                "private=\"a, public\", max-age=1, private",
            ),
            ("public, private", "private"),
            ("private, max-age=1", "private, max-age=1"),
            ("no-store", "no-store"),
            ("", "private"),
        ] {
            assert_eq!(now(said), format!("cache-control: {wanted}"), "{said}");
        }
        let both = [("cache-control", "public"), ("cache-control", "max-age=1")];
        assert_eq!(kept(&both), ["cache-control: max-age=1, private"]);
    }

    #[test]
    fn what_is_said_to_such_caches_alone_is_said_no_more() {
        assert_eq!(
            kept(&[
                ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
                ("cdn-cache-control", "max-age=60"),
                ("cloudflare-cdn-cache-control", "max-age=60"),
                ("surrogate-control", "max-age=60"),
                ("x-accel-expires", "60"),
            ]),
            [
                "expires: Thu, 01 Jan 2099 00:00:00 GMT",
                "cache-control: private"
            ]
        );
    }
}
