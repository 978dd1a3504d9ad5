//! Who may come in, who waits, and who is asked to come back: the one place where that is decided, whichever way
//! somebody is asked about.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::queue::{NoEntry, Place, Session};
use client::tokens::{INVITATION_LIFE_S, Kind, TOKEN_LIFE_S, TokenError};
use client::{FrontEnd, QueueStatus, Turn};
use quota::{Mode, Wait};

use crate::identity::Person;
use crate::invited::Invited;
use crate::limits::Limits;
use crate::pace::Pace;
use crate::people::People;
use crate::view::{State, View};

/// The coordinator is called unreachable when it has been for so long: a change of leader takes less.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// A request with a seat from before a restart is held for up to so long, until the coordinator has been heard and has
/// said of it: less than proxies wait for.
const CHECK_WITHIN: Duration = Duration::from_millis(1_500);
/// How often it is looked at meanwhile.
const CHECK_EVERY: Duration = Duration::from_millis(50);
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

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// From where; `None` where nobody said, and then no address is held to a rate.
    pub address: Option<IpAddr>,
    /// The token that they show.
    pub token: Option<String>,
    /// Who it is, where something before the gate knows.
    pub person: Option<Person>,
}

/// What they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To come back with this; nothing is kept of them until then.
    Invited(String),
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

    fn of(view: View) -> Self {
        Self::Stands(view, Change::Keep)
    }

    /// Whether they may use the portal.
    pub fn is_in(&self) -> bool {
        matches!(self, Self::Stands(view, _) if view.state.is_in())
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

/// What is done by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The class of whoever is not known to be of another.
    pub class: Option<String>,
    /// When to ask again.
    pub pace: Pace,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    front: OnceLock<FrontEnd>,
    glance: RwLock<Option<Arc<Glance>>>,
    settings: Settings,
    limits: Limits,
    invited: Invited,
    people: People,
    /// Seconds since 1970, or 0 where nobody knows.
    opens_unix_s: AtomicI64,
    began: Instant,
}

/// How things stood at some moment, for what need not be known to the instant.
#[derive(Debug)]
pub struct Glance {
    /// The queue.
    pub status: QueueStatus,
    /// The class of whoever is of none in particular.
    pub first_class: String,
    at: Instant,
    connected_at: Instant,
}

impl Desk {
    /// A desk that has not heard of the coordinator yet.
    pub fn new(settings: Settings, limits: Limits) -> Self {
        Self {
            front: OnceLock::new(),
            glance: RwLock::default(),
            settings,
            limits,
            invited: Invited::default(),
            people: People::default(),
            opens_unix_s: AtomicI64::new(0),
            began: Instant::now(),
        }
    }

    /// The coordinator has granted the first lease.
    pub fn open(&self, front: FrontEnd) {
        if self.front.set(front).is_ok() {
            self.look_around();
        }
    }

