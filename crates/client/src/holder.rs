//! A holder: the keeper, with sockets and timers.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::Status as CallStatus;

use crate::clock;
use crate::keeper::{Keeper, Request, Settings, Standing, Tag};
use crate::nodes::{AddressError, Nodes};
use crate::seats::{Ledger, Seat};
use crate::wire::{self, Names, Outcome};

/// Slots kept ready beyond those in use, where nothing else is said.
const DEFAULT_RESERVE: u64 = 16;
/// How often the demand and the deadline are looked at between two reports.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The shortest and longest time that one request is tried for before the keeper is asked again.
const REQUEST_TIME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));
/// How long the first lease may take, where nothing else is said.
const DEFAULT_WITHIN: Duration = Duration::from_secs(10);

/// Why a holder could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address can't be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A name is missing.
    #[error("{0}: none given; say it on the builder")]
    Missing(&'static str),
    /// The cluster refused the first lease.
    #[error("the cluster refused a lease: {}", .0.message())]
    Refused(Box<CallStatus>),
    /// No node answered in time.
    #[error("no node granted a lease within {within:.1?}: {why}")]
    Unreachable {
        /// The time given.
        within: Duration,
        /// What the last try came to.
        why: String,
    },
}

/// How a holder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Slots that may be used now.
    pub slots: u64,
    /// Slots that the sharing rules give this holder: below `slots`, it comes down as sessions end;
    /// above, more will come.
    pub target: u64,
    /// Seats open.
    pub in_use: u64,
    /// Slots last asked for.
    pub wanted: u64,
    /// Open seats that no lease covers any more: their sessions should end now.
    pub overdue: u64,
    /// How long the slots may be used without another answer from the cluster.
    pub expires_in: Duration,
    /// Whether the last request was answered.
    pub connected: bool,
    /// Whether another front-end has taken over this holder's name. This one admits nobody any more.
    pub superseded: bool,
}

impl Status {
    fn new(standing: Standing, connected: bool) -> Self {
        Self {
            slots: standing.slots,
            target: standing.target,
            in_use: standing.in_use,
            wanted: standing.wanted,
            overdue: standing.overdue,
            expires_in: standing.expires_in,
            connected,
            superseded: standing.superseded,
        }
    }
}

/// Describes a holder; awaiting it takes the first lease.
#[derive(Debug)]
pub struct Builder {
    nodes: Result<Nodes, AddressError>,
    pool: Option<String>,
    region: Option<String>,
    name: Option<String>,
    settings: Settings,
    within: Duration,
}

impl Builder {
    /// The pool to lease from.
    #[must_use]
    pub fn pool(mut self, pool: impl Into<String>) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// The region to lease for.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The holder's name, unique within the pool. One that stays the same over restarts lets the new
    /// life take over from the old one; where none is given, it is made of the machine's name and the
    /// process id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The longest pause between two reports. At most a fifth of the lease's time to live, and 1 s where
    /// nothing is said.
    #[must_use]
    pub fn report_every(mut self, pause: Duration) -> Self {
        self.settings.report_every = Some(pause.max(LOOK_EVERY));
        self
    }

    /// Slots kept ready beyond those in use, for users who come between two reports; 16 where nothing is
    /// said, and a tenth of those in use where that is more.
    #[must_use]
    pub fn reserve(mut self, slots: u64) -> Self {
        self.settings.reserve = slots;
        self
    }

    /// How long the first lease may take; 10 s where nothing is said.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    async fn start(self) -> Result<Holder, ConnectError> {
        let nodes = self.nodes?;
        let names = Names {
            pool: self.pool.ok_or(ConnectError::Missing("pool"))?,
            region: self.region.ok_or(ConnectError::Missing("region"))?,
            holder: self.name.unwrap_or_else(default_name),
        };
        let ledger = Arc::new(Ledger::default());
        let (status_in, status) = watch::channel(Status::default());
        let (close, closed) = mpsc::channel(1);
        let mut task = Task {
            nodes,
            names: names.clone(),
            keeper: Keeper::new(self.settings, epoch_now()),
            ledger: Arc::clone(&ledger),
            status: status_in,
            connected: false,
            pauses: None,
        };
        task.first_lease(self.within).await?;
        Ok(Holder {
            seats: Seats { ledger },
            name: names.holder,
            status,
            close,
            task: AbortOnDrop(tokio::spawn(task.run(closed))),
        })
    }
}

