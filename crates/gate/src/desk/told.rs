//! What people are told, and when they are to ask again.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::Turn;
use client::queue::{Place, Session};
use client::tokens::TOKEN_LIFE_S;
use quota::Mode;

use super::{Answer, Change, Desk, Visitor};
use crate::view::{State, View};

/// When to ask again where it is being asked about, where the coordinator is away, and where only the operator can
/// change anything, in seconds.
const CHECKING_S: u32 = 1;
const UNREACHABLE_S: u32 = 10;
const SHUT_S: u32 = 30;
/// Somebody who is in looks at the time left so often, and so often when it is nearly over, in seconds.
const SEATED_S: u32 = 60;
const ENDING_S: u32 = 10;
/// A seat's cookie is kept for so long after the session's end, so that the end can be told, in seconds.
const OVER_FOR_S: u32 = 600;

impl Desk {
    /// Somebody has been told to ask again: the poll is booked, where they have a place, and once for each pause however
    /// often they ask.
    pub fn told(&self, answer: &Answer, visitor: &Visitor) {
        let Answer::Stands(view, _) = answer else {
            return;
        };
        let token = answer.anew().or(visitor.token.as_ref());
        let (Some(token), Some(pause_s), Some(_)) = (token, view.ask_in_s, self.front.get()) else {
            return;
        };
        if view.state.is_in() || view.state == State::TooMany {
            return;
        }
        let now = self.now();
        if self.limits.told(token, now) {
            self.settings.pace.book(&self.booked, pause_s, now);
        }
    }

    /// What a turn comes to for whoever showed `token`.
    pub(super) fn turned(&self, turn: Turn, token: Option<&str>) -> Answer {
        let change = |now: String, good_for_s| match Some(now.as_str()) == token {
            true => Change::Keep,
            false => Change::Set(now, good_for_s),
        };
        match turn {
            Turn::Seated { seat, session } => {
                let view = self.seated(session);
                let left_s = view.left_s.map(|left| left.saturating_add(OVER_FOR_S));
                let good_for_s = left_s.unwrap_or(TOKEN_LIFE_S).min(TOKEN_LIFE_S);
                Answer::Stands(view, change(seat, good_for_s))
            }
            Turn::Waiting { ticket, place } => {
                Answer::Stands(self.waiting(place), change(ticket, TOKEN_LIFE_S))
            }
            Turn::Checking if self.is_cut_off() => Answer::of(self.unreachable()),
            Turn::Checking => Answer::of(self.checking()),
        }
    }

    fn waiting(&self, place: Place) -> View {
        let Some(glance) = self.glance() else {
            return self.unreachable();
        };
        let status = &glance.status;
        let state = match status.mode {
            _ if self.is_cut_off() => State::Unreachable,
            Mode::Draining => return self.closed(),
            Mode::Paused => State::Paused,
            Mode::Closed => State::Before,
            Mode::Open | Mode::Frozen => State::Waiting,
        };
        let (pace, booked, now, dice) = (
            self.settings.pace,
            &self.booked,
            self.now(),
            fastrand::f64(),
        );
        let is_shut = matches!(state, State::Before | State::Paused);
        let opens_unix_s = self.opens_unix_s().filter(|_| is_shut);
        // Nothing is foretold while nobody is let in; but then there is nothing to ask for until that ends.
        let wait = place.wait.filter(|_| state == State::Waiting);
        let ask_in_s = match is_shut {
            true => pace.opening_s(booked, opens_unix_s.map(left_s), now, dice),
            false => pace.turn_s(booked, place.ahead, wait, now, dice),
        };
        View {
            // Before opening the order is yet to be drawn.
            ahead: Some(place.ahead).filter(|_| state != State::Before),
            wait,
            reason: status.reason.clone(),
            fewer: status.lease.target < status.lease.in_use,
            ask_in_s: Some(ask_in_s),
            opens_unix_s,
            ..View::of(state)
        }
    }

    fn seated(&self, session: Session) -> View {
        let state = match session.notice {
            true => State::Ending,
            false => State::Seated,
        };
        let now_s = self.glance().map(|glance| glance.second());
        let left_s = session
            .ends_s
            .zip(now_s)
            .map(|(ends, now)| ends.saturating_sub(now));
        View {
            ask_in_s: Some(match session.notice {
                true => ENDING_S,
                false => SEATED_S,
            }),
            left_s,
            ..View::of(state)
        }
    }

    /// A seat is known here, and no slot is its own yet: where nobody is let in, that is why.
    pub(super) fn kept_out(&self) -> View {
        let glance = self.glance().filter(|_| !self.is_cut_off());
        match glance.map(|glance| (glance.status.mode, glance.status.reason.clone())) {
            None => self.unreachable(),
            Some((Mode::Open | Mode::Frozen, _)) => self.checking(),
            Some((Mode::Paused | Mode::Draining | Mode::Closed, reason)) => View {
                reason,
                ask_in_s: Some(self.ask_in_s(SHUT_S)),
                opens_unix_s: self.opens_unix_s(),
                ..View::of(State::Paused)
            },
        }
    }

    pub(super) fn checking(&self) -> View {
        self.asks(State::Checking, CHECKING_S)
    }

    pub(super) fn full(&self) -> View {
        self.asks(State::Full, SHUT_S)
    }

    pub(super) fn closed(&self) -> View {
        let reason = self.glance().map(|glance| glance.status.reason.clone());
        View {
            reason: reason.unwrap_or_default(),
            ..self.asks(State::Closed, SHUT_S)
        }
    }

    pub(super) fn unreachable(&self) -> View {
        self.asks(State::Unreachable, UNREACHABLE_S)
    }

    pub(super) fn too_many(&self, pause: Duration) -> View {
        let ask_in_s = self.settings.pace.too_many_s(pause, fastrand::f64());
        View {
            ask_in_s: Some(ask_in_s),
            ..View::of(State::TooMany)
        }
    }

    /// What is said before the coordinator has been heard.
    pub fn not_yet(&self) -> Answer {
        Answer::of(self.unreachable())
    }

    fn asks(&self, state: State, usual_s: u32) -> View {
        View {
            ask_in_s: Some(self.ask_in_s(usual_s)),
            ..View::of(state)
        }
    }

    fn ask_in_s(&self, usual_s: u32) -> u32 {
        let pace = self.settings.pace;
        pace.ask_in_s(&self.booked, usual_s, self.now(), fastrand::f64())
    }

    fn opens_unix_s(&self) -> Option<i64> {
        Some(self.opens_unix_s.load(Ordering::Relaxed)).filter(|opens| *opens > 0)
    }
}

/// The time until then, in seconds.
fn left_s(unix_s: i64) -> u32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    u32::try_from(unix_s.saturating_sub(now).max(0)).unwrap_or(u32::MAX)
}
