//! A front-end: users come, wait their turn, and sit, by a queue and signed tokens.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock;
use crate::holder::{ConnectError, Status};
use crate::keys::{self, KeyFile, Keys};
use crate::queue::{
    Accuracy, Arrival, Event, NoEntry, Place, Queue, Session, Settings, Shown, Standing,
};
use crate::reports::KnownRules;
use crate::task::{Running, Slots, Task};
use crate::tokens::{Scope, SeatTerm, Token, TokenError};
use crate::wire::Names;

/// How often the key file is looked at.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// Events kept for whoever follows them slowly.
const EVENTS: usize = 16_384;

/// How a user stands, with the token to come back with. Each answer's token takes the place of the one
/// before, which stays good as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Come in.
    Seated {
        /// The seat: it is shown again after a reload, here or at another front-end of the region.
        seat: String,
        /// How long it lasts.
        session: Session,
    },
    /// Please wait your turn.
    Waiting {
        /// The ticket.
        ticket: String,
        /// How far.
        place: Place,
    },
    /// The token is from another front-end, which is being asked: poll again in a second.
    Checking,
}

/// How a front-end and its queue stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// The lease and its slots.
    pub lease: Status,
    /// Users who wait here.
    pub waiting: u64,
    /// Whether arrivals are seated at once.
    pub open: bool,
    /// The stricter of the pool's and the region's mode.
    pub mode: quota::Mode,
    /// Why, in words for users; may be empty.
    pub reason: String,
    /// Slots that may be used when every node is out of reach.
    pub floor: u64,
    /// The second of cluster time.
    pub second: u32,
    /// How far off the foretold waits were.
    pub accuracy: Accuracy,
}

/// A front-end with a queue; its lease is kept by a task of its own, which reports who waits once a second.
///
/// Dropping it stops the task; the lease then runs out by itself, and whoever waits keeps the place at
/// another front-end of the region, by the ticket.
#[derive(Debug)]
pub struct FrontEnd {
    shared: Arc<Shared>,
    name: String,
    running: Running,
}

/// What the task and the callers share.
#[derive(Debug)]
pub struct Shared {
    inner: Mutex<Inner>,
    scope: Scope,
    issuer: AtomicU32,
    events: broadcast::Sender<Event>,
}

/// Under the lock.
#[derive(Debug)]
pub struct Inner {
    pub queue: Queue,
    pub rules: KnownRules,
    keys: Signing,
    keys_seen: Duration,
}

#[derive(Debug)]
enum Signing {
    File(KeyFile),
    Own(Keys),
}

impl Signing {
    fn keys(&self) -> &Keys {
        match self {
            Self::File(file) => file.keys(),
            Self::Own(keys) => keys,
        }
    }
}