impl IntoFuture for Builder {
    type Output = Result<Holder, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// A front-end's hold on a part of a pool: a lease, kept alive by a task of its own.
///
/// Dropping it stops the task; the lease then runs out by itself. [`Holder::close`] gives it back at once.
#[derive(Debug)]
pub struct Holder {
    seats: Seats,
    name: String,
    status: watch::Receiver<Status>,
    close: mpsc::Sender<()>,
    task: AbortOnDrop,
}

impl Holder {
    /// Begins to describe a holder that finds its cluster at `addresses`, each `host:port`.
    pub fn connect(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Builder {
        Self::on(Nodes::new(addresses))
    }

    /// As [`Holder::connect`], on connections that others share.
    pub fn on(nodes: Result<Nodes, AddressError>) -> Builder {
        Builder {
            nodes,
            pool: None,
            region: None,
            name: None,
            settings: Settings {
                reserve: DEFAULT_RESERVE,
                report_every: None,
            },
            within: DEFAULT_WITHIN,
        }
    }

    /// Admits one user where a slot is free, without I/O or a lock. `None` counts as demand, and so
    /// brings more slots where there are any.
    pub fn try_seat(&self) -> Option<Seat> {
        self.seats.try_seat()
    }

    /// Says how many users wait for a seat. From then on this is the demand, and refusals are not.
    pub fn set_waiting(&self, users: u64) {
        self.seats.set_waiting(users);
    }

    /// A handle for other threads and tasks.
    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// The holder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How things stand, as of at most 50 ms ago.
    pub fn status(&self) -> Status {
        let mut status = *self.status.borrow();
        status.in_use = self.seats.in_use();
        status
    }

    /// Follows how things stand.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until seats are open that no lease covers any more, and says how many. The front-end should
    /// end that many sessions: the cluster may have given their slots to others. Never resolves once the
    /// holder has stopped with every seat covered.
    pub async fn overdue(&self) -> u64 {
        let mut status = self.status.clone();
        // What was said before this call may be over by now; the task says it again within 50 ms.
        status.mark_unchanged();
        while status.changed().await.is_ok() {
            let overdue = status.borrow_and_update().overdue;
            if overdue > 0 {
                return overdue;
            }
        }
        std::future::pending().await
    }

    /// Admits nobody any more, waits until the last seat is dropped, and gives the lease back. Where the
    /// cluster can't be reached, it ends when the lease has run out. Dropping the future leaves the lease
    /// to run out.
    pub async fn close(mut self) {
        // A task that has ended already has nothing left to close.
        let _ = self.close.send(()).await;
        if let Err(error) = (&mut self.task.0).await {
            tracing::warn!(%error, holder = self.name, "the holder's task ended badly");
        }
    }
}

/// A handle to a holder's seats, cheap to clone.
#[derive(Debug, Clone)]
pub struct Seats {
    ledger: Arc<Ledger>,
}

impl Seats {
    /// As [`Holder::try_seat`].
    pub fn try_seat(&self) -> Option<Seat> {
        Seat::take(&self.ledger, clock::now)
    }

    /// As [`Holder::set_waiting`].
    pub fn set_waiting(&self, users: u64) {
        self.ledger.set_waiting(users);
    }

