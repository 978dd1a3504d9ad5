//! The keeper, with sockets and timers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock;
use crate::door::Door;
use crate::front::Front;
use crate::holder::{ConnectError, Status};
use crate::keeper::Keeper;
use crate::nodes::Nodes;
use crate::reports::KnownRules;
use crate::requests::{Refused, Request, Tag};
use crate::resume::{self, Left, Life};
use crate::seats::Ledger;
use crate::wire::{self, Names, Outcome};

/// How often the demand and the deadline are looked at between two reports.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The shortest and longest time that one request is tried for before the keeper is asked again.
const REQUEST_TIME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// What the slots are for.
#[derive(Debug)]
pub enum Slots {
    /// Seats that are taken as they come.
    Seats(Arc<Ledger>),
    /// A queue.
    Queue(Arc<Door>),
}

impl Slots {
    fn with<R>(&self, f: impl FnOnce(Front<'_>) -> R) -> R {
        match self {
            Self::Seats(ledger) => f(Front::Seats(ledger)),
            Self::Queue(door) => f(Front::Queue(&mut door.lock().queue)),
        }
    }

    fn rules(&self) -> KnownRules {
        match self {
            Self::Seats(_) => KnownRules::default(),
            Self::Queue(door) => door.lock().rules.clone(),
        }
    }

    /// Whether users can come.
    fn is_ready(&self, keeper: &Keeper) -> bool {
        match self {
            Self::Seats(_) => keeper.ever_granted(),
            Self::Queue(door) => door.lock().rules.revision > 0,
        }
    }
}

/// A request under way.
type Call = Pin<Box<dyn Future<Output = (Tag, Outcome)> + Send>>;

/// Keeps a lease alive.
pub struct Task {
    nodes: Nodes,
    names: Names,
    keeper: Keeper,
    slots: Slots,
    status: watch::Sender<Status>,
    connected: bool,
    pauses: Option<Box<dyn Iterator<Item = Duration> + Send>>,
}

impl Task {
    pub fn new(nodes: Nodes, names: Names, keeper: Keeper, slots: Slots) -> Self {
        Self {
            nodes,
            names,
            keeper,
            slots,
            status: watch::Sender::new(Status::default()),
            connected: false,
            pauses: None,
        }
    }

    /// What a life of this holder left, where its lease lives.
    pub fn left(
        &self,
        within: Duration,
        life: Life,
    ) -> impl Future<Output = Result<Option<Left>, ConnectError>> + use<> {
        let (nodes, names) = (self.nodes.clone(), self.names.clone());
        async move {
            let found = resume::find(&nodes, within, &names, life).await;
            found.map_err(|status| match wire::is_unanswered(&status) {
                true => ConnectError::Unreachable {
                    within,
                    why: status.message().to_owned(),
                },
                false => ConnectError::Refused(Box::new(status)),
            })
        }
    }

    /// Goes on with it.
    pub fn resume(mut self, left: &Left) -> Self {
        let Life { lease_id, epoch } = left.life;
        self.keeper = self.keeper.resume(lease_id, epoch, left.seq, left.slots);
        self
    }

    /// Takes the first lease, and goes on in the background.
    pub async fn start(mut self, within: Duration) -> Result<Running, ConnectError> {
        self.first_lease(within).await?;
        let status = self.status.subscribe();
        let (close, closed) = mpsc::channel(1);
        let task = AbortOnDrop(tokio::spawn(self.run(closed)));
        Ok(Running {
            status,
            close,
            task,
        })
    }

    async fn first_lease(&mut self, within: Duration) -> Result<(), ConnectError> {
        let end = clock::now() + within;
        let mut why = String::from("no time was given");
        while !self.slots.is_ready(&self.keeper) {
            let left = end.saturating_sub(clock::now());
            if left.is_zero() {
                return Err(ConnectError::Unreachable { within, why });
            }
            let Some((tag, request)) = self.poll() else {
                tokio::time::sleep(LOOK_EVERY.min(left)).await;
                continue;
            };
            let rules = self.slots.rules();
            let outcome = wire::send(&self.nodes, left, &self.names, &rules, &request).await;
            match &outcome {
                // A stale epoch is no reason to give up: the keeper goes on with a higher one.
                Outcome::Refused(refused, status)
                    if !matches!(refused, Refused::StaleEpoch { .. }) =>
                {
                    return Err(ConnectError::Refused(Box::new(status.clone())));
                }
                Outcome::Refused(_, status) | Outcome::Failed(status) => {
                    why = status.message().to_owned();
                }
                Outcome::Answered(..) => {}
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
                Some(()) = closed.recv() => self.slots.with(|front| self.keeper.close(front)),
                _ = look.tick() => {}
                () = self.turn() => self.slots.with(|mut front| front.tick(clock::now())),
            }
            if call.is_none()
                && let Some((tag, request)) = self.poll()
            {
                call = Some(Box::pin(self.call(tag, request)));
            }
            self.publish();
        }
        self.slots.with(|mut front| front.end());
        self.publish();
    }

    /// Waits until it is somebody's turn in the queue.
    fn turn(&self) -> impl Future<Output = ()> + use<> {
        let now = clock::now();
        let at = self.slots.with(|front| front.turn_at(now));
        let left = at.map(|at| at.saturating_sub(now));
        async move {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        }
    }

    fn poll(&mut self) -> Option<(Tag, Request)> {
        self.slots
            .with(|front| self.keeper.poll(clock::now(), front))
    }

    fn call(&self, tag: Tag, request: Request) -> impl Future<Output = (Tag, Outcome)> + use<> {
        let within = (self.keeper.ttl() / 3).clamp(REQUEST_TIME.0, REQUEST_TIME.1);
        let (nodes, names, rules) = (self.nodes.clone(), self.names.clone(), self.slots.rules());
        async move {
            (
                tag,
                wire::send(&nodes, within, &names, &rules, &request).await,
            )
        }
    }

    /// Tells the keeper what came of a request.
    fn settle(&mut self, tag: Tag, outcome: Outcome) {
        let now = clock::now();
        self.connected = !matches!(outcome, Outcome::Failed(_));
        match outcome {
            Outcome::Answered(answer, rules) => {
                self.pauses = None;
                if let (Slots::Queue(door), Some(rules)) = (&self.slots, rules) {
                    door.learn(rules);
                }
                self.slots
                    .with(|front| self.keeper.answered(now, tag, answer, front));
            }
            Outcome::Refused(refused, status) => {
                self.pauses = None;
                tracing::warn!(
                    holder = self.names.holder,
                    status = status.message(),
                    "lease refused"
                );
                self.slots
                    .with(|front| self.keeper.refused(now, tag, refused, front));
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
        if let Slots::Queue(door) = &self.slots {
            door.publish(&self.names.holder, self.keeper.epoch());
            door.refresh_keys();
        }
        let now = clock::now();
        let standing = self.slots.with(|front| self.keeper.standing(now, front));
        let status = Status::new(standing, self.connected);
        self.status.send_if_modified(|seen| {
            let news = *seen != status || status.overdue > 0;
            *seen = status;
            news
        });
    }
}

/// A task in the background. Dropping it stops the task.
#[derive(Debug)]
pub struct Running {
    status: watch::Receiver<Status>,
    close: mpsc::Sender<()>,
    task: AbortOnDrop,
}

impl Running {
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Admits nobody any more, and waits until the lease has been given back or has run out.
    pub async fn close(mut self, holder: &str) {
        // A task that has ended already has nothing left to close.
        let _ = self.close.send(()).await;
        if let Err(error) = (&mut self.task.0).await {
            tracing::warn!(%error, holder, "the holder's task ended badly");
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