    /// Brings the [`Glance`] up to date: a few times a second.
    pub fn look_around(&self) {
        let Some(front) = self.front.get() else {
            return;
        };
        let (status, now) = (front.status(), Instant::now());
        let before = self.glance();
        let connected_at = match before {
            Some(before) if !status.lease.connected => before.connected_at,
            _ => now,
        };
        let glance = Glance {
            first_class: front.classes().into_iter().next().unwrap_or_default(),
            status,
            at: now,
            connected_at,
        };
        *self.glance.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(glance));
    }

    /// When people are let in again, in seconds since 1970, where somebody knows.
    pub fn opens(&self, unix_s: Option<i64>) {
        self.opens_unix_s
            .store(unix_s.unwrap_or(0), Ordering::Relaxed);
    }

    /// How things stood a moment ago; `None` before the coordinator has been heard.
    pub fn glance(&self) -> Option<Arc<Glance>> {
        let glance = self.glance.read().unwrap_or_else(PoisonError::into_inner);
        glance.clone()
    }

    /// How somebody stands. Whoever has no place gets none, but is told how to come for one.
    pub async fn look(&self, visitor: &Visitor, showing: Showing) -> Answer {
        match self.standing(visitor, showing).await {
            Ok(answer) => answer,
            Err(None) => self.invite(),
            // Good as it is.
            Err(Some(_)) => match &visitor.token {
                Some(invitation) => Answer::Invited(invitation.clone()),
                None => self.invite(),
            },
        }
    }

    /// As [`Desk::look`]; whoever shows an invitation takes a place.
    pub async fn enter(&self, visitor: &Visitor) -> Answer {
        match self.standing(visitor, Showing::Sign).await {
            Ok(answer) => answer,
            Err(None) => self.invite(),
            Err(Some(invitation)) => self.arrive(invitation, visitor),
        }
    }

    /// Somebody gives up the place or the session. Says how they stand then.
    pub fn leave(&self, visitor: &Visitor) -> View {
        let held = self.held(visitor);
        if let Some(front) = self.front.get() {
            for token in visitor.token.iter().chain(&held) {
                // What is not known can't be left, and is as good as left.
                let _ = front.leave(token);
            }
        }
        if let Some(person) = &visitor.person {
            self.people.forget(person);
        }
        View::of(match visitor.token.as_deref().and_then(Kind::of) {
            Some(Kind::Seat) => State::Over,
            _ => State::Lost,
        })
    }

    /// How whoever has a place stands; or else the id of their invitation, if they have one.
    async fn standing(&self, visitor: &Visitor, showing: Showing) -> Result<Answer, Option<u64>> {
        let is_seat = visitor.token.as_deref().and_then(Kind::of) == Some(Kind::Seat);
        let began = Instant::now();
        while is_seat && self.front.get().is_none() && began.elapsed() < CHECK_WITHIN {
            tokio::time::sleep(CHECK_EVERY).await;
        }
        let Some(front) = self.front.get() else {
            return Ok(Answer::of(self.unreachable()));
        };
        let held = self.held(visitor);
        if let Some(token) = held.filter(|token| visitor.token.as_ref() != Some(token))
            && let Some(answer) = self.shown(front, &token, showing, true).await
        {
            self.note(visitor, &answer);
            return Ok(answer);
        }
        if let Some(token) = &visitor.token {
            if Kind::of(token) == Some(Kind::Invitation) {
                if let Err(wait) = self.fresh(visitor) {
                    return Ok(wait);
                }
                return Err(front.invited(token).ok());
            }
            if let Some(answer) = self.shown(front, token, showing, false).await {
                self.note(visitor, &answer);
                return Ok(answer);
            }
        }
        self.fresh(visitor).map_or_else(Ok, |()| Err(None))
    }

    /// How the bearer of a ticket or a seat stands; `None` where it is good for nothing. `held` is one that is
    /// known of the person, and not shown.
    async fn shown(
        &self,
        front: &FrontEnd,
        token: &str,
        showing: Showing,
        held: bool,
    ) -> Option<Answer> {
        let is_seat = Kind::of(token)? == Kind::Seat;
        if !is_seat && let Err(pause) = self.limits.poll(token, self.now()) {
            return Some(Answer::of(too_many(pause)));
        }
        let ask = || match showing {
            Showing::Sign => front.poll(token),
            Showing::Look => front.look(token),
        };
        let mut turn = ask();
        let began = Instant::now();
        // Whoever was in stands before everybody once that is settled.
        let unsettled = |turn: &_| matches!(turn, Ok(Turn::Checking | Turn::Waiting { .. }));
        while is_seat && unsettled(&turn) && began.elapsed() < CHECK_WITHIN {
            tokio::time::sleep(CHECK_EVERY).await;
            turn = ask();
        }
        match turn {
            // Until then they keep the seat, and are shown no place in the queue: the session goes on where a slot is
            // theirs again, such as when the lease of a gate that is gone has run out.
            Ok(Turn::Waiting { .. }) if is_seat => Some(self.turned(Turn::Checking, None)),
            Ok(turn) => Some(self.turned(turn, Some(token).filter(|_| !held))),
            Err(TokenError::NotYet) => Some(Answer::of(self.unreachable())),
            Err(TokenError::AlreadyUsed | TokenError::Expired) if held => None,
            // Its cookie is kept for a while beyond the session, to say this.
            Err(TokenError::Expired) if is_seat => Some(Answer::of(View::of(State::Over))),
            // Nobody can be asked who may have ended it, or let them in again.
            Err(TokenError::AlreadyUsed) if self.is_cut_off() => {
                Some(Answer::of(self.unreachable()))
            }
            Err(TokenError::AlreadyUsed) if is_seat => Some(Answer::of(View::of(State::Over))),
            Err(TokenError::AlreadyUsed) => Some(Answer::of(View::of(State::Lost))),
            Err(_) => None,
        }
    }

    /// What a turn comes to for whoever showed `token`.
    fn turned(&self, turn: Turn, token: Option<&str>) -> Answer {
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
            Turn::Checking => {
                let mut view = View::of(State::Checking);
                view.ask_in_s = Some(CHECKING_S);
                Answer::of(view)
            }
        }
    }

    /// Somebody who was invited comes.
    fn arrive(&self, invitation: u64, visitor: &Visitor) -> Answer {
        let Some(front) = self.front.get() else {
            return Answer::of(self.unreachable());
        };
        let arrive = || {
            let known = visitor.person.as_ref().and_then(|who| who.class.clone());
            let class = known.or_else(|| self.settings.class.clone());
            let first = || self.glance().map(|glance| glance.first_class.clone());
            let turn = match class {
                None => Err(NoEntry::NoSuchClass),
                Some(class) => front.arrive(&class).inspect_err(|why| {
                    if *why == NoEntry::NoSuchClass {
                        tracing::warn!(class, "the pool's rules have no such class");
                    }
                }),
            };
            match turn {
                Err(NoEntry::NoSuchClass) => front.arrive(&first().unwrap_or_default()),
                turn => turn,
            }
        };
        let turn = self
            .invited
            .once(invitation, arrive, |token| front.poll(token));
        let answer = match turn {
            Ok(turn) => self.turned(turn, None),
            Err(NoEntry::NotReady) => Answer::of(self.unreachable()),
            Err(NoEntry::Full) => {
                let mut view = View::of(State::Full);
                view.ask_in_s = Some(SHUT_S);
                Answer::of(view)
            }
            Err(NoEntry::Draining | NoEntry::NoSuchClass) => Answer::of(self.closed()),
        };
        self.note(visitor, &answer);
        answer
    }

    /// The token of the place that a person is known to have.
    fn held(&self, visitor: &Visitor) -> Option<String> {
        let person = visitor.person.as_ref()?;
        self.people.token(person)
    }

    /// Remembers where a person has the place.
    fn note(&self, visitor: &Visitor, answer: &Answer) {
        let (Some(person), Answer::Stands(view, change)) = (&visitor.person, answer) else {
            return;
        };
        let token = match change {
            Change::Set(token, _) => Some(token),
            Change::Keep => visitor.token.as_ref(),
        };
        if let Some(token) = token
            && (view.state.is_in() || view.state.is_queued())
        {
            self.people.note(person, token);
        }
    }

    fn fresh(&self, visitor: &Visitor) -> Result<(), Answer> {
        let Some(address) = visitor.address else {
            return Ok(());
        };
        let allowed = self.limits.fresh(address, self.now());
        allowed.map_err(|pause| Answer::of(too_many(pause)))
    }

    fn invite(&self) -> Answer {
        match self.front.get().map(FrontEnd::invite) {
            Some(Ok(invitation)) => Answer::Invited(invitation),
            _ => Answer::of(self.unreachable()),
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
        let opens = self.opens_unix_s.load(Ordering::Relaxed);
        let shut = matches!(state, State::Before | State::Paused);
        let opens_unix_s = Some(opens).filter(|opens| shut && *opens > 0);
        // Nothing is foretold while nobody is let in; but then there is nothing to ask for until that ends.
        let wait = place.wait.filter(|_| state == State::Waiting);
        let left = opens_unix_s.map(until).or(wait);
        let pace = self.settings.pace;
        let dice = fastrand::f64();
        View {
            ahead: Some(place.ahead),
            wait,
            reason: status.reason.clone(),
            fewer: status.lease.target < status.lease.in_use,
            ask_in_s: Some(pace.ask_in_s(place.ahead, left, status.waiting, dice)),
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

    fn closed(&self) -> View {
        let reason = self.glance().map(|glance| glance.status.reason.clone());
        View {
            reason: reason.unwrap_or_default(),
            ask_in_s: Some(SHUT_S),
            ..View::of(State::Closed)
        }
    }

    /// What is said before the coordinator has been heard.
    pub fn not_yet(&self) -> Answer {
        Answer::of(self.unreachable())
    }

    fn unreachable(&self) -> View {
        View {
            ask_in_s: Some(UNREACHABLE_S),
            ..View::of(State::Unreachable)
        }
    }

    fn is_cut_off(&self) -> bool {
        self.glance().is_none_or(|glance| {
            let lease = &glance.status.lease;
            let has_run_out = lease.expires_in <= glance.at.elapsed();
            let is_silent = glance.connected_at.elapsed() >= SILENT_FOR;
            !lease.connected && (has_run_out || is_silent)
        })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Glance {
    /// The second of cluster time.
    fn second(&self) -> u32 {
        let since = u32::try_from(self.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.status.second.saturating_add(since)
    }
}

/// The time until then, as a wait.
fn until(unix_s: i64) -> Wait {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let left = u32::try_from(unix_s.saturating_sub(now)).unwrap_or(0);
    Wait {
        p50_s: left,
        p90_s: left,
    }
}

fn too_many(pause: Duration) -> View {
    let pause_s = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
    View {
        ask_in_s: Some(pause_s.clamp(1, 60)),
        ..View::of(State::TooMany)
    }
}

/// So many seconds an invitation's cookie is kept.
pub const INVITED_FOR_S: u32 = INVITATION_LIFE_S;
