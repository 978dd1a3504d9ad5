//! One run: a cluster, its clients and its faults, all from one seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use check::history::{
    Answer, Applied, Call, FORMAT, Leads, Listed, Moment, Operation, Record, Run,
};
use client::keys::Keys;
use node::{Config, Ground, Node};
use quota::State;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::asker::{self, Asker};
use crate::crowd::{self, Crowd};
use crate::disk::Disk;
use crate::faults::Faults;
use crate::fronts::{self, FrontEnd};
use crate::host::{Host, drift_ppm, widest_drift_ppm};
use crate::line;
use crate::net::Net;
use crate::operator::Operator;
use crate::system;
use crate::trace::{Trace, hash};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// Front-ends, those of them with a queue, askers and the operator have numbers of machines from these on.
pub const FRONTS: u64 = 100;
/// As above.
pub const LINES: u64 = 120;
/// As above.
pub const ASKERS: u64 = 200;
/// As above.
pub const OPERATOR: u64 = 300;

/// As above, and on no machine.
const OBSERVER: u64 = 400;

/// What tickets are signed with.
const KEY: &str = "1 = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What came of a run.
pub struct Outcome {
    /// A hash of everything that happened.
    pub trace: u64,
    /// What was seen to be wrong while it ran: what the checkers find comes on top.
    pub found: Vec<String>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The history.
    pub history: Vec<Record>,
    /// Simulated seconds.
    pub seconds: u64,
}

/// How a run's phases follow each other.
#[derive(Clone)]
pub struct Phase(Arc<(AtomicBool, AtomicBool)>);

impl Phase {
    /// Whether the members and the budget change.
    pub fn churn(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Whether all give back what they have, and end.
    pub fn over(&self) -> bool {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// A machine that a node runs on.
pub struct Member {
    /// The node's id, and the machine's number.
    pub id: u64,
    /// The machine.
    pub host: Host,
    /// Its disk.
    pub disk: Disk,
    /// When it is started again, where it is down.
    pub up_at_ns: u64,
    node: Arc<Mutex<Option<Node>>>,
    ended: Arc<Mutex<Option<String>>>,
    seen: (u64, u64),
    led: u64,
}

/// A machine that something else runs on.
pub struct Other {
    /// Its number.
    pub id: u64,
    /// The machine.
    pub host: Host,
    /// When it is started again, where it is down.
    pub up_at_ns: u64,
    /// How often it was started.
    pub lives: u64,
}

/// All of it.
pub struct World {
    /// The lot of everything that has none of its own.
    pub random: fastrand::Rng,
    /// Where everything is noted.
    pub trace: Trace,
    /// The network.
    pub net: Net,
    /// The nodes.
    pub members: Vec<Member>,
    /// The clients.
    pub others: Vec<Other>,
    seed: u64,
    phase: Phase,
    done: Arc<AtomicU32>,
    crowd: Crowd,
    /// The file of keys that tickets are signed with.
    keys: PathBuf,
}

/// The address of a node.
pub fn address(id: u64) -> String {
    format!("node-{id}:4500")
}

/// The pool that a front-end's machine is for.
fn pool(id: u64) -> &'static str {
    match id {
        LINES.. => crowd::POOL,
        _ => fronts::POOL,
    }
}

/// Runs a seed.
///
/// # Errors
/// Where the directory for snapshots can't be used.
pub fn run(seed: u64, dir: &Path, verbose: bool) -> std::io::Result<Outcome> {
    system::simulate(seed);
    client::clock::simulate(crate::host::clock);
    let trace = Trace::new(verbose);
    let panics = trace.clone();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("{info}");
        panics.failed(format!("panic: {info}"));
    }));

    let mut world = World::new(seed, dir, trace.clone())?;
    let mut faults = Faults::new(seed ^ 0xfa01);
    let tick = [3, 5, 8, 10][world.random.usize(0..4)] * MS;
    let (storm, calm) = (6 * S, (35 + world.random.u64(0..25)) * S);
    let (drain, end) = (calm + 18 * S, calm + 75 * S);
    let mut now = 0;
    let step = |world: &mut World, now: &mut u64| {
        *now += tick;
        system::set_now_ns(*now);
        world.step(*now, tick);
    };
    while now < storm {
        step(&mut world, &mut now);
    }
    world.phase.0.0.store(true, Ordering::Relaxed);
    while now < calm {
        faults.step(&mut world, now, calm);
        step(&mut world, &mut now);
    }
    faults.end(&mut world, now);
    while !world.is_whole() {
        step(&mut world, &mut now);
    }
    world.phase.0.0.store(false, Ordering::Relaxed);
    world.crowd.healed();
    trace.record(Record::Healed(Moment { at_ns: now }));
    let drain = drain.max(now + 16 * S);
    while now < drain {
        step(&mut world, &mut now);
    }
    world.phase.0.1.store(true, Ordering::Relaxed);
    let end = end.max(now + 60 * S);
    let clients = world.others.len() as u32;
    while now < end && world.done.load(Ordering::Relaxed) + 1 < clients {
        step(&mut world, &mut now);
    }
    trace.record(Record::Drained(Moment { at_ns: now }));
    let looked = now + 14 * S;
    while now < looked {
        step(&mut world, &mut now);
    }
    world.observe(now, true);
    // The operator looks on.
    if world.done.load(Ordering::Relaxed) + 1 < clients {
        trace.failed("not all clients came to an end");
    }
    for member in &mut world.members {
        member.end(&world.net, &trace, 0, false);
    }

    let (hash, mut counts, history, found) = trace.finish();
    let operations = history
        .iter()
        .filter(|record| matches!(record, Record::Operation(_)));
    counts.insert("operations", operations.count() as u64);
    Ok(Outcome {
        trace: hash,
        found,
        counts,
        history,
        seconds: now / S,
    })
}

