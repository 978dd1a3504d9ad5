//! A holder: seats that are taken as they come.

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tonic::Status as CallStatus;

use crate::clock;
use crate::front_end::FrontEnd;
use crate::keeper::{Keeper, Settings, Standing};
use crate::keys::KeysError;
use crate::nodes::{AddressError, Nodes};
use crate::queue;
use crate::resume::Life;
use crate::seats::{Ledger, Seat};
use crate::task::{LOOK_EVERY, Running, Slots, Task};
use crate::wire::Names;

/// Slots kept ready beyond those in use, where nothing else is said.
const DEFAULT_RESERVE: u64 = 16;
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
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
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
    /// The lease, as the cluster names it; 0 where there is none.
    pub lease_id: u64,
    /// The number of this life of the holder.
    pub epoch: u64,
}

impl Status {
    pub(crate) fn new(standing: Standing, connected: bool) -> Self {
        Self {
            slots: standing.slots,
            target: standing.target,
            in_use: standing.in_use,
            wanted: standing.wanted,
            overdue: standing.overdue,
            expires_in: standing.expires_in,
            connected,
            superseded: standing.superseded,
            lease_id: standing.lease_id,
            epoch: standing.epoch,
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
    keys: Option<PathBuf>,
    silence: Option<Duration>,
    resume: Option<Life>,
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

    /// The file of keys that a queue's tickets and seats are signed with: see [`keys`](crate::keys). It is
    /// the same at every front-end of the region, and is read again when it has changed. Where none is given,
    /// a key is made up: tokens are then good at this front-end alone, and while it lives.
    #[must_use]
    pub fn keys(mut self, file: impl Into<PathBuf>) -> Self {
        self.keys = Some(file.into());
        self
    }

    /// A queue's user who waits and gives no sign for so long is dropped; 60 s where nothing is said. Whole
    /// seconds, at least 1.
    #[must_use]
    pub fn silence(mut self, time: Duration) -> Self {
        self.silence = Some(time);
        self
    }

    /// Has a front-end with a queue go on with the lease of a process of the same name that has stopped for certain,
    /// while that lease lives: those who were in keep their slots for as long as a session may idle, ten minutes at
    /// most, and all tokens are its own. Where it has ended, another is taken.
    #[must_use]
    pub fn resume(mut self, life: Life) -> Self {
        self.resume = Some(life);
        self
    }

    /// Takes the first lease for a front-end with a queue: users come by turn, and not as they try.
    ///
    /// # Errors
    /// As for awaiting the builder, and where the keys can't be used.
    pub async fn front_end(self) -> Result<FrontEnd, ConnectError> {
        let default = queue::Settings::default();
        let silence = self
            .silence
            .map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1));
        let settings = queue::Settings {
            silence_s: silence.or(default.silence_s),
            reserve: self.settings.reserve,
        };
        let (keys, resume) = (self.keys.clone(), self.resume);
        let (names, within, task) = self.describe()?;
        FrontEnd::start(names, settings, keys, within, resume, task).await
    }

    async fn start(self) -> Result<Holder, ConnectError> {
        let (names, within, task) = self.describe()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let ledger = Arc::new(Ledger::for_threads(threads));
        let running = task(Slots::Seats(Arc::clone(&ledger)))
            .start(within)
            .await?;
        Ok(Holder {
            seats: Seats { ledger },
            name: names.holder,
            running,
        })
    }

    /// The names, the time for the first lease, and the task, which is still to be told what for.
    fn describe(self) -> Result<(Names, Duration, impl FnOnce(Slots) -> Task), ConnectError> {
        let nodes = self.nodes?;
        let names = Names {
            pool: self.pool.ok_or(ConnectError::Missing("pool"))?,
            region: self.region.ok_or(ConnectError::Missing("region"))?,
            holder: self.name.unwrap_or_else(default_name),
        };
        let keeper = Keeper::new(self.settings, epoch_now());
        let named = names.clone();
        let task = move |slots| Task::new(nodes, named, keeper, slots);
        Ok((names, self.within, task))
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
    running: Running,
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
            keys: None,
            silence: None,
            resume: None,
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
        let mut status = self.running.status();
        status.in_use = self.seats.in_use();
        status
    }

    /// Follows how things stand.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.running.watch()
    }

    /// Waits until seats are open that no lease covers any more, and says how many. The front-end should
    /// end that many sessions: the cluster may have given their slots to others. Never resolves once the
    /// holder has stopped with every seat covered.
    pub async fn overdue(&self) -> u64 {
        let mut status = self.running.watch();
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
    pub async fn close(self) {
        self.running.close(&self.name).await;
    }
}

/// A handle to a holder's seats, cheap to clone.
#[derive(Debug, Clone)]
pub struct Seats {
    ledger: Arc<Ledger>,
}

impl Seats {
    /// Seats of a ledger that somebody else keeps.
    #[doc(hidden)]
    pub fn of(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }

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
