//! Who may come in, who waits, and who is asked to come back: the one place where that is decided, whichever way
//! somebody is asked about.

mod answer;
mod glance;
mod told;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use client::queue::NoEntry;
use client::tokens::{INVITATION_LIFE_S, Kind, TokenError};
use client::{FrontEnd, Turn};

use crate::identity::Person;
use crate::invited::Invited;
use crate::limits::Limits;
use crate::pace::{Booked, Pace};
use crate::people::People;
use crate::view::{State, View};

pub use answer::{Answer, Change, Showing, Visitor};
pub use glance::Glance;

/// A request with a seat from before a restart is held for up to so long, until the coordinator has been heard and has
/// said of it: less than proxies wait for.
const CHECK_WITHIN: Duration = Duration::from_millis(1_500);
/// How often it is looked at meanwhile.
const CHECK_EVERY: Duration = Duration::from_millis(50);

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
    booked: Booked,
    invited: Invited,
    people: People,
    /// Seconds since 1970, or 0 where nobody knows.
    opens_unix_s: AtomicI64,
    began: Instant,
}

/// A place or an invitation that somebody shows, or what is said of what they show.
enum Found {
    /// How they stand, by this token.
    Place(Answer, String),
    /// The place or the session is gone.
    Gone(Answer),
    /// They may arrive.
    Invitation(u64, String),
    /// Nothing that is good for anything.
    Nothing,
}

impl Desk {
    /// A desk that has not heard of the coordinator yet.
    pub fn new(settings: Settings, limits: Limits) -> Self {
        Self {
            front: OnceLock::new(),
            glance: RwLock::default(),
            settings,
            limits,
            booked: Booked::default(),
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
        let first_class = front.classes().into_iter().next().unwrap_or_default();
        let (before, now) = (self.glance(), Instant::now());
        let glance = Glance::new(before.as_deref(), front.status(), first_class, now);
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
            Err(invitation) => Answer::Invited(invitation.map(|(_, text)| text)),
        }
    }

    /// As [`Desk::look`]; whoever shows an invitation takes a place.
    pub async fn enter(&self, visitor: &Visitor) -> Answer {
        match self.standing(visitor, Showing::Sign).await {
            Ok(answer) => answer,
            Err(None) => Answer::Invited(None),
            Err(Some((invitation, _))) => self.arrive(invitation, visitor),
        }
    }

    /// What somebody comes back with who is [`Answer::Invited`] and has nothing yet; `None` before the coordinator has
    /// been heard.
    pub fn invitation(&self) -> Option<String> {
        self.front.get()?.invite().ok()
    }

