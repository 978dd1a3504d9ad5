//! What people see while they wait, when their session ends, and where they can't get in: one page that needs nothing
//! but itself, and the words that it asks for anew.

mod inline;
#[cfg(test)]
mod tests;
mod texts;
mod words;

use std::path::PathBuf;

use askama::Template;
use axum::http::HeaderValue;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

pub use texts::{Language, MAX_LANGUAGES, TextsError};
pub use words::Words;

use crate::pace::longest_s;
use crate::view::{State, View};
use texts::Texts;
use words::Speaker;

/// For a portal's own pages: shows a message when the session ends soon or is over, and nothing else.
pub const SESSION_JS: &str = include_str!("session.js");

/// A page that reloads itself does so no more often, in seconds: whoever reads it, or has it read to them, begins
/// anew each time.
const RELOAD_LEAST_S: u32 = 10;

/// What to do meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is.
    pub text: String,
    /// Where it is: `https://`, `http://`, or a path on the portal's host.
    pub url: String,
}

/// What a page is made from.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// The portal's name, as it stands in a sentence: `l’ENT`.
    pub service: String,
    /// The time zone of the times that are shown, such as `Europe/Paris`.
    pub zone: String,
    /// What to do meanwhile.
    pub links: Vec<Link>,
    /// A directory of Fluent files with other languages or words.
    pub texts: Option<PathBuf>,
    /// After so many seconds without a sign a place is given up.
    pub silence_s: u32,
}

/// Why there can be no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Its texts can't be had.
    #[error(transparent)]
    Texts(#[from] TextsError),
    /// There is no such time zone.
    #[error("page.zone: {0:?}: expected a time zone of the IANA's, such as \"Europe/Paris\"")]
    Zone(String),
    /// A link that a browser would not open, or that would run in the page.
    #[error("page.links.url: {0:?}: expected https://, http://, or a path on the portal's host")]
    Link(String),
}

/// The page, for all people and in all languages.
#[derive(Debug)]
pub struct Page {
    service: String,
    zone: TimeZone,
    links: Vec<Link>,
    texts: Texts,
    silence_s: u32,
}

/// What the template is given.
#[derive(Template)]
#[template(path = "page.html")]
struct Shown<'a> {
    lang: String,
    rtl: bool,
    css: &'static str,
    js: &'static str,
    service: &'a str,
    state: &'static str,
    is_in: bool,
    ask_in_s: Option<u32>,
    reload_in_s: Option<u32>,
    failed: String,
    to: &'a str,
    words: Words,
    then: Vec<String>,
    /// The link to the portal.
    onward: Option<String>,
    /// The button that takes a new place.
    again: Option<String>,
    leave: Option<Leave>,
    meanwhile: String,
    links: &'a [Link],
    new_tab: String,
    /// The address of the same page, up to the language.
    here: String,
    languages: Vec<Spoken<'a>>,
    languages_label: String,
}

/// Giving up the place or the session: it is asked about once more.
struct Leave {
    label: String,
    sure: String,
    yes: String,
}

struct Spoken<'a> {
    tag: String,
    name: &'a str,
}

impl Page {
    /// A page.
    ///
    /// # Errors
    /// Where texts, zone or links are not right, with what was expected.
    pub fn new(config: PageConfig) -> Result<Self, PageError> {
        let PageConfig {
            service,
            zone,
            links,
            texts,
            silence_s,
        } = config;
        let opens = |link: &&Link| {
            ["https://", "http://", "/"]
                .iter()
                .any(|start| link.url.starts_with(start))
        };
        if let Some(link) = links.iter().find(|link| !opens(link)) {
            return Err(PageError::Link(link.url.clone()));
        }
        Ok(Self {
            zone: TimeZone::get(&zone).map_err(|_| PageError::Zone(zone))?,
            texts: Texts::new(texts.as_deref())?,
            service,
            links,
            silence_s,
        })
    }

    /// The language that somebody is spoken to in: the one that they chose, or the first of Accept-Language that is
    /// known, or French.
    pub fn language(&self, chosen: Option<&str>, accepted: &str) -> &Language {
        self.texts.choose(chosen, accepted)
    }

    /// All languages, French first.
    pub fn languages(&self) -> &[Language] {
        self.texts.languages()
    }

    /// What the page may do, as `Content-Security-Policy`: its own style and script and no other, and to ask the gate.
    pub fn csp(&self) -> HeaderValue {
        inline::INLINE.csp.clone()
    }

