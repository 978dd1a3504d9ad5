//! The coordinator: the real state machine, and a network that delays and loses what goes to and from it.

use quota::{Batch, Change, Class, Command, Configure, Outcome, Rules, SetPool, SetRegion, State};

use crate::play::Play;
use crate::random::{Draw, exponential, rng};
use crate::scenario::Scenario;
use crate::users::Ms;

/// The pool's name.
pub const POOL: &str = "ent";
/// Cluster time as the replay begins: whole seconds, so that both count the same ones.
const EPOCH_MS: u64 = 1_000_000;
/// Bytes that one message takes beside what it says: HTTP/2 and gRPC frames, TLS, TCP and IP.
const ENVELOPE_BYTES: u64 = 120;

/// The coordinator and the way to it.
#[derive(Debug)]
pub struct Coordinator {
    state: State,
    random: fastrand::Rng,
    configured: u64,
    /// There is no leader until then.
    pub lost_until: Ms,
    /// Messages, both ways, and their bytes.
    pub messages: u64,
    /// See [`Coordinator::messages`].
    pub bytes: u64,
}

impl Coordinator {
    /// With the scenario's pool, regions and rules.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut coordinator = Self {
            state: State::default(),
            random: rng(seed, Draw::Network, 0),
            configured: 0,
            lost_until: 0,
            messages: 0,
            bytes: 0,
        };
        coordinator.configure(0, changes(scenario));
        coordinator
    }

    /// Cluster time in milliseconds.
    pub fn cluster_ms(now: Ms) -> u64 {
        EPOCH_MS + u64::from(now)
    }

    /// The second of cluster time in which that was.
    pub fn cluster_s(at: Ms) -> u32 {
        (Self::cluster_ms(at) / 1_000) as u32
    }

    /// The second of the replay that a second of cluster time is.
    pub fn second_of(cluster_s: u32) -> u32 {
        cluster_s.saturating_sub((EPOCH_MS / 1_000) as u32)
    }

    /// Slots that are out, by the state machine's count.
    pub fn held(&self) -> u64 {
        self.state.pool(POOL).map_or(0, |pool| pool.held)
    }

    /// Applies one command.
    pub fn apply(&mut self, now: Ms, command: Command) -> Option<Outcome> {
        let batch = Batch {
            time_ms: Self::cluster_ms(now),
            commands: vec![command],
        };
        self.state.apply(&batch).pop()
    }

    /// Applies changes of the budget. The scenario has been checked: they are right.
    fn configure(&mut self, now: Ms, changes: Vec<Change>) {
        self.configured += 1;
        let outcome = self.apply(
            now,
            Command::Configure(Configure {
                request_id: format!("replay-{}", self.configured),
                expected_revision: None,
                changes,
            }),
        );
        debug_assert!(matches!(outcome, Some(Ok(_))), "{outcome:?}");
    }

    /// The pool carries that much from now on.
    pub fn set_capacity(&mut self, now: Ms, capacity: u64) {
        let pool = POOL.to_owned();
        self.configure(now, vec![Change::SetCapacity { pool, capacity }]);
    }

    /// Sends a message of so many bytes: when it comes, unless it is lost.
    pub fn send(&mut self, play: &Play<'_>, bytes: usize) -> Option<Ms> {
        let network = &play.scenario.front_ends;
        self.messages += 1;
        self.bytes += bytes as u64 + ENVELOPE_BYTES;
        let lost = self.random.f64() < network.loss;
        let delay = network.delay_ms + exponential(&mut self.random, network.jitter_ms);
        (!lost).then(|| play.now + (delay.round() as Ms).max(1))
    }
}

fn changes(scenario: &Scenario) -> Vec<Change> {
    let pool = || POOL.to_owned();
    let mut changes = vec![
        Change::SetPool(SetPool {
            name: pool(),
            capacity: scenario.capacity,
            ttl_ms: Some(scenario.front_ends.ttl_ms),
            drift_ppm: None,
        }),
        Change::SetRules {
            pool: pool(),
            rules: Rules {
                classes: scenario
                    .classes()
                    .into_iter()
                    .map(|class| Class {
                        name: class.name,
                        weight: class.weight,
                        first: class.first,
                    })
                    .collect(),
                overtake_s: scenario.rules.overtake_s,
                ..Rules::default()
            },
        },
    ];
    for region in &scenario.region {
        let floor = (region.nominal as f64 * scenario.front_ends.floor) as u64;
        changes.push(Change::SetRegion(SetRegion {
            pool: pool(),
            name: region.name.clone(),
            // A floor is always set aside, and comes out of what is guaranteed.
            nominal: region.nominal - floor,
            ceiling: None,
            weight: region.weight,
        }));
        if floor > 0 {
            changes.push(Change::SetFloor {
                pool: pool(),
                region: region.name.clone(),
                holder: None,
                slots: floor,
            });
        }
    }
    changes
}
