//! How somebody stands, as it is shown: on the page, in the API, and to proxies.

use quota::Wait;

/// What the page and the API call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In the queue.
    Waiting,
    /// In the queue before opening: the order is drawn then.
    Before,
    /// In the queue while nobody is let in, for a reason that the operator gives.
    Paused,
    /// The ticket or seat comes from elsewhere, or from before a restart, and is being asked about.
    Checking,
    /// The coordinator can't be reached; places are kept.
    Unreachable,
    /// Nobody may come in or queue.
    Closed,
    /// The gate holds as many people as it can.
    Full,
    /// The browser keeps no cookie, and so can hold no place.
    NoCookies,
    /// Too many requests from the same address.
    TooMany,
    /// The place was given up after too long without a sign.
    Lost,
    /// The session is over.
    Over,
    /// In.
    Seated,
    /// In, and told that the session ends soon.
    Ending,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Waiting,
        Self::Before,
        Self::Paused,
        Self::Checking,
        Self::Unreachable,
        Self::Closed,
        Self::Full,
        Self::NoCookies,
        Self::TooMany,
        Self::Lost,
        Self::Over,
        Self::Seated,
        Self::Ending,
    ];

    /// Its name in the API, on the page and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Before => "before",
            Self::Paused => "paused",
            Self::Checking => "checking",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed",
            Self::Full => "full",
            Self::NoCookies => "no-cookies",
            Self::TooMany => "too-many",
            Self::Lost => "lost",
            Self::Over => "over",
            Self::Seated => "seated",
            Self::Ending => "ending",
        }
    }

    /// Whether one may use the portal.
    pub const fn is_in(self) -> bool {
        matches!(self, Self::Seated | Self::Ending)
    }

    /// Whether the place or the session is gone.
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Over | Self::Lost)
    }

    /// Whether one holds a place in the queue, and this gate knows it.
    pub const fn is_placed(self) -> bool {
        matches!(self, Self::Waiting | Self::Before | Self::Paused)
    }

    /// Whether one holds a place in the queue, which can be given up.
    pub const fn is_queued(self) -> bool {
        self.is_placed() || matches!(self, Self::Checking)
    }
}

/// How somebody stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// In one word.
    pub state: State,
    /// People of the same class before them, of whom this gate knows.
    pub ahead: Option<u64>,
    /// How long it may take.
    pub wait: Option<Wait>,
    /// Why nobody or fewer get in, in the operator's words; empty where none were given.
    pub reason: String,
    /// Whether fewer people may be in than are: nobody gets in until enough have left.
    pub fewer: bool,
    /// In how many seconds to ask again; `None` where asking changes nothing.
    pub ask_in_s: Option<u32>,
    /// When people are let in again, in seconds since 1970, where the calendar says so.
    pub opens_unix_s: Option<i64>,
    /// How many seconds are left of the session; `None` without a limit, or out of a session.
    pub left_s: Option<u32>,
}

impl View {
    /// No more than the state.
    pub const fn of(state: State) -> Self {
        Self {
            state,
            ahead: None,
            wait: None,
            reason: String::new(),
            fewer: false,
            ask_in_s: None,
            opens_unix_s: None,
            left_s: None,
        }
    }
}
