//! The one load generator for all: clients that each make a call, wait for its answer, and make the next.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use preau::parts::Failure;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::connection::{CONNECT_WITHIN, Connection};
use crate::figures::{Figures, Latencies};

/// One connection carries this many clients, and there are so many connections at most.
const CLIENTS_PER_CONNECTION: usize = 64;
const MOST_CONNECTIONS: usize = 16;
/// The pause after a call that failed, so that failing is no load.
pub const PAUSE: Duration = Duration::from_millis(50);
/// How long a call may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Take new leases.
    Grant,
    /// Keep those that they have, one after the other and from the beginning again.
    Keep,
    /// Give them back.
    Revoke,
}

impl Phase {
    /// In the order in which they come.
    pub const ALL: [Self; 3] = [Self::Grant, Self::Keep, Self::Revoke];

    /// What its operations are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grants",
            Self::Keep => "keepalives",
            Self::Revoke => "revokes",
        }
    }
}

/// A client: it has leases, and one call under way at a time.
pub trait Client: Send + 'static {
    /// Makes the next call of a phase, and says how many leases it was about: none where there are none left to
    /// keep or give back. A lease whose fate is not known after an error is forgotten.
    fn call(&mut self, phase: Phase) -> impl Future<Output = Result<u64, String>> + Send;
}

/// When a phase ends.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// After so much time.
    pub time: Duration,
    /// Or once it was about so many leases.
    pub leases: u64,
}

/// What clients of a phase share.
struct Shared {
    began: Instant,
    /// What is answered later than so many microseconds after the beginning counts no more.
    end_us: AtomicU64,
    leases: AtomicU64,
    most: u64,
}

impl Shared {
    fn now_us(&self) -> u64 {
        micros(self.began.elapsed())
    }

    fn is_over(&self, now_us: u64) -> bool {
        now_us > self.end_us.load(Ordering::Relaxed)
    }

    fn end(&self, now_us: u64) {
        self.end_us.fetch_min(now_us, Ordering::Relaxed);
    }
}

/// What one client has done.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    leases: u64,
    errors: BTreeMap<String, u64>,
}

/// Has all clients do the same until the bounds are reached or, where they give leases back, the first has none
/// left; gives them back, and what they did.
pub async fn phase<C: Client>(
    clients: Vec<C>,
    phase: Phase,
    bounds: Bounds,
) -> Result<(Vec<C>, Figures), Failure> {
    let shared = Arc::new(Shared {
        began: Instant::now(),
        end_us: AtomicU64::new(micros(bounds.time)),
        leases: AtomicU64::new(0),
        most: bounds.leases,
    });
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(work(client, phase, Arc::clone(&shared)));
    }
    let mut clients = Vec::with_capacity(tasks.len());
    let mut all = Tally::default();
    while let Some(ended) = tasks.join_next().await {
        let (client, tally) =
            ended.map_err(|e| Failure::operation(format!("a client ended badly: {e}")))?;
        clients.push(client);
        all.latencies.append(tally.latencies);
        all.leases += tally.leases;
        for (error, times) in tally.errors {
            *all.errors.entry(error).or_default() += times;
        }
    }
    let seconds = shared.end_us.load(Ordering::Relaxed) as f64 / 1e6;
    let figures = all.latencies.figures(seconds, all.leases, all.errors)?;
    Ok((clients, figures))
}