impl FrontEnd {
    pub(crate) async fn start(
        names: Names,
        settings: Settings,
        keys: Option<PathBuf>,
        within: Duration,
        task: impl FnOnce(Slots) -> Task,
    ) -> Result<Self, ConnectError> {
        let keys = match keys {
            Some(path) => Signing::File(KeyFile::open(path)?),
            None => Signing::Own(Keys::random()?),
        };
        let seed = u64::from_ne_bytes(keys::random_bytes()?);
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                queue: Queue::new(settings, seed),
                rules: KnownRules::default(),
                keys,
                keys_seen: clock::now(),
            }),
            scope: Scope::new(&names.pool, &names.region),
            issuer: AtomicU32::new(0),
            events: broadcast::Sender::new(EVENTS),
        });
        let running = task(Slots::Queue(Arc::clone(&shared)))
            .start(within)
            .await?;
        Ok(Self {
            shared,
            name: names.holder,
            running,
        })
    }

    /// A user of a class comes, who has no token yet.
    ///
    /// # Errors
    /// Where nobody may come in or queue, or the pool's rules have no such class.
    pub fn arrive(&self, class: &str) -> Result<Turn, NoEntry> {
        let now = clock::now();
        let inner = &mut *self.shared.lock();
        let class = inner.rules.class(class).ok_or(NoEntry::NoSuchClass)?;
        let (user, standing) = match inner.queue.arrive(now, class) {
            Arrival::Refused(why) => return Err(why),
            Arrival::Waiting(user, place) => (user, Standing::Waiting(place)),
            Arrival::Seated(user) => (user, inner.queue.poll(now, user.id)),
        };
        self.turn(inner, now, user.id, standing)
            .map_err(|_| NoEntry::NotReady)
    }

    /// A user shows a ticket or a seat, of this front-end or another one of the region. It is the sign of
    /// life that waiting users, and sessions with an idle limit, have to give.
    ///
    /// # Errors
    /// Where the token is refused, each time with its reason.
    pub fn poll(&self, token: &str) -> Result<Turn, TokenError> {
        let now = clock::now();
        let inner = &mut *self.shared.lock();
        let token = self.read(inner, now, token)?;
        let standing = if token.issuer == self.issuer() {
            inner.queue.poll(now, token.id)
        } else {
            inner.queue.show(now, shown(&token))
        };
        self.turn(inner, now, token.id, standing)
    }

    /// A user goes, and gives up the place or the session.
    ///
    /// # Errors
    /// As [`FrontEnd::poll`].
    pub fn leave(&self, token: &str) -> Result<(), TokenError> {
        let now = clock::now();
        let inner = &mut *self.shared.lock();
        let token = self.read(inner, now, token)?;
        if inner.queue.leave(now, token.id) {
            Ok(())
        } else {
            Err(TokenError::AlreadyUsed)
        }
    }

    /// How things stand.
    pub fn status(&self) -> QueueStatus {
        let inner = self.shared.lock();
        let mut lease = self.running.status();
        lease.in_use = inner.queue.in_use();
        let (mode, reason) = inner.queue.mode();
        QueueStatus {
            lease,
            waiting: inner.queue.waiting(),
            open: inner.queue.is_open(),
            mode,
            reason: reason.to_string(),
            floor: inner.queue.floor(),
            second: inner.queue.second(clock::now()).unwrap_or(0),
            accuracy: *inner.queue.accuracy(),
        }
    }

    /// The classes of the pool's rules, by name.
    pub fn classes(&self) -> Vec<String> {
        let inner = self.shared.lock();
        inner
            .rules
            .classes
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Follows what happens to users without their asking: who is called, whose session ends and why, each
    /// with the id that [`FrontEnd::id`] reads from a token.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// The id of a token's user, as [`FrontEnd::events`] has it.
    ///
    /// # Errors
    /// Where the token is refused.
    pub fn id(&self, token: &str) -> Result<u64, TokenError> {
        let inner = &mut *self.shared.lock();
        Ok(self.read(inner, clock::now(), token)?.id)
    }

    /// The front-end's name as a holder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets nobody in any more, waits until the last session is over, and gives the lease back. Whoever
    /// waits keeps the place at another front-end of the region, by the ticket.
    pub async fn close(self) {
        self.running.close(&self.name).await;
    }

    fn issuer(&self) -> u32 {
        self.shared.issuer.load(Ordering::Acquire)
    }

    fn read(&self, inner: &Inner, now: Duration, token: &str) -> Result<Token, TokenError> {
        let now_s = inner.queue.second(now).ok_or(TokenError::NotYet)?;
        self.shared.scope.read(inner.keys.keys(), token, now_s)
    }

    fn turn(
        &self,
        inner: &Inner,
        now: Duration,
        id: u64,
        standing: Standing,
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
            Ok(self.shared.scope.sign(inner.keys.keys(), &token))
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

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock is left half done by a panic that matters more than going on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's rules have changed.
    pub(crate) fn learn(&self, rules: KnownRules) {
        let inner = &mut *self.lock();
        inner
            .queue
            .set_classes(rules.classes.iter().map(|(_, first)| *first));
        inner.rules = rules;
    }

    /// Tells what has happened, and looks after the keys.
    pub(crate) fn publish(&self, holder: &str, epoch: u64) {
        self.issuer
            .store(quota::issuer(holder, epoch), Ordering::Release);
        let inner = &mut *self.lock();
        for event in inner.queue.events() {
            // Nobody need follow.
            let _ = self.events.send(event);
        }
        let now = clock::now();
        if let Signing::File(file) = &mut inner.keys
            && now.saturating_sub(inner.keys_seen) >= KEYS_EVERY
        {
            inner.keys_seen = now;
            match file.refresh() {
                Ok(true) => tracing::info!("the key file has changed, and is in use"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the keys stay what they were"),
            }
        }
    }
}
