//! Simulated people, over real HTTP, who come to a portal that has a gate before it.
//!
//! Each has a browser with cookies: comes to the portal's first page, follows redirects, waits as the gate says, looks at
//! a few pages, and leaves or just goes. Beside them, *pressers* press reload all the time and keep no cookies. What
//! each does is drawn from a seed; when it happens is up to the real clock.
//!
//! ```no_run
//! # async fn morning() -> Result<(), Box<dyn std::error::Error>> {
//! let crowd = crowd::Crowd {
//!     people: 300,
//!     ..crowd::Crowd::at("http://127.0.0.1:8090")?
//! };
//! println!("{}", crowd.start()?.finish().await);
//! # Ok(())
//! # }
//! ```

mod browser;
mod person;
mod presser;
mod tally;

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub use hdrhistogram::CreationError;
use http::Uri;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::browser::Http;
use crate::tally::Ledger;
pub use crate::tally::{Passage, Tally};

/// Who comes, and how they behave.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// `http://host:port` of the portal, through whatever stands before it.
    pub portal: Uri,
    /// How many come in all.
    pub people: usize,
    /// How many come in a second.
    pub rate: f64,
    /// How long each stays in the portal, drawn evenly.
    pub stay: RangeInclusive<Duration>,
    /// Pages that each looks at during the stay, the first included; at least one.
    pub pages: u32,
    /// What each page fetches besides.
    pub assets: u32,
    /// The part of them, 0 to 1, who say that they leave; others just go, and their sessions run out.
    pub leave: f64,
    /// Every wait that the gate asks for is divided by this; pages are looked at as it is.
    pub hurry: f64,
    /// Whoever is not in after so long gives up.
    pub patience: Duration,
    /// Those who press reload and keep no cookies.
    pub pressers: usize,
    /// How often each of them does, per second.
    pub presses: f64,
    /// Requests under way at a time, pressers' included.
    pub connections: usize,
    /// Local addresses to come from; empty: the system's choice.
    pub from: Vec<IpAddr>,
    /// What is drawn is drawn from this.
    pub seed: u64,
}

/// Not `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address like http://127.0.0.1:8090", self.0)
    }
}

impl std::error::Error for BadAddress {}

impl Crowd {
    /// A hundred people in ten seconds, who behave.
    ///
    /// # Errors
    /// Where the address is not `http://host:port`.
    pub fn at(portal: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(portal.to_owned());
        let uri: Uri = portal.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() || uri.path() != "/" {
            return Err(bad());
        }
        Ok(Self {
            portal: uri,
            people: 100,
            rate: 10.0,
            stay: Duration::from_secs(5)..=Duration::from_secs(15),
            pages: 3,
            assets: 2,
            leave: 0.5,
            hurry: 1.0,
            patience: Duration::from_secs(600),
            pressers: 0,
            presses: 2.0,
            connections: 256,
            from: Vec::new(),
            seed: 1,
        })
    }

    /// They begin to come. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where histograms can't be made, which is not to be expected.
    pub fn start(self) -> Result<Running, CreationError> {
        let ledger = Arc::new(Ledger::new(self.people)?);
        let scene = Arc::new(Scene {
            http: Http::new(&self),
            began: Instant::now(),
            ledger: Arc::clone(&ledger),
            crowd: self,
        });
        let (mut people, mut pressers) = (JoinSet::new(), JoinSet::new());
        for nth in 0..scene.crowd.pressers {
            pressers.spawn(presser::press(Arc::clone(&scene), nth));
        }
        people.spawn(arrivals(scene));
        Ok(Running {
            people,
            _pressers: pressers,
            ledger,
        })
    }
}

/// A crowd on its way. All of them vanish when it is dropped.
#[derive(Debug)]
pub struct Running {
    people: JoinSet<()>,
    _pressers: JoinSet<()>,
    ledger: Arc<Ledger>,
}

impl Running {
    /// How it stands.
    pub fn tally(&self) -> Tally {
        self.ledger.tally()
    }

    /// Waits until the last of the people has gone, or given up; then the pressers stop too.
    pub async fn finish(mut self) -> Tally {
        // A person can't fail but by a bug, which the counts then show: they are one short.
        while self.people.join_next().await.is_some() {}
        self.tally()
    }
}

/// What they all share.
#[derive(Debug)]
pub(crate) struct Scene {
    pub crowd: Crowd,
    pub http: Http,
    pub ledger: Arc<Ledger>,
    pub began: Instant,
}

impl Scene {
    /// The dice of one of them.
    pub fn dice(&self, nth: usize) -> fastrand::Rng {
        let mut seeds = fastrand::Rng::with_seed(self.crowd.seed);
        let own = (nth as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        fastrand::Rng::with_seed(seeds.u64(..) ^ own)
    }

    /// A wait that the gate asks for, with a fifth more or less, so that no two keep step.
    pub fn asked(&self, seconds: u32, dice: &mut fastrand::Rng) -> Duration {
        let exact = f64::from(seconds) / self.crowd.hurry.max(0.01);
        Duration::from_secs_f64((exact * (0.8 + 0.4 * dice.f64())).clamp(0.01, 3_600.0))
    }
}

/// Whoever has not come yet costs nothing.
async fn arrivals(scene: Arc<Scene>) {
    let mut people = JoinSet::new();
    for nth in 0..scene.crowd.people {
        let after = nth as f64 / scene.crowd.rate.max(0.001);
        sleep_until(scene.began + Duration::from_secs_f64(after)).await;
        people.spawn(person::live(Arc::clone(&scene), nth));
        while people.try_join_next().is_some() {}
    }
    while people.join_next().await.is_some() {}
}