    /// How somebody stands, in words.
    pub fn words(&self, view: &View, language: &Language) -> Words {
        self.speaker(language).words(view)
    }

    /// The page of how somebody stands who wants to go to `to`, a path on this host.
    pub fn html(&self, view: &View, language: &Language, to: &str) -> String {
        let speaker = self.speaker(language);
        let say = |id| speaker.say(id, &[]);
        let state = view.state;
        let lang = language.tag();
        let ends = |state| matches!(state, State::Over | State::Lost);
        let shown = Shown {
            rtl: language.is_rtl(),
            css: &inline::INLINE.css,
            js: &inline::INLINE.js,
            service: &self.service,
            state: state.name(),
            is_in: state.is_in(),
            ask_in_s: view.ask_in_s.map(|ask| match view.left_s {
                // The end of a session is not to come as a surprise.
                Some(left) => ask.min((left / 2).max(5)),
                None => ask,
            }),
            reload_in_s: view.ask_in_s.map(|ask| ask.max(self.reload_least_s())),
            failed: say("failed"),
            to,
            words: speaker.words(view),
            then: self.then(view, &speaker),
            onward: match state {
                State::Seated | State::Ending => Some(say("onward")),
                State::NoCookies => Some(say("no-cookies-again")),
                _ => None,
            },
            again: ends(state).then(|| say("again")),
            leave: leave(state).map(|ids| Leave {
                label: say(ids[0]),
                sure: say(ids[1]),
                yes: say(ids[2]),
            }),
            meanwhile: say("meanwhile"),
            links: if state.is_in() { &[] } else { &self.links },
            new_tab: say("new-tab"),
            here: here(state, to),
            languages: self
                .languages()
                .iter()
                .map(|language| Spoken {
                    tag: language.tag(),
                    name: language.name(),
                })
                .collect(),
            languages_label: say("languages"),
            lang,
        };
        // Writing to memory can't fail, and nothing else in the template can.
        shown.render().unwrap_or_default()
    }

    /// What comes next, and what somebody may do.
    fn then(&self, view: &View, speaker: &Speaker<'_>) -> Vec<String> {
        let again = view.ask_in_s.map(|_| "then-again");
        let ids: &[&str] = match view.state {
            State::Waiting | State::Before | State::Paused => &["then-turn"],
            State::Checking => &[],
            State::Unreachable | State::Closed | State::Full | State::TooMany => again.as_slice(),
            State::NoCookies => &["no-cookies-how", "no-cookies-private", "no-cookies-only"],
            State::Lost => &["lost-then"],
            State::Over => &["over-then"],
            State::Seated => &["seated-then"],
            State::Ending => &["ending-then"],
        };
        let mut lines: Vec<String> = ids.iter().map(|id| speaker.say(id, &[])).collect();
        if view.state.is_placed() {
            // Counted from the last sign, which may be as long ago as the longest pause: the page may have been told
            // of others since it was made.
            let kept_s = self.silence_s.saturating_sub(longest_s(self.silence_s));
            lines.push(speaker.say("keep", &[("time", speaker.seconds(kept_s).into())]));
        }
        lines
    }

    /// A page that reloads itself is to do so twice before the place is given up.
    fn reload_least_s(&self) -> u32 {
        RELOAD_LEAST_S.min(self.silence_s / 2).max(1)
    }

    fn speaker<'a>(&'a self, language: &'a Language) -> Speaker<'a> {
        Speaker {
            texts: &self.texts,
            language,
            service: &self.service,
            silence_s: self.silence_s,
            zone: &self.zone,
            now: Timestamp::now(),
        }
    }
}

/// What is said of giving up the place or the session, for those who have one.
fn leave(state: State) -> Option<[&'static str; 3]> {
    match state {
        State::Seated | State::Ending => {
            Some(["leave-session", "leave-session-sure", "leave-session-yes"])
        }
        state if state.is_queued() && state != State::Checking => {
            Some(["leave-queue", "leave-queue-sure", "leave-queue-yes"])
        }
        _ => None,
    }
}

/// Where the same page can be asked for in another language.
fn here(state: State, to: &str) -> String {
    let to = form_urlencoded::byte_serialize(to.as_bytes());
    let (path, left) = match state {
        State::Seated | State::Ending => ("/preau/session", ""),
        State::Over => ("/preau/session", "left=over&"),
        State::Lost => ("/preau/session", "left=lost&"),
        _ => ("/preau/enter", ""),
    };
    format!("{path}?{left}to={}&", to.collect::<String>())
}
