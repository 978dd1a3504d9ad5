//! The one cookie, which holds the token.

use axum::http::HeaderValue;
use axum::http::header::{COOKIE, HeaderMap};
use client::tokens::{Kind, MAX_TOKEN_CHARS};
use cookie::{Cookie, CookieBuilder, SameSite, time::Duration};

use crate::config::Config;
use crate::desk::{Answer, Change, INVITED_FOR_S};

/// Most cookies of a request that are looked at.
const MOST: usize = 200;
/// Most of them under our name that are: a browser may have kept others for another path or domain.
const MOST_OURS: usize = 3;

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

    /// The tokens of a request: seats, then tickets, then invitations, each in the browser's order.
    pub fn tokens(&self, headers: &HeaderMap) -> Vec<String> {
        let lines = headers.get_all(COOKIE).into_iter();
        // By bytes: what others keep in theirs is not ours to read.
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let ours = pairs.take(MOST).filter_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.name.as_bytes())?;
            let value = std::str::from_utf8(value.strip_prefix(b"=")?).ok()?;
            let rank = match Kind::of(value)? {
                Kind::Seat => 0,
                Kind::Ticket => 1,
                Kind::Invitation => 2,
            };
            (value.len() <= MAX_TOKEN_CHARS).then_some((rank, value))
        });
        let mut ours: Vec<(u8, &str)> = ours.collect();
        ours.sort_by_key(|(rank, _)| *rank);
        ours.dedup();
        let best = ours.into_iter().take(MOST_OURS);
        best.map(|(_, value)| value.to_owned()).collect()
    }

    /// The `Set-Cookie` of an answer, where the browser is to keep anything new; `invite` makes an invitation.
    pub fn set(
        &self,
        answer: &Answer,
        invite: impl FnOnce() -> Option<String>,
    ) -> Option<HeaderValue> {
        match answer {
            Answer::Invited(None) => self.keep(&invite()?, INVITED_FOR_S),
            Answer::Stands(_, Change::Set(token, good_for_s)) => self.keep(token, *good_for_s),
            Answer::Invited(Some(_)) | Answer::Stands(_, Change::Keep) => None,
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
    const SEAT: &str = "EgABAgM";
    const OTHER_SEAT: &str = "EgABAgQ";

    fn cookies() -> Cookies {
        Cookies::new(&Config::new("ent", "normandie", Vec::new()))
    }

    fn tokens(lines: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        cookies().tokens(&headers)
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_and_out_of_scripts_reach() {
        let invite = || Some(INVITATION.to_owned());
        let set = cookies().set(&Answer::Invited(None), invite).unwrap();
        let expected = format!(
            "__Host-preau-ent={INVITATION}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=120"
        );
        assert_eq!(set, expected);
        let kept = Answer::Invited(Some(INVITATION.into()));
        assert_eq!(cookies().set(&kept, || unreachable!()), None);
    }

    #[test]
    fn below_a_domain_each_region_has_a_cookie_of_its_own() {
        let mut config = Config::new("ent", "Île-de-France", Vec::new());
        config.cookie.domain = Some("ent.example".into());
        assert_eq!(config.cookie_name(), "__Secure-preau-ent--le-de-France");
        config.cookie.secure = false;
        assert_eq!(config.cookie_name(), "preau-ent--le-de-France");
        config.cookie.domain = None;
        assert_eq!(config.cookie_name(), "preau-ent");
    }

    #[test]
    fn the_token_is_found_among_others_whatever_they_hold() {
        let ours = format!("a=b; __Host-preau-ent={TICKET}; c=d");
        assert_eq!(tokens(&[ours.as_bytes()]), [TICKET]);
        assert_eq!(tokens(&[b"x=y", ours.as_bytes()]), [TICKET]);
        for odd in [
            &b"name=\xe9l\xe8ve"[..],
            "name=élève".as_bytes(),
            b"\xff",
            b"__Host-preau-ent=\xff",
        ] {
            assert_eq!(tokens(&[&[odd, b"; ", ours.as_bytes()].concat()]), [TICKET]);
        }
    }

    #[test]
    fn of_several_seats_come_first_then_tickets_then_invitations_and_no_more_than_three() {
        let all = [INVITATION, TICKET, SEAT, TICKET, OTHER_SEAT, "EQABAgQ"];
        let pairs = all.map(|token| format!("__Host-preau-ent={token}"));
        assert_eq!(
            tokens(&[pairs.join("; ").as_bytes()]),
            [SEAT, OTHER_SEAT, TICKET]
        );
        let two: Vec<_> = pairs[..2].iter().map(String::as_bytes).collect();
        assert_eq!(tokens(&two), [TICKET, INVITATION]);
    }

    #[test]
    fn what_is_no_token_of_ours_is_none() {
        for none in [
            "",
            "__Host-preau-ent=",
            "__Host-preau-ent=abc",
            "preau-ent=EQAB",
            ";;;=",
            "é=EQAB",
        ] {
            assert!(tokens(&[none.as_bytes()]).is_empty(), "{none}");
        }
    }
}
