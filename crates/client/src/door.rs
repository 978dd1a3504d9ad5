//! A front-end's door, without its lease: a queue, signed tokens, and a lock around both.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock;
use crate::front_end::Turn;
use crate::keys::{KeyFile, Keys, KeysError};
use crate::queue::{Arrival, Event, NoEntry, Queue, Settings, Shown, Standing};
use crate::reports::KnownRules;
use crate::resume::Left;
use crate::tokens::{Scope, SeatTerm, Token, TokenError};
use crate::wire::Names;

/// A token that is shown is issued anew where it is older than this.
const REISSUE_S: u32 = 60;
/// How often the key file is looked at.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// Events kept for whoever follows them slowly.
const EVENTS: usize = 16_384;

/// What the task and the callers share.
#[derive(Debug)]
pub struct Door {
    inner: Mutex<Inner>,
    /// Apart, so that nobody waits for the queue while signatures are verified.
    keys: RwLock<Signing>,
    scope: Scope,
    issuer: AtomicU32,
    pub events: broadcast::Sender<Event>,
}

/// Under the lock.
#[derive(Debug)]
pub struct Inner {
    pub queue: Queue,
    pub rules: KnownRules,
}

#[derive(Debug)]
enum Signing {
    /// And when it was last looked at.
    File(KeyFile, Duration),
    Own(Keys),
}

impl Signing {
    fn keys(&self) -> &Keys {
        match self {
            Self::File(file, _) => file.keys(),
            Self::Own(keys) => keys,
        }
    }
}

impl Door {
    /// Nobody has come yet, and the cluster has not been heard.
    pub fn new(
        names: &Names,
        settings: Settings,
        keys: Option<PathBuf>,
    ) -> Result<Self, KeysError> {
        let keys = match keys {
            Some(path) => Signing::File(KeyFile::open(path)?, clock::now()),
            None => Signing::Own(Keys::random()?),
        };
        Ok(Self {
            inner: Mutex::new(Inner {
                // Nobody gains by guessing an id: what counts is the signature.
                queue: Queue::new(settings, fastrand::u64(..)),
                rules: KnownRules::default(),
            }),
            keys: RwLock::new(keys),
            scope: Scope::new(&names.pool, &names.region),
            issuer: AtomicU32::new(0),
            events: broadcast::Sender::new(EVENTS),
        })
    }

    /// The lease goes on that a process had which has stopped.
    pub fn resume(&self, left: &Left) {
        self.lock().queue.resume(left.slots, left.in_use);
    }

    pub fn arrive(&self, now: Duration, class: &str) -> Result<Turn, NoEntry> {
        let inner = &mut *self.lock();
        let class = inner.rules.class(class).ok_or(NoEntry::NoSuchClass)?;
        let (user, standing) = match inner.queue.arrive(now, class) {
            Arrival::Refused(why) => return Err(why),
            Arrival::Waiting(user, place) => (user, Standing::Waiting(place)),
            Arrival::Seated(user) => (user, inner.queue.poll(now, user.id)),
        };
        self.turn(inner, now, user.id, standing, None)
            .map_err(|_| NoEntry::NotReady)
    }

    pub fn invite(&self, now: Duration) -> Result<String, NoEntry> {
        let now_s = self.second(now).ok_or(NoEntry::NotReady)?;
        // Whoever guesses an id gains nothing: what counts is the signature.
        let id = fastrand::u64(..);
        Ok(self.scope.invite(self.signing().keys(), id, now_s))
    }

    pub fn invited(&self, now: Duration, invitation: &str) -> Result<u64, TokenError> {
        let now_s = self.second(now).ok_or(TokenError::NotYet)?;
        self.scope.invited(self.signing().keys(), invitation, now_s)
    }

    pub fn poll(&self, now: Duration, text: &str) -> Result<Turn, TokenError> {
        self.shown(now, text, Queue::poll)
    }

    pub fn look(&self, now: Duration, text: &str) -> Result<Turn, TokenError> {
        self.shown(now, text, Queue::look)
    }