impl World {
    fn new(seed: u64, dir: &Path, trace: Trace) -> std::io::Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let drift = widest_drift_ppm(seed);
        let net = Net::new(seed ^ 0x4e37, trace.clone());
        let founders = [3, 3, 5][random.usize(0..3)];
        let ids: Vec<u64> = (1..=founders).collect();
        trace.record(Record::Run(Run {
            format: FORMAT,
            by: "simulation".into(),
            seed,
            nodes: ids,
        }));
        // Two more are up, and belong to no cluster yet.
        let members = (1..=founders + 2).map(|id| {
            let mut host = Host::new(drift_ppm(&mut random, drift));
            host.wall_ns = random.i64(-3_600..3_600) * S as i64;
            Ok(Member {
                id,
                host,
                disk: Disk::new(id, &dir.join(id.to_string()), seed ^ id << 8, trace.clone())?,
                up_at_ns: 0,
                node: Arc::default(),
                ended: Arc::default(),
                seen: (0, 0),
                led: 0,
            })
        });
        let members = members.collect::<std::io::Result<Vec<_>>>()?;
        let fronts = (0..3).map(|number| FRONTS + number);
        let lines = (0..4).map(|number| LINES + number);
        let askers = (0..3).map(|number| ASKERS + number);
        let others = fronts
            .chain(lines.clone())
            .chain(askers)
            .chain([OPERATOR])
            .map(|id| Other {
                id,
                host: Host::new(drift_ppm(&mut random, drift)),
                up_at_ns: if id == OPERATOR { 300 * MS } else { 5 * S },
                lives: 0,
            });
        let known = Keys::parse(KEY).map_err(std::io::Error::other)?;
        let keys = dir.join("keys");
        std::fs::write(&keys, KEY)?;
        let doors = lines.map(|id| id - FRONTS);
        Ok(Self {
            others: others.collect(),
            crowd: Crowd::new(seed ^ 0xc0d, trace.clone(), known, doors),
            keys,
            random,
            trace,
            net,
            members,
            seed,
            phase: Phase(Arc::default()),
            done: Arc::default(),
        })
    }

    /// Nodes that the cluster was founded with.
    pub fn founders(&self) -> u64 {
        self.members.len() as u64 - 2
    }

    /// The node that thinks it leads, in the highest term.
    pub fn leader(&self) -> Option<u64> {
        let leads = self.members.iter().filter_map(|member| {
            let (leads, term) = member.leads()?;
            leads.then_some((term, member.id))
        });
        leads.max().map(|(_, id)| id)
    }

    /// Whether everything runs.
    fn is_whole(&self) -> bool {
        self.members.iter().all(|member| member.host.is_up())
    }

    /// Everything goes on for a while.
    fn step(&mut self, now_ns: u64, tick_ns: u64) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            let why = lock(&member.ended).take();
            if let Some(why) = why {
                let died = format!("node {} stopped by itself: {why}", member.id);
                self.trace.note(&[hash(died.as_bytes())]);
                if why.contains("panicked") || why.contains("can't be") {
                    self.trace.failed(died);
                } else {
                    self.trace.count("node stopped by itself");
                }
                member.end(&self.net, &self.trace, 0, false);
                member.up_at_ns = now_ns + S;
            }
            if !member.host.is_up() && member.up_at_ns <= now_ns {
                self.start_member(at);
            }
        }
        for at in 0..self.others.len() {
            if !self.others[at].host.is_up() && self.others[at].up_at_ns <= now_ns {
                self.start_other(at);
            }
        }
        self.net.step(now_ns);
        let mut order: Vec<usize> = (0..self.members.len() + self.others.len()).collect();
        self.random.shuffle(&mut order);
        for at in order {
            match at.checked_sub(self.members.len()) {
                None => {
                    let member = &mut self.members[at];
                    if member.host.stands_until_ns <= now_ns {
                        member.disk.step(now_ns);
                    }
                    member.host.step(tick_ns);
                }
                Some(at) => self.others[at].host.step(tick_ns),
            }
        }
        self.crowd.look();
        if now_ns % (20 * MS) < tick_ns {
            self.observe(now_ns, now_ns % (100 * MS) < tick_ns);
        }
        if now_ns % S < tick_ns {
            self.read_leases(now_ns);
        }
    }

    /// Looks at what the nodes have come to.
    fn observe(&mut self, now_ns: u64, states: bool) {
        for member in &mut self.members {
            let node = lock(&member.node);
            let Some(node) = node.as_ref() else {
                continue;
            };
            let (leads, term) = node.leads();
            if leads && member.led != term {
                member.led = term;
                self.trace.count("leadership");
                self.trace.record(Record::Leads(Leads {
                    at_ns: now_ns,
                    node: member.id,
                    term,
                }));
            }
            if states {
                let applied = node.applied();
                if (applied.index, applied.term) != member.seen && applied.index > 0 {
                    member.seen = (applied.index, applied.term);
                    self.trace.record(Record::Applied(Applied {
                        at_ns: now_ns,
                        node: member.id,
                        index: applied.index,
                        term: applied.term,
                        hash: hash(&applied.state),
                    }));
                }
            }
        }
    }

    /// Reads the askers' leases where they are known for certain: a leader that has applied an entry of its term knows
    /// all that was answered, unless there was another since. Without that a history of requests whose outcomes nobody
    /// knows can be explained in more ways than can be tried.
    fn read_leases(&self, now_ns: u64) {
        let newest = self.members.iter().map(|member| member.led).max();
        let mut leaders = self
            .members
            .iter()
            .filter(|member| Some(member.led) == newest);
        let (Some(leader), None) = (leaders.next(), leaders.next()) else {
            return;
        };
        let node = lock(&leader.node);
        let Some(node) = node
            .as_ref()
            .filter(|node| node.leads() == (true, leader.led))
        else {
            return;
        };
        let applied = node.applied();
        let Ok(state) = State::restore(&applied.state) else {
            return;
        };
        if applied.term != leader.led || state.pool(asker::POOL).is_none() {
            return;
        }
        let leases = state.leases(asker::POOL, None, None, None, usize::MAX);
        let listed = leases.into_iter().map(|lease| Listed {
            lease: lease.lease.0,
            holder: lease.holder,
            epoch: lease.epoch,
            seq: lease.seq,
            slots: lease.slots,
        });
        self.trace.record(Record::Operation(Operation {
            client: OBSERVER,
            invoke_ns: now_ns,
            return_ns: now_ns,
            call: Call::Leases {
                pool: asker::POOL.into(),
                stale: false,
            },
            answer: Answer::Leases(listed.collect()),
        }));
    }

    fn start_member(&mut self, at: usize) {
        let member = &mut self.members[at];
        let id = member.id;
        self.net.back(id);
        let incoming = UnboundedReceiverStream::new(self.net.listen(id, &address(id)));
        let mut config = Config::new(id, "unused", SocketAddr::from(([127, 0, 0, 1], 4_500)));
        config.advertise = Some(address(id));
        config.raft.snapshot_every = 100;
        config.raft.keep_entries = self.random.u64(0..60);
        let ground = Ground {
            store: member.disk.open(),
            incoming: Box::pin(incoming.map(|stream| stream)),
            dial: self.net.dialler(id),
        };
        let (slot, ended) = (member.node.clone(), member.ended.clone());
        member.seen = (0, 0);
        member.host.start(async move {
            match Node::start_on(config, ground).await {
                Ok(node) => {
                    let stopped = node.stopped();
                    *lock(&slot) = Some(node);
                    *lock(&ended) = Some(stopped.await);
                }
                Err(error) => *lock(&ended) = Some(error.to_string()),
            }
        });
    }

    fn start_other(&mut self, at: usize) {
        let founders = self.founders();
        let addresses: Vec<String> = self.members.iter().map(|m| address(m.id)).collect();
        let (trace, phase, done) = (self.trace.clone(), self.phase.clone(), self.done.clone());
        let other = &mut self.others[at];
        other.lives += 1;
        self.net.back(other.id);
        let (id, life, drift_ppm) = (other.id, other.lives, other.host.drift_ppm);
        let run_seed = self.seed;
        let seed = run_seed ^ (id << 16) ^ (life << 32);
        let dial = self.net.dialler(id);
        let (known, way, noted) = (addresses.clone(), dial.clone(), trace.clone());
        // On its own machine, for connections have tasks.
        let asker = move || Asker::new(id, seed, life, drift_ppm, &known, &way, noted);
        let finished = move || done.fetch_add(1, Ordering::Relaxed);
        match id {
            OPERATOR => other.host.start(async move {
                let drift = widest_drift_ppm(run_seed);
                let operator = Operator::new(asker(), addresses, founders, drift, dial, trace);
                operator.run(phase).await;
            }),
            ASKERS.. => other.host.start(async move {
                let mut asker = asker();
                // Not in every run: what so many reads show together takes long to explain.
                asker.reads = id == ASKERS && run_seed % 4 == 3;
                asker.run(|| phase.over()).await;
                finished();
                std::future::pending::<()>().await;
            }),
            _ => {
                let front = FrontEnd {
                    number: id - FRONTS,
                    pool: pool(id),
                    life,
                    seed,
                    drift_ppm,
                    addresses,
                    dial,
                    trace,
                };
                let (crowd, keys) = (self.crowd.clone(), self.keys.clone());
                other.host.start(async move {
                    match id {
                        LINES.. => line::run(front, crowd, keys, || phase.over()).await,
                        _ => front.run(|| phase.over()).await,
                    }
                    finished();
                    std::future::pending::<()>().await;
                });
            }
        }
    }

    /// A client's process ends, and what it held it uses no more.
    pub fn end_other(&mut self, at: usize, steps: u32, silent: bool) {
        let other = &mut self.others[at];
        other.host.kill(steps);
        self.net.end(other.id, silent);
        if (FRONTS..ASKERS).contains(&other.id) {
            let front = FrontEnd {
                number: other.id - FRONTS,
                pool: pool(other.id),
                life: other.lives,
                seed: 0,
                drift_ppm: 0,
                addresses: Vec::new(),
                dial: self.net.dialler(other.id),
                trace: self.trace.clone(),
            };
            front.uses(0, 0, 0);
            self.crowd.died(front.number);
        }
    }
}

impl Member {
    /// Whether it thinks that it leads, and its term.
    pub fn leads(&self) -> Option<(bool, u64)> {
        lock(&self.node).as_ref().map(Node::leads)
    }

    /// Its process ends, after so many steps of its tasks more.
    pub fn end(&mut self, net: &Net, trace: &Trace, steps: u32, silent: bool) {
        let node = lock(&self.node).take();
        trace.note(&[self.id, u64::from(steps)]);
        self.host.kill(steps);
        drop(node);
        // One that had just come up.
        drop(lock(&self.node).take());
        *lock(&self.ended) = None;
        self.disk.crash();
        net.end(self.id, silent);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
