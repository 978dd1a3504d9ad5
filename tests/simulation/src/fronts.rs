//! Front-ends: the real holder of the client library, with users that come and go.

use std::sync::Arc;
use std::time::Duration;

use api::connect::Dial;
use check::history::{Record, Use};
use client::{Holder, Nodes, Options};

use crate::asker::true_ns;
use crate::system;
use crate::trace::Trace;

/// The pool that front-ends share, and no others.
pub const POOL: &str = "ent";

/// The name of a front-end.
pub fn name(number: u64) -> String {
    format!("front-{number}")
}

/// A front-end on a machine.
#[derive(Clone)]
pub struct FrontEnd {
    /// Its number.
    pub number: u64,
    /// Its pool.
    pub pool: &'static str,
    /// Which of its lives this is.
    pub life: u64,
    /// Its lot.
    pub seed: u64,
    /// Its machine's drift.
    pub drift_ppm: i64,
    /// Where the nodes are.
    pub addresses: Vec<String>,
    /// The way there.
    pub dial: Arc<dyn Dial>,
    /// Where it is noted.
    pub trace: Trace,
}

impl FrontEnd {
    /// Notes what it may use from now on: so many slots until then, and its floor beside them and for ever.
    pub fn uses(&self, slots: u64, until_ns: u64, floor: u64) {
        let at_ns = system::now_ns();
        self.trace.record(Record::Use(Use {
            at_ns,
            pool: self.pool.into(),
            holder: name(self.number),
            lease: self.life,
            slots: slots + floor,
            until_ns: until_ns.max(at_ns),
            floor,
        }));
    }

    /// Serves users until told to stop, and gives its lease back then.
    pub async fn run(self, stop: impl Fn() -> bool) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let options = Options {
            dial: Some(self.dial.clone()),
            ..Options::default()
        };
        let holder = loop {
            let holder = Holder::on(Nodes::with(&self.addresses, options.clone()))
                .pool(self.pool)
                .region(["north", "south"][self.number as usize % 2])
                .name(name(self.number))
                .reserve(3)
                .report_every(Duration::from_millis(600));
            match holder.await {
                Ok(holder) => break holder,
                Err(error) => tracing::info!(%error, "no lease"),
            }
            if stop() {
                return;
            }
        };
        let watching = tokio::spawn(self.clone().watch(holder.watch(), || 0, |_| {}));
        let mut seats = Vec::new();
        while !stop() {
            tokio::time::sleep(Duration::from_millis(random.u64(20..300))).await;
            // More come than there is room for, so that what one loses another takes at once.
            let come = random.usize(0..12);
            for _ in 0..come {
                match holder.try_seat() {
                    Some(seat) => seats.push(seat),
                    None => break,
                }
            }
            let stay = match random.u32(0..15) {
                0 => 0,
                _ => seats.len().saturating_sub(random.usize(0..6)),
            };
            seats.truncate(stay);
            let overdue = usize::try_from(holder.status().overdue).unwrap_or(usize::MAX);
            seats.truncate(seats.len().saturating_sub(overdue));
        }
        drop(seats);
        holder.close().await;
        // What was said last is noted before all ends.
        tokio::time::sleep(Duration::from_millis(5)).await;
        watching.abort();
    }

    /// Notes what it may use, whenever that changes, and tells until when there are slots beside the floor.
    pub async fn watch(
        self,
        mut status: tokio::sync::watch::Receiver<client::Status>,
        floor: impl Fn() -> u64,
        tell: impl Fn(u64),
    ) {
        let mut noted = (0, 0, 0);
        loop {
            let (slots, left) = {
                let status = status.borrow_and_update();
                (status.slots, status.expires_in)
            };
            let until_ns = system::now_ns() + true_ns(left, self.drift_ppm);
            let has_moved = !left.is_zero() && until_ns.abs_diff(noted.1) > 20_000_000;
            let floor = floor();
            if (slots, floor) != (noted.0, noted.2) || has_moved {
                noted = (slots, until_ns, floor);
                self.uses(slots, until_ns, floor);
                tell(if slots > 0 { until_ns } else { 0 });
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }
}