async fn work<C: Client>(mut client: C, phase: Phase, shared: Arc<Shared>) -> (C, Tally) {
    let mut tally = Tally::default();
    let mut patience = Patience::new(ANSWER_WITHIN);
    loop {
        let sent_us = shared.now_us();
        if shared.is_over(sent_us) {
            break;
        }
        let outcome = patience.wait(client.call(phase)).await;
        let now_us = shared.now_us();
        let counts = !shared.is_over(now_us);
        match outcome {
            Ok(0) => {
                // From here on there would be fewer clients at work than is said.
                if phase == Phase::Revoke {
                    shared.end(now_us);
                }
                break;
            }
            Ok(leases) if counts => {
                tally.latencies.add(now_us - sent_us);
                tally.leases += leases;
                let so_far = shared.leases.fetch_add(leases, Ordering::Relaxed) + leases;
                if so_far >= shared.most {
                    shared.end(now_us);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if counts {
                    *tally.errors.entry(error).or_default() += 1;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    (client, tally)
}

/// A bound on how long each call of a client takes: one timer that is moved on, since a new one for each call would be
/// put into the runtime's list of timers and taken out again.
struct Patience {
    within: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(within: Duration) -> Self {
        let timer = Box::pin(sleep(within));
        Self { within, timer }
    }

    /// Gives the call up where it takes too long.
    async fn wait(
        &mut self,
        call: impl Future<Output = Result<u64, String>>,
    ) -> Result<u64, String> {
        let end = tokio::time::Instant::now() + self.within;
        self.timer.as_mut().reset(end);
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.timer.as_mut() => Err(format!("no answer within {:?}", self.within)),
        }
    }
}

/// Has every client give back all that it has, for as long as `time`.
pub async fn give_back<C: Client>(clients: Vec<C>, time: Duration) {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let mut patience = Patience::new(ANSWER_WITHIN);
            while Instant::now() < end {
                if let Ok(0) = patience.wait(client.call(Phase::Revoke)).await {
                    break;
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Makes one call after the other, for a tenth of the time so that all is warm, and then measured.
pub async fn alone(
    time: Duration,
    mut call: impl AsyncFnMut() -> Result<(), String>,
) -> Result<Figures, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < time / 10 {
        call().await.map_err(Failure::operation)?;
    }
    let begun = Instant::now();
    let (mut latencies, mut calls) = (Latencies::default(), 0);
    while begun.elapsed() < time {
        let sent = Instant::now();
        call().await.map_err(Failure::operation)?;
        latencies.add(micros(sent.elapsed()));
        calls += 1;
    }
    latencies.figures(begun.elapsed().as_secs_f64(), calls, BTreeMap::new())
}

/// How many connections so many clients share, to whichever server.
pub fn connections(clients: usize) -> usize {
    clients
        .div_ceil(CLIENTS_PER_CONNECTION)
        .clamp(1, MOST_CONNECTIONS)
}

/// Connections for so many clients to `address`, which is `host:port`.
pub async fn connect(address: &str, clients: usize) -> Result<Vec<Connection>, Failure> {
    let mut all = Vec::new();
    for _ in 0..connections(clients) {
        all.push(Connection::open(address).await?);
    }
    Ok(all)
}

/// A connection that is made, and made again, whenever it is used and is not there.
pub fn lazily(address: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| Failure::operation(format!("{address}: {e}")))?;
    let endpoint = endpoint.connect_timeout(CONNECT_WITHIN);
    Ok(api::connect::channel(&endpoint, None))
}

/// Whole microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has some leases, and answers at once.
    struct Ready {
        leases: u64,
    }

    impl Client for Ready {
        async fn call(&mut self, phase: Phase) -> Result<u64, String> {
            tokio::task::yield_now().await;
            match phase {
                Phase::Grant => self.leases += 1,
                Phase::Keep => return Err("no".into()),
                Phase::Revoke if self.leases == 0 => return Ok(0),
                Phase::Revoke => self.leases -= 1,
            }
            Ok(1)
        }
    }

    fn clients(count: u64) -> Vec<Ready> {
        (0..count).map(|leases| Ready { leases }).collect()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_phase_ends_at_its_bound_of_leases() {
        let bounds = Bounds {
            time: LONG,
            leases: 100,
        };
        let (clients, figures) = phase(clients(3), Phase::Grant, bounds).await.unwrap();
        assert_eq!(clients.len(), 3);
        assert!((100..=102).contains(&figures.leases), "{figures:?}");
        assert_eq!(figures.calls, figures.leases);
        assert!(figures.seconds < 600.0);
    }

    #[tokio::test]
    async fn giving_back_ends_with_the_first_that_has_none() {
        let bounds = Bounds {
            time: LONG,
            leases: u64::MAX,
        };
        let (left, figures) = phase(clients(3), Phase::Revoke, bounds).await.unwrap();
        assert!(figures.leases <= 3, "{figures:?}");
        give_back(left, LONG).await;
    }

    #[tokio::test]
    async fn each_call_is_waited_for_as_long_as_it_may_take() {
        let mut patience = Patience::new(Duration::from_millis(200));
        for _ in 0..2 {
            // Together longer than one may take.
            for _ in 0..3 {
                let slow = async {
                    sleep(Duration::from_millis(100)).await;
                    Ok(1)
                };
                assert_eq!(patience.wait(slow).await, Ok(1));
            }
            let never = patience.wait(std::future::pending()).await;
            assert_eq!(never, Err("no answer within 200ms".into()));
        }
    }

    #[tokio::test]
    async fn errors_are_counted_and_no_operations() {
        let bounds = Bounds {
            time: Duration::from_millis(60),
            leases: 1,
        };
        let (_, figures) = phase(clients(2), Phase::Keep, bounds).await.unwrap();
        assert_eq!((figures.calls, figures.leases), (0, 0));
        assert!(figures.errors["no"] >= 2);
    }

    #[test]
    fn few_connections_for_many_clients() {
        let of = [1, 64, 65, 256, 1_024, 100_000].map(connections);
        assert_eq!(of, [1, 1, 2, 4, 16, 16]);
    }
}