    /// A token is shown: `ask` says how a user of this front-end stands.
    fn shown(
        &self,
        now: Duration,
        text: &str,
        ask: impl FnOnce(&mut Queue, Duration, u64) -> Standing,
    ) -> Result<Turn, TokenError> {
        let (token, mut inner) = self.read(now, text)?;
        let inner = &mut *inner;
        let own = token.issuer == self.issuer() && !inner.queue.gave_up(token.id);
        let standing = if own && inner.queue.is_from_before(token.id, token.issued_s) {
            inner.queue.show(now, kept(&token))
        } else if own || inner.queue.arrival(token.id).is_some() {
            ask(&mut inner.queue, now, token.id)
        } else {
            inner.queue.show(now, shown(&token))
        };
        self.turn(inner, now, token.id, standing, Some((text, &token)))
    }

    pub fn leave(&self, now: Duration, token: &str) -> Result<(), TokenError> {
        let (token, mut inner) = self.read(now, token)?;
        if inner.queue.leave(now, token.id) {
            Ok(())
        } else {
            Err(TokenError::AlreadyUsed)
        }
    }

    pub fn id(&self, now: Duration, token: &str) -> Result<u64, TokenError> {
        Ok(self.read(now, token)?.0.id)
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock is left half done by a panic that matters more than going on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's rules have changed.
    pub fn learn(&self, rules: KnownRules) {
        let inner = &mut *self.lock();
        inner
            .queue
            .set_classes(rules.classes.iter().map(|(_, first)| *first));
        inner.rules = rules;
    }

    /// Tells what has happened.
    pub fn publish(&self, holder: &str, epoch: u64) {
        self.issuer
            .store(quota::issuer(holder, epoch), Ordering::Release);
        let inner = &mut *self.lock();
        for event in inner.queue.events() {
            // Nobody need follow.
            let _ = self.events.send(event);
        }
    }

    /// Looks after the keys.
    pub fn refresh_keys(&self) {
        let now = clock::now();
        let due = |seen: Duration| now.saturating_sub(seen) >= KEYS_EVERY;
        if !matches!(&*self.signing(), Signing::File(_, seen) if due(*seen)) {
            return;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Signing::File(file, seen) = &mut *keys {
            *seen = now;
            match file.refresh() {
                Ok(true) => tracing::info!("the key file has changed, and is in use"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the keys stay what they were"),
            }
        }
    }

    pub fn issuer(&self) -> u32 {
        self.issuer.load(Ordering::Acquire)
    }

    fn second(&self, now: Duration) -> Option<u32> {
        self.lock().queue.second(now)
    }

    fn signing(&self) -> RwLockReadGuard<'_, Signing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a token says that is good, and the queue.
    fn read(
        &self,
        now: Duration,
        text: &str,
    ) -> Result<(Token, MutexGuard<'_, Inner>), TokenError> {
        let now_s = self.second(now).ok_or(TokenError::NotYet)?;
        let token = self.scope.read_late(self.signing().keys(), text, now_s)?;
        let inner = self.lock();
        // Of whoever is here the queue knows better, for the limit may have been raised.
        if now_s >= token.expires_s() && inner.queue.arrival(token.id).is_none() {
            return Err(TokenError::Expired);
        }
        Ok((token, inner))
    }

    /// The answer to who stands so, and showed a token.
    fn turn(
        &self,
        inner: &Inner,
        now: Duration,
        id: u64,
        standing: Standing,
        shown: Option<(&str, &Token)>,
    ) -> Result<Turn, TokenError> {
        let issued_s = inner.queue.second(now).ok_or(TokenError::NotYet)?;
        let sign = |seat| {
            let (class, second) = inner.queue.arrival(id).ok_or(TokenError::AlreadyUsed)?;
            let token = Token {
                issuer: self.issuer(),
                class,
                second,
                issued_s,
                id,
                seat,
            };
            if let Some((text, shown)) = shown
                && issued_s.saturating_sub(shown.issued_s) < REISSUE_S
                && *shown
                    == (Token {
                        issued_s: shown.issued_s,
                        ..token
                    })
            {
                return Ok(text.to_owned());
            }
            Ok(self.scope.sign(self.signing().keys(), &token))
        };
        match standing {
            Standing::Waiting(place) => Ok(Turn::Waiting {
                ticket: sign(None)?,
                place,
            }),
            Standing::Seated(session) => {
                let term = SeatTerm {
                    start_s: session.start_s,
                    limit_s: session
                        .ends_s
                        .map(|ends| ends.saturating_sub(session.start_s)),
                };
                Ok(Turn::Seated {
                    seat: sign(Some(term))?,
                    session,
                })
            }
            Standing::Checking => Ok(Turn::Checking),
            Standing::Gone => Err(TokenError::AlreadyUsed),
        }
    }
}

fn shown(token: &Token) -> Shown {
    Shown {
        id: token.id,
        issuer: token.issuer,
        class: token.class,
        second: token.second,
        start_s: token.seat.map(|seat| seat.start_s),
    }
}

/// One of this front-end's own, from before a restart.
fn kept(token: &Token) -> Shown {
    Shown {
        issuer: quota::KEPT,
        ..shown(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;
    use crate::queue::Grant;
    use quota::Admission;

    const LATE: Duration = Duration::from_secs(1_000_000);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn grant(t: u64, slots: u64, open: bool) -> Grant {
        Grant {
            slots,
            open,
            cluster_ms: t * 1_000,
            ..Grant::default()
        }
    }

    /// The door of a holder in Normandie, with keys that all of them share.
    fn door(holder: &str, keys: &std::path::Path, first: &Grant) -> Door {
        let names = Names {
            pool: "ent".into(),
            region: "normandie".into(),
            holder: holder.into(),
        };
        let door = Door::new(&names, Settings::default(), Some(keys.into())).unwrap();
        door.learn(KnownRules {
            revision: 1,
            classes: vec![("pupils".into(), false), ("teachers".into(), true)],
            ..KnownRules::default()
        });
        door.publish(holder, 1);
        door.granted(at(10), first);
        door
    }

    impl Door {
        fn granted(&self, now: Duration, grant: &Grant) {
            let queue = &mut self.lock().queue;
            queue.report(now);
            queue.granted(now, LATE, grant);
        }
    }

    fn keys() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, keys::new_key(1).unwrap()).unwrap();
        (dir, path)
    }

    fn ticket(turn: &Turn) -> String {
        match turn {
            Turn::Waiting { ticket, .. } => ticket.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_waits_by_a_ticket_sits_by_a_seat_and_each_is_used_up() {
        let (_dir, keys) = keys();
        let door = door("portal-1", &keys, &grant(10, 0, false));
        assert_eq!(door.arrive(at(10), "cooks"), Err(NoEntry::NoSuchClass));
        let first = ticket(&door.arrive(at(10), "teachers").unwrap());
        assert_eq!(ticket(&door.poll(at(12), &first).unwrap()), first);
        let admit = vec![Admission {
            class: 1,
            users: 1,
            until_s: 13,
            at_ms: 0,
        }];
        door.granted(
            at(13),
            &Grant {
                admit,
                ..grant(13, 1, false)
            },
        );
        let Turn::Seated { seat, session } = door.poll(at(14), &first).unwrap() else {
            panic!("called");
        };
        assert_eq!(session.start_s, 14);
        for token in [&seat, &first] {
            let turn = door.poll(at(15), token).unwrap();
            assert!(
                matches!(turn, Turn::Seated { .. }),
                "one place, whatever shows it"
            );
        }
        assert_eq!(door.leave(at(16), &seat), Ok(()));
        for token in [&seat, &first] {
            assert_eq!(door.poll(at(17), token), Err(TokenError::AlreadyUsed));
            assert_eq!(door.leave(at(17), token), Err(TokenError::AlreadyUsed));
        }
    }

    #[test]
    fn a_token_is_issued_anew_once_a_minute() {
        let (_dir, keys) = keys();
        let door = door("portal-1", &keys, &grant(10, 0, false));
        let first = ticket(&door.arrive(at(10), "pupils").unwrap());
        for second in [10, 40, 69] {
            assert_eq!(ticket(&door.poll(at(second), &first).unwrap()), first);
        }
        let again = ticket(&door.poll(at(70), &first).unwrap());
        assert_ne!(again, first);
        assert_eq!(ticket(&door.poll(at(129), &again).unwrap()), again);
        assert_eq!(door.id(at(129), &first), door.id(at(129), &again));
    }

    #[test]
    fn a_look_is_no_sign_of_the_user_and_seats_nobody() {
        let (_dir, keys) = keys();
        let door = door("portal-1", &keys, &grant(10, 0, false));
        let [first, second] = [(); 2].map(|()| ticket(&door.arrive(at(10), "pupils").unwrap()));
        let mut called = grant(13, 1, false);
        called.admit = vec![Admission {
            class: 0,
            users: 1,
            until_s: 13,
            at_ms: 0,
        }];
        door.granted(at(13), &called);
        assert_eq!(ticket(&door.look(at(14), &first).unwrap()), first);
        let seated = matches!(door.poll(at(14), &first), Ok(Turn::Seated { .. }));
        assert!(seated);
        let seated = matches!(door.look(at(15), &first), Ok(Turn::Seated { .. }));
        assert!(seated);
        assert_eq!(ticket(&door.look(at(69), &second).unwrap()), second);
        door.lock().queue.tick(at(70));
        assert_eq!(door.look(at(70), &second), Err(TokenError::AlreadyUsed));
    }

    #[test]
    fn a_seat_goes_on_where_the_limit_was_raised_since_it_was_signed() {
        let (_dir, keys) = keys();
        let limited = |t, limit_s| Grant {
            session: quota::SessionRules {
                limit_s: Some(limit_s),
                ..quota::SessionRules::default()
            },
            ..grant(t, 1, true)
        };
        let door = door("portal-1", &keys, &limited(10, 100));
        let Ok(Turn::Seated { seat, .. }) = door.arrive(at(11), "pupils") else {
            panic!("open");
        };
        door.granted(at(12), &limited(12, 300));
        let Ok(Turn::Seated { seat: later, .. }) = door.poll(at(200), &seat) else {
            panic!("it goes on");
        };
        assert_ne!(later, seat, "and says so");
        door.lock().queue.tick(at(311));
        for seat in [&seat, &later] {
            assert_eq!(door.poll(at(311), seat), Err(TokenError::Expired));
        }
    }

    #[test]
    fn tokens_from_before_a_restart_are_asked_about_once_and_those_of_who_has_gone_are_not() {
        let (_dir, keys) = keys();
        let before = door("portal-1", &keys, &grant(10, 1, true));
        let Ok(Turn::Seated { seat, .. }) = before.arrive(at(11), "pupils") else {
            panic!("open");
        };
        let after = door("portal-1", &keys, &Grant::default());
        after.lock().queue.resume(1, 1);
        after.granted(at(20), &grant(20, 1, false));
        assert_eq!(after.poll(at(21), &seat), Ok(Turn::Checking));
        let claims = after.lock().queue.report(at(21)).claims;
        assert_eq!((claims.len(), claims[0].issuer), (1, quota::KEPT));
        after.granted(
            at(22),
            &Grant {
                claims: vec![(claims[0].id, quota::Claimed::Granted)],
                ..grant(22, 1, false)
            },
        );
        let Ok(Turn::Seated { seat: same, .. }) = after.poll(at(23), &seat) else {
            panic!("the slot was kept");
        };
        assert_eq!(after.leave(at(24), &same), Ok(()));
        assert_eq!(after.poll(at(25), &seat), Err(TokenError::AlreadyUsed));
    }

    /// While there is no leader, time goes on here, and stands still there.
    #[test]
    fn a_clock_that_was_ahead_before_the_restart_loses_nobody_and_a_look_is_enough() {
        let (_dir, keys) = keys();
        let before = door("portal-1", &keys, &grant(10, 1, true));
        let Ok(Turn::Seated { seat, .. }) = before.arrive(at(300), "pupils") else {
            panic!("open");
        };
        let after = door("portal-1", &keys, &Grant::default());
        after.lock().queue.resume(1, 1);
        after.granted(at(310), &grant(20, 1, false));
        assert_eq!(after.look(at(311), &seat), Ok(Turn::Checking));
        let claims = after.lock().queue.report(at(311)).claims;
        after.granted(
            at(312),
            &Grant {
                claims: vec![(claims[0].id, quota::Claimed::Granted)],
                ..grant(22, 1, false)
            },
        );
        // Whoever only reads, with a page that looks, is in like anybody else.
        after.lock().queue.tick(at(312 + 119));
        let in_ = matches!(after.look(at(312 + 119), &seat), Ok(Turn::Seated { .. }));
        assert!(in_);
    }

    #[test]
    fn an_invitation_is_kept_by_nobody_and_read_by_every_front_end() {
        let (_dir, keys) = keys();
        let one = door("portal-1", &keys, &grant(10, 0, false));
        let two = door("portal-2", &keys, &grant(10, 0, false));
        let invitation = one.invite(at(10)).unwrap();
        let id = two.invited(at(11), &invitation).unwrap();
        assert_eq!(one.invited(at(12), &invitation), Ok(id));
        assert_ne!(one.invited(at(12), &one.invite(at(10)).unwrap()), Ok(id));
        assert_eq!(one.poll(at(12), &invitation), Err(TokenError::Malformed));
    }

    #[test]
    fn a_token_of_another_front_end_is_asked_for_and_its_own_is_not() {
        let (_dir, keys) = keys();
        let one = door("portal-1", &keys, &grant(10, 0, false));
        let two = door("portal-2", &keys, &grant(10, 0, false));
        let token = ticket(&one.arrive(at(10), "pupils").unwrap());
        assert_eq!(two.poll(at(11), &token), Ok(Turn::Checking));
        let claims = two.lock().queue.report(at(12)).claims;
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].issuer, quota::issuer("portal-1", 1));
        let granted = vec![(claims[0].id, quota::Claimed::Granted)];
        two.granted(
            at(12),
            &Grant {
                claims: granted,
                ..grant(12, 0, false)
            },
        );
        let moved = ticket(&two.poll(at(13), &token).unwrap());
        // Whoever issued it anew is asked for it from then on.
        assert_eq!(one.leave(at(14), &token), Ok(()));
        assert_eq!(
            one.poll(at(14), &token),
            Err(TokenError::AlreadyUsed),
            "it issued this one"
        );
        assert_eq!(one.poll(at(14), &moved), Ok(Turn::Checking));
        assert_eq!(
            one.lock().queue.report(at(15)).claims[0].issuer,
            quota::issuer("portal-2", 1)
        );
    }

    #[test]
    fn who_comes_back_after_the_token_was_given_up_is_not_turned_away() {
        let (_dir, keys) = keys();
        let one = door("portal-1", &keys, &grant(10, 0, false));
        let token = ticket(&one.arrive(at(10), "pupils").unwrap());
        let id = one.id(at(10), &token).unwrap();
        one.granted(
            at(11),
            &Grant {
                asked: vec![id],
                ..grant(11, 0, false)
            },
        );
        // The other one has died since, and what it would have issued was never seen.
        assert_eq!(one.poll(at(12), &token), Ok(Turn::Checking));
        let report = one.lock().queue.report(at(12));
        assert_eq!((report.released, report.claims[0].id), (vec![id], id));
        one.granted(
            at(13),
            &Grant {
                claims: vec![(id, quota::Claimed::Granted)],
                ..grant(13, 0, false)
            },
        );
        let again = ticket(&one.poll(at(14), &token).unwrap());
        // It is its own again, until it is used up.
        assert_eq!(one.leave(at(15), &again), Ok(()));
        assert_eq!(one.poll(at(16), &token), Err(TokenError::AlreadyUsed));
    }

    #[test]
    fn made_up_tokens_and_those_of_other_keys_are_refused() {
        let (_dir, keys) = keys();
        let one = door("portal-1", &keys, &grant(10, 0, false));
        assert_eq!(one.poll(at(10), "nonsense"), Err(TokenError::Malformed));
        let (_other_dir, other) = self::keys();
        let other = door("portal-3", &other, &grant(10, 0, false));
        let token = ticket(&other.arrive(at(10), "pupils").unwrap());
        assert_eq!(one.poll(at(10), &token), Err(TokenError::Forged));
        let own = ticket(&one.arrive(at(10), "pupils").unwrap());
        let late = at(10 + u64::from(crate::tokens::TOKEN_LIFE_S));
        assert_eq!(one.poll(late, &own), Err(TokenError::Expired));
    }
}
