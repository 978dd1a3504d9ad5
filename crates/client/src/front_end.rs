//! A front-end: users come, wait their turn, and sit, by a queue and signed tokens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::clock;
use crate::door::Door;
use crate::holder::{ConnectError, Status};
use crate::queue::{Accuracy, Event, NoEntry, Place, Session, Settings};
use crate::resume::Life;
use crate::task::{Running, Slots, Task};
use crate::tokens::TokenError;
use crate::wire::Names;

/// How a user stands, with the token to come back with. A token that is older than a minute, or says less than
/// there is to say, is answered by another, which takes its place; the one before stays good as well.
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
    door: Arc<Door>,
    name: String,
    running: Running,
}

impl FrontEnd {
    pub(crate) async fn start(
        names: Names,
        settings: Settings,
        keys: Option<PathBuf>,
        within: Duration,
        resume: Option<Life>,
        task: impl FnOnce(Slots) -> Task,
    ) -> Result<Self, ConnectError> {
        let door = Arc::new(Door::new(&names, settings, keys)?);
        let mut task = task(Slots::Queue(Arc::clone(&door)));
        if let Some(life) = resume
            && let Some(left) = task.left(within, life).await?
        {
            door.resume(&left);
            task = task.resume(&left);
        }
        let running = task.start(within).await?;
        Ok(Self {
            door,
            name: names.holder,
            running,
        })
    }

    /// A user of a class comes, who has no token yet.
    ///
    /// # Errors
    /// Where nobody may come in or queue, or the pool's rules have no such class.
    pub fn arrive(&self, class: &str) -> Result<Turn, NoEntry> {
        self.door.arrive(clock::now(), class)
    }

    /// A token for somebody who has none, to come back with: nothing is kept for it. Whoever shows it within
    /// [`INVITATION_LIFE_S`](crate::tokens::INVITATION_LIFE_S) seconds may [arrive](FrontEnd::arrive).
    ///
    /// # Errors
    /// [`NoEntry::NotReady`], before the cluster has said its time.
    pub fn invite(&self) -> Result<String, NoEntry> {
        self.door.invite(clock::now())
    }

    /// The id of an invitation, of this front-end or another one of the region. It may be shown more than
    /// once: to let its bearer arrive once only is up to the caller.
    ///
    /// # Errors
    /// Where the invitation is refused, each time with its reason.
    pub fn invited(&self, invitation: &str) -> Result<u64, TokenError> {
        self.door.invited(clock::now(), invitation)
    }

    /// A user shows a ticket or a seat, of this front-end or another one of the region. It is the sign of
    /// life that waiting users, and sessions with an idle limit, have to give.
    ///
    /// # Errors
    /// Where the token is refused, each time with its reason.
    pub fn poll(&self, token: &str) -> Result<Turn, TokenError> {
        self.door.poll(clock::now(), token)
    }

    /// As [`FrontEnd::poll`], without being a sign of the user: it seats nobody who was called, and a session that
    /// is idle stays so. For what looks by itself, such as a page that counts the time that is left.
    ///
    /// # Errors
    /// As [`FrontEnd::poll`].
    pub fn look(&self, token: &str) -> Result<Turn, TokenError> {
        self.door.look(clock::now(), token)
    }

    /// A user goes, and gives up the place or the session.
    ///
    /// # Errors
    /// As [`FrontEnd::poll`].
    pub fn leave(&self, token: &str) -> Result<(), TokenError> {
        self.door.leave(clock::now(), token)
    }

    /// How things stand.
    pub fn status(&self) -> QueueStatus {
        let inner = self.door.lock();
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

    /// Follows how the lease stands.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.running.watch()
    }

    /// The classes of the pool's rules, by name.
    pub fn classes(&self) -> Vec<String> {
        let inner = self.door.lock();
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
        self.door.events.subscribe()
    }

    /// The id of a token's user, as [`FrontEnd::events`] has it.
    ///
    /// # Errors
    /// Where the token is refused.
    pub fn id(&self, token: &str) -> Result<u64, TokenError> {
        self.door.id(clock::now(), token)
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
}