    /// Somebody gives up the place or the session. Says how they stand then: [`State::Over`] or [`State::Lost`], or
    /// else it could not be given up yet.
    pub async fn leave(&self, visitor: &Visitor) -> View {
        let Some(front) = self.front.get() else {
            return self.unreachable();
        };
        let held = visitor
            .person
            .as_ref()
            .and_then(|who| self.people.place(who));
        let held = held.map(|(_, token)| token);
        for shown in visitor.tokens().chain(&held) {
            let came_of = || {
                let id = front.invited(shown).ok()?;
                self.invited.token(invitation_of(id, visitor))
            };
            let token = match Kind::of(shown) {
                Some(Kind::Invitation) => came_of(),
                _ => Some(shown.clone()),
            };
            let token = token.filter(|token| !self.is_anothers(front, visitor, token));
            if let Some(token) = token
                && !self.give_up(front, &token).await
            {
                return match self.is_cut_off() {
                    true => self.unreachable(),
                    false => self.checking(),
                };
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

    /// Gives up what a token stands for, and says whether it is gone. Where another gate has it, this one asks for it
    /// first.
    async fn give_up(&self, front: &FrontEnd, token: &str) -> bool {
        let turn = settled(
            || front.poll(token),
            |turn| matches!(turn, Ok(Turn::Checking)),
        );
        match turn.await {
            // To leave now would be to ask for it no more.
            Ok(Turn::Checking) | Err(TokenError::NotYet) => false,
            Ok(_) => front.leave(token).is_ok(),
            Err(TokenError::AlreadyUsed) => !self.is_cut_off(),
            Err(_) => true,
        }
    }

    /// How whoever has a place stands; or else their invitation and its id, if they have one.
    async fn standing(
        &self,
        visitor: &Visitor,
        showing: Showing,
    ) -> Result<Answer, Option<(u64, String)>> {
        let is_seat = |token: &String| Kind::of(token) == Some(Kind::Seat);
        if visitor.tokens().any(is_seat) {
            settled(|| self.front.get(), Option::is_none).await;
        }
        let Some(front) = self.front.get() else {
            return Ok(Answer::of(self.unreachable()));
        };
        let found = self.found(front, visitor, showing).await;
        let found = match &visitor.person {
            Some(person) => self.known(front, person, found, showing).await,
            None => found,
        };
        match found {
            Found::Place(answer, _) | Found::Gone(answer) => Ok(answer),
            Found::Invitation(id, text) => self
                .fresh(visitor)
                .map_or_else(Ok, |()| Err(Some((id, text)))),
            Found::Nothing => self.fresh(visitor).map_or_else(Ok, |()| Err(None)),
        }
    }

    /// What comes of the tokens that somebody shows: the first that is good.
    async fn found(&self, front: &FrontEnd, visitor: &Visitor, showing: Showing) -> Found {
        let mut found = Found::Nothing;
        for token in visitor.tokens() {
            if Kind::of(token) == Some(Kind::Invitation) {
                if let Ok(id) = front.invited(token) {
                    return Found::Invitation(id, token.clone());
                }
                continue;
            }
            // Whoever sat here before, and is still in, is somebody else.
            if self.is_anothers(front, visitor, token) {
                continue;
            }
            match self.shown(front, token, showing, false).await {
                Some(answer) if answer.is_gone() => {
                    if matches!(found, Found::Nothing) {
                        found = Found::Gone(answer);
                    }
                }
                Some(answer) => return Found::Place(answer, token.clone()),
                None => {}
            }
        }
        found
    }

    /// Which place somebody has who is known: the one that they had, or the one that they show, if they are in by
    /// that. They keep no other.
    async fn known(
        &self,
        front: &FrontEnd,
        person: &Person,
        found: Found,
        showing: Showing,
    ) -> Found {
        let shown = match &found {
            Found::Place(answer, token) => front.id(token).ok().map(|id| (id, answer.is_in())),
            _ => None,
        };
        let had = self
            .people
            .place(person)
            .filter(|(id, _)| shown.is_none_or(|shown| shown.0 != *id));
        if let Some((_, token)) = had
            && let Some(answer) = self.shown(front, &token, showing, true).await
        {
            let is_in_by_other = shown.is_some_and(|shown| shown.1) && !answer.is_in();
            let (stays, goes) = match found {
                Found::Place(..) if is_in_by_other => (found, Some(token)),
                Found::Place(_, other) if answer.is_settled() => {
                    (Found::Place(answer, token), Some(other))
                }
                _ => (Found::Place(answer, token), None),
            };
            if let Some(token) = goes {
                // What is not known can't be left, and is as good as left.
                let _ = front.leave(&token);
            }
            self.note(front, person, &stays);
            return stays;
        }
        self.note(front, person, &found);
        found
    }

    /// Whether a token is known to be of somebody else than who shows it.
    fn is_anothers(&self, front: &FrontEnd, visitor: &Visitor, token: &str) -> bool {
        visitor.person.as_ref().is_some_and(|person| {
            front
                .id(token)
                .is_ok_and(|id| self.people.is_anothers(person, id))
        })
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
            return Some(Answer::of(self.too_many(pause)));
        }
        let ask = || match showing {
            Showing::Sign => front.poll(token),
            Showing::Look => front.look(token),
        };
        // Whoever was in stands before everybody once that is settled.
        let is_open =
            |turn: &_| is_seat && matches!(turn, Ok(Turn::Checking | Turn::Waiting { .. }));
        match settled(ask, is_open).await {
            // Until then they keep the seat, and are shown no place in the queue: the session goes on where a slot is
            // theirs again, such as when the lease of a gate that is gone has run out.
            Ok(Turn::Waiting { .. }) if is_seat => Some(Answer::of(self.kept_out())),
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
            .once(invitation_of(invitation, visitor), arrive, |token| {
                front.poll(token)
            });
        let answer = match turn {
            Ok(turn) => self.turned(turn, None),
            Err(NoEntry::NotReady) => Answer::of(self.unreachable()),
            Err(NoEntry::Full) => Answer::of(self.full()),
            Err(NoEntry::Draining | NoEntry::NoSuchClass) => Answer::of(self.closed()),
        };
        if let (Some(person), Some(token)) = (&visitor.person, answer.anew()) {
            self.note_token(front, person, token);
        }
        answer
    }

    /// Remembers where a person has the place.
    fn note(&self, front: &FrontEnd, person: &Person, found: &Found) {
        if let Found::Place(answer, token) = found
            && answer.is_settled()
        {
            self.note_token(front, person, answer.anew().unwrap_or(token));
        }
    }

    fn note_token(&self, front: &FrontEnd, person: &Person, token: &str) {
        if let Ok(id) = front.id(token) {
            self.people.note(person, id, token);
        }
    }

    fn fresh(&self, visitor: &Visitor) -> Result<(), Answer> {
        let Some(address) = visitor.address else {
            return Ok(());
        };
        let allowed = self.limits.fresh(address, self.now());
        allowed.map_err(|pause| Answer::of(self.too_many(pause)))
    }

    fn is_cut_off(&self) -> bool {
        self.glance()
            .is_none_or(|glance| glance.is_cut_off(Instant::now()))
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What an invitation is remembered by once it was taken up: two people at one browser take up two places.
fn invitation_of(id: u64, visitor: &Visitor) -> u64 {
    let key = visitor
        .person
        .as_ref()
        .map_or(0, |person| u128::from_be_bytes(person.key));
    id ^ key as u64
}

/// What is answered once it is no more `open`, or after [`CHECK_WITHIN`].
async fn settled<T>(ask: impl Fn() -> T, is_open: impl Fn(&T) -> bool) -> T {
    let (mut answer, began) = (ask(), Instant::now());
    while is_open(&answer) && began.elapsed() < CHECK_WITHIN {
        tokio::time::sleep(CHECK_EVERY).await;
        answer = ask();
    }
    answer
}

/// So many seconds an invitation's cookie is kept.
pub const INVITED_FOR_S: u32 = INVITATION_LIFE_S;
