//! The one cookie, which holds the token.

use axum::http::HeaderValue;
use axum::http::header::{COOKIE, HeaderMap};
use client::tokens::{Kind, MAX_TOKEN_CHARS};
use cookie::{Cookie, CookieBuilder, SameSite, time::Duration};

use crate::config::Config;
use crate::desk::{Answer, Change, INVITED_FOR_S};

/// Most cookies of a request that are looked at.
const MOST: usize = 200;

/// How the cookie is made.
#[derive(Debug, Clone)]
pub struct Cookies {
    name: String,
    secure: bool,
    domain: Option<String>,
}

impl Cookies {
    /// As a configuration has it.
    pub fn new(config: &Config) -> Self {
        Self {
            name: config.cookie_name(),
            secure: config.cookie.secure,
            domain: config.cookie.domain.clone(),
        }
    }

    /// The token of a request: the first that can be one, a seat or ticket before an invitation.
    pub fn token(&self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(COOKIE).into_iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let all = lines.flat_map(|line| line.split(';')).take(MOST);
        let ours = all.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            let kind = Kind::of(value)?;
            (name == self.name && value.len() <= MAX_TOKEN_CHARS).then_some((kind, value))
        });
        let best = ours.min_by_key(|(kind, _)| *kind == Kind::Invitation);
        best.map(|(_, value)| value.to_owned())
    }

    /// The `Set-Cookie` of an answer to whoever showed `token`.
    pub fn set(&self, answer: &Answer, token: Option<&str>) -> Option<HeaderValue> {
        match answer {
            Answer::Invited(invitation) if token == Some(invitation) => None,
            Answer::Invited(invitation) => self.keep(invitation, INVITED_FOR_S),
            Answer::Stands(_, Change::Keep) => None,
            Answer::Stands(_, Change::Set(token, good_for_s)) => self.keep(token, *good_for_s),
        }
    }

    /// A `Set-Cookie` that has the browser forget.
    pub fn clear(&self) -> Option<HeaderValue> {
        self.keep("", 0)
    }

    fn keep(&self, token: &str, good_for_s: u32) -> Option<HeaderValue> {
        let mut cookie: CookieBuilder<'_> = Cookie::build((&self.name, token))
            .path("/")
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .max_age(Duration::seconds(good_for_s.into()));
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(domain);
        }
        HeaderValue::from_str(&cookie.build().to_string()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &str = "EQABAgM";
    const INVITATION: &str = "EwABAgM";

    fn cookies() -> Cookies {
        Cookies::new(&Config::new("ent", "normandie", Vec::new()))
    }

    fn token(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        cookies().token(&headers)
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_and_out_of_scripts_reach() {
        let answer = Answer::Invited(INVITATION.into());
        let set = cookies().set(&answer, None).unwrap();
        let expected = format!(
            "__Host-preau-ent={INVITATION}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=120"
        );
        assert_eq!(set, expected);
        assert_eq!(cookies().set(&answer, Some(INVITATION)), None);
    }

    #[test]
    fn the_token_is_found_among_others_and_a_ticket_counts_for_more_than_an_invitation() {
        let ours = format!("a=b; __Host-preau-ent={TICKET}; c=d");
        assert_eq!(token(&[&ours]).as_deref(), Some(TICKET));
        let both = format!("__Host-preau-ent={INVITATION}; __Host-preau-ent={TICKET}");
        assert_eq!(token(&[&both]).as_deref(), Some(TICKET));
        assert_eq!(token(&["x=y", &ours]).as_deref(), Some(TICKET));
        for none in [
            "",
            "__Host-preau-ent=",
            "__Host-preau-ent=abc",
            "preau-ent=EQAB",
            ";;;=",
            "é=EQAB",
        ] {
            assert_eq!(token(&[none]), None, "{none}");
        }
    }
}
