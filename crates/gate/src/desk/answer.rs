//! Who asks, and what they are told.

use std::net::IpAddr;

use crate::identity::Person;
use crate::view::View;

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// From where; `None` where nobody said, and then no address is held to a rate.
    pub address: Option<IpAddr>,
    /// The token that they show; the best of them, where their browser keeps several under our cookie's name.
    pub token: Option<String>,
    /// The others, the next best first.
    pub others: Vec<String>,
    /// Who it is, where something before the gate knows.
    pub person: Option<Person>,
    /// Whether the answer gives them no cookie: they keep the token that they have.
    pub cookieless: bool,
}

impl Visitor {
    /// The same without any token.
    pub fn without_token(self) -> Self {
        Self {
            token: None,
            others: Vec::new(),
            ..self
        }
    }

    /// All that they show, the best first.
    pub fn tokens(&self) -> impl Iterator<Item = &String> {
        self.token.iter().chain(&self.others)
    }
}

/// What they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To come back with this invitation or, where they have none yet, with one that is made when it is wanted
    /// ([`invitation`](super::Desk::invitation)); nothing is kept of them until then.
    Invited(Option<String>),
    /// How they stand.
    Stands(View, Change),
}

/// What becomes of the token that they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays.
    Keep,
    /// This takes its place, for so many seconds.
    Set(String, u32),
}

impl Answer {
    /// What it is called where somebody is to come back.
    pub const INVITED: &'static str = "invited";

    /// They stand so, and keep what they have.
    pub const fn of(view: View) -> Self {
        Self::Stands(view, Change::Keep)
    }

    /// The token that takes the place of theirs, where one does.
    pub fn anew(&self) -> Option<&String> {
        match self {
            Self::Stands(_, Change::Set(token, _)) => Some(token),
            Self::Stands(_, Change::Keep) | Self::Invited(_) => None,
        }
    }

    /// Whether they may use the portal.
    pub fn is_in(&self) -> bool {
        matches!(self, Self::Stands(view, _) if view.state.is_in())
    }

    /// Whether the place or the session is gone.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Stands(view, _) if view.state.is_gone())
    }

    /// Whether this gate knows the place or the session.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Stands(view, _) if view.state.is_in() || view.state.is_placed())
    }

    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Invited(_) => Self::INVITED,
            Self::Stands(view, _) => view.state.name(),
        }
    }
}

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showing {
    /// By its bearer: a sign of them, which seats whoever was called.
    Sign,
    /// By a page that looks by itself.
    Look,
}