    /// Seats open now.
    pub fn in_use(&self) -> u64 {
        self.ledger.usage().in_use
    }
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request under way.
type Call = Pin<Box<dyn Future<Output = (Tag, Outcome)> + Send>>;

struct Task {
    nodes: Nodes,
    names: Names,
    keeper: Keeper,
    ledger: Arc<Ledger>,
    status: watch::Sender<Status>,
    connected: bool,
    pauses: Option<Box<dyn Iterator<Item = Duration> + Send>>,
}

impl Task {
    async fn first_lease(&mut self, within: Duration) -> Result<(), ConnectError> {
        let end = clock::now() + within;
        let mut why = String::from("no time was given");
        while !self.keeper.ever_granted() {
            let left = end.saturating_sub(clock::now());
            if left.is_zero() {
                return Err(ConnectError::Unreachable { within, why });
            }
            let Some((tag, request)) = self.keeper.poll(clock::now(), &self.ledger) else {
                tokio::time::sleep(LOOK_EVERY.min(left)).await;
                continue;
            };
            let outcome = wire::send(&self.nodes, left, &self.names, request).await;
            match &outcome {
                // A stale epoch is no reason to give up: the keeper goes on with a higher one.
                Outcome::Refused(refused, status)
                    if !matches!(refused, crate::keeper::Refused::StaleEpoch { .. }) =>
                {
                    return Err(ConnectError::Refused(Box::new(status.clone())));
                }
                Outcome::Refused(_, status) | Outcome::Failed(status) => {
                    why = status.message().to_owned();
                }
                Outcome::Answered(_) => {}
            }
            self.settle(tag, outcome);
        }
        self.publish();
        Ok(())
    }

    async fn run(mut self, mut closed: mpsc::Receiver<()>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut call: Option<Call> = None;
        while !self.keeper.is_done() {
            let arrived = async {
                match call.as_mut() {
                    Some(call) => call.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (tag, outcome) = arrived => {
                    call = None;
                    self.settle(tag, outcome);
                }
                Some(()) = closed.recv() => self.keeper.close(&self.ledger),
                _ = look.tick() => {}
            }
            if call.is_none()
                && let Some((tag, request)) = self.keeper.poll(clock::now(), &self.ledger)
            {
                call = Some(Box::pin(self.call(tag, request)));
            }
            self.publish();
        }
        self.ledger.shut();
        self.publish();
    }

    fn call(&self, tag: Tag, request: Request) -> impl Future<Output = (Tag, Outcome)> + use<> {
        let within = (self.keeper.ttl() / 3).clamp(REQUEST_TIME.0, REQUEST_TIME.1);
        let (nodes, names) = (self.nodes.clone(), self.names.clone());
        async move { (tag, wire::send(&nodes, within, &names, request).await) }
    }

    /// Tells the keeper what came of a request.
    fn settle(&mut self, tag: Tag, outcome: Outcome) {
        let (now, ledger) = (clock::now(), &*self.ledger);
        self.connected = !matches!(outcome, Outcome::Failed(_));
        match outcome {
            Outcome::Answered(answer) => {
                self.pauses = None;
                self.keeper.answered(now, tag, answer, ledger);
            }
            Outcome::Refused(refused, status) => {
                self.pauses = None;
                tracing::warn!(
                    holder = self.names.holder,
                    status = status.message(),
                    "lease refused"
                );
                self.keeper.refused(now, tag, refused, ledger);
            }
            Outcome::Failed(status) => {
                tracing::warn!(
                    holder = self.names.holder,
                    status = status.message(),
                    "no node answered"
                );
                let pauses = self
                    .pauses
                    .get_or_insert_with(|| Box::new(crate::nodes::pauses()));
                let pause = pauses.next().unwrap_or(LOOK_EVERY);
                self.keeper.failed(now, tag, pause);
            }
        }
    }

    fn publish(&self) {
        let standing = self.keeper.standing(clock::now(), &self.ledger);
        let status = Status::new(standing, self.connected);
        self.status.send_if_modified(|seen| {
            let news = *seen != status || status.overdue > 0;
            *seen = status;
            news
        });
    }
}

/// Milliseconds since 1970, as the number of this life of the holder: it only has to be higher than that
/// of the last one, and the cluster says so where it is not.
fn epoch_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|time| u64::try_from(time.as_millis()).ok())
        .unwrap_or(1)
        .max(1)
}

fn default_name() -> String {
    format!("{}-{}", machine_name(), std::process::id())
}

#[cfg(target_os = "linux")]
fn machine_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(target_os = "linux"))]
fn machine_name() -> String {
    "front-end".into()
}
