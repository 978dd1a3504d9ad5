//! Histories of the real state machine: holders and an operator ask it, with answers that are late or lost,
//! holders that crash, clocks that drift, and one planted bug at a time.

mod client;

use check::history::{
    Answer, Applied, Call, Change, FORMAT, Granted, Listed, Moment, Operation, Record, Refused,
    Run, Use,
};
use client::Client;
use quota::{Batch, Command, Configure, LeaseId, Outcome, Reply, SetPool, SetRegion, State};

pub const MS: u64 = 1_000_000;
pub const POOL: &str = "ent";
pub const TTL_MS: u64 = 1_000;
pub const CAPACITY: u64 = 20;

/// What is wrong with the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    Nothing,
    /// Leases run out by a clock that runs half as fast again.
    EarlyExpiry,
    /// Holders count a grant's time from its answer.
    CountFromTheAnswer,
    /// A lowered target is taken for confirmed.
    CountLowered,
    /// The coordinator has twice the capacity that it was told.
    Overcommit,
    /// A retry is carried out once more.
    SkipDedup,
    /// What was answered is lost by a power cut.
    Rollback,
    /// Reads are answered from an older state.
    StaleReads,
    /// A lease that has run out counts for ever.
    Leak,
}

/// A request on its way.
#[derive(Debug)]
struct Flight {
    client: usize,
    operation: Operation,
    attempt: u64,
    /// When it is carried out, and when its answer comes; not at all where it is lost.
    run_ms: Option<u64>,
    answer_ms: Option<u64>,
    give_up_ms: u64,
    answer: Option<Answer>,
}

pub struct World {
    random: fastrand::Rng,
    bug: Bug,
    pub history: Vec<Record>,
    state: State,
    /// What the state was, every 100 ms, the last second of it.
    snapshots: Vec<Vec<u8>>,
    cluster_us: u64,
    stopped_until_ms: u64,
    index: u64,
    clients: Vec<Client>,
    flights: Vec<Flight>,
    stop_ms: u64,
}

/// From when on holders stop, before the end.
const STOPS_MS: u64 = 6_000;

/// A whole history: so many holders, for so long.
pub fn run(seed: u64, bug: Bug, holders: usize, run_ms: u64) -> Vec<Record> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut clients: Vec<Client> = (0..holders)
        .map(|i| Client::holder(i, &mut random))
        .collect();
    clients.push(Client::operator(holders));
    let run = Run {
        format: FORMAT,
        by: "test".into(),
        seed,
        nodes: vec![1],
    };
    let mut world = World {
        random,
        bug,
        history: vec![Record::Run(run)],
        state: State::default(),
        snapshots: Vec::new(),
        cluster_us: 0,
        stopped_until_ms: 0,
        index: 0,
        clients,
        flights: Vec::new(),
        stop_ms: run_ms - STOPS_MS,
    };
    world.set_up();
    for now_ms in 1..run_ms {
        world.tick(now_ms);
    }
    world.history
}

impl World {
    fn set_up(&mut self) {
        let call = configure("set-up", CAPACITY);
        let answer = self.carry_out(0, &call, 0);
        let operation = Operation {
            client: 9,
            invoke_ns: 0,
            return_ns: 1,
            call,
            answer,
        };
        self.history.push(Record::Operation(operation));
    }

    fn tick(&mut self, now_ms: u64) {
        if self.random.u32(0..2_000) == 0 {
            // Another leader: cluster time stands still meanwhile.
            self.stopped_until_ms = now_ms + self.random.u64(0..600);
        }
        if now_ms >= self.stopped_until_ms {
            self.cluster_us += if self.bug == Bug::EarlyExpiry {
                1_500
            } else {
                998
            };
        }
        if now_ms.is_multiple_of(100) {
            self.snapshots.push(self.state.snapshot());
            if self.snapshots.len() > 10 {
                self.snapshots.remove(0);
            }
            if self.bug == Bug::Rollback && now_ms == self.stop_ms / 2 {
                self.state = State::restore(&self.snapshots[4]).unwrap();
            }
        }
        self.fly(now_ms);
        for at in 0..self.clients.len() {
            let busy = self
                .flights
                .iter()
                .any(|f| f.client == at && now_ms < f.give_up_ms);
            if !busy && now_ms >= self.clients[at].next_ms {
                self.ask(at, now_ms);
            }
        }
        if now_ms == self.stop_ms {
            self.history
                .push(Record::Drained(Moment { at_ns: now_ms * MS }));
        }
    }

    /// Carries out what has arrived, and hands over what was answered.
    fn fly(&mut self, now_ms: u64) {
        let mut at = 0;
        while at < self.flights.len() {
            if self.flights[at].run_ms == Some(now_ms) {
                let (call, attempt) = (
                    self.flights[at].operation.call.clone(),
                    self.flights[at].attempt,
                );
                let answer = self.carry_out(now_ms, &call, attempt);
                self.flights[at].answer = Some(answer);
            }
            let flight = &self.flights[at];
            let answered = flight.answer_ms == Some(now_ms);
            let given_up = now_ms == flight.give_up_ms;
            if answered || given_up {
                let mut operation = flight.operation.clone();
                operation.return_ns = now_ms * MS;
                if let Some(answer) = flight.answer.clone().filter(|_| answered) {
                    operation.answer = answer;
                }
                let client = flight.client;
                self.clients[client].hear(
                    &operation,
                    now_ms,
                    self.bug,
                    &mut self.random,
                    &mut self.history,
                );
                self.history.push(Record::Operation(operation));
            }
            let flight = &self.flights[at];
            let waits = flight.run_ms.is_some_and(|run_ms| run_ms > now_ms);
            if answered || (now_ms >= flight.give_up_ms && !waits) {
                self.flights.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn ask(&mut self, at: usize, now_ms: u64) {
        let stopping = now_ms >= self.stop_ms - 700;
        let client = &mut self.clients[at];
        let Some((call, attempt)) =
            client.ask(now_ms, stopping, &mut self.random, &mut self.history)
        else {
            return;
        };
        let run_ms = (self.random.u32(0..12) > 0).then(|| now_ms + 1 + self.delay());
        let give_up_ms = now_ms + 400;
        let answer_ms = run_ms
            .map(|run_ms| run_ms + self.delay())
            .filter(|&at| at < give_up_ms);
        let lost = self.random.u32(0..12) == 0;
        self.flights.push(Flight {
            client: at,
            operation: Operation {
                client: at as u64,
                invoke_ns: now_ms * MS,
                return_ns: now_ms * MS,
                call,
                answer: Answer::Unknown("no answer".into()),
            },
            attempt,
            run_ms,
            answer_ms: answer_ms.filter(|_| !lost),
            give_up_ms,
            answer: None,
        });
    }

    fn delay(&mut self) -> u64 {
        match self.random.u32(0..20) {
            0 => self.random.u64(0..600),
            _ => self.random.u64(0..60),
        }
    }

    /// Does what is asked, now.
    fn carry_out(&mut self, now_ms: u64, call: &Call, attempt: u64) -> Answer {
        if let Call::Inspect { .. } | Call::Leases { .. } | Call::Budget { .. } = call {
            self.apply(now_ms, None);
            if self.bug == Bug::StaleReads && !self.snapshots.is_empty() {
                return read(&State::restore(&self.snapshots[0]).unwrap(), call);
            }
            return read(&self.state, call);
        }
        let mut call = call.clone();
        let mut forged = None;
        match (self.bug, &mut call) {
            (
                Bug::SkipDedup,
                Call::Take { seq, .. } | Call::Renew { seq, .. } | Call::Return { seq, .. },
            ) => *seq += attempt,
            (Bug::SkipDedup, Call::Configure { request_id, .. }) => {
                request_id.push_str(&"'".repeat(attempt as usize));
            }
            (Bug::CountLowered, Call::Renew { lease, kept, .. }) => {
                let target = self.state.lease_target(LeaseId(*lease)).unwrap_or(u64::MAX);
                if target < *kept {
                    forged = Some(*kept);
                    *kept = target;
                }
            }
            (Bug::Overcommit, Call::Configure { changes, .. }) => {
                for change in changes {
                    if let Change::Capacity { capacity, .. } = change {
                        *capacity *= 2;
                    }
                }
            }
            _ => {}
        }
        let outcome = self.apply(now_ms, Some(command(&call)));
        let mut answer = answer(outcome.unwrap());
        if let (Some(slots), Answer::Granted(granted)) = (forged, &mut answer) {
            granted.slots = granted.slots.max(slots);
        }
        answer
    }

    fn apply(&mut self, now_ms: u64, command: Option<Command>) -> Option<Outcome> {
        if self.bug == Bug::Leak {
            self.cluster_us = self.cluster_us.min(500_000);
        }
        let time_ms = self.cluster_us / 1_000;
        let batch = Batch {
            time_ms,
            commands: command.into_iter().collect(),
        };
        let outcome = self.state.apply(&batch).pop();
        self.index += 1;
        self.history.push(Record::Applied(Applied {
            at_ns: now_ms * MS,
            node: 1,
            index: self.index,
            term: 1,
            hash: u64::from(crc32(&self.state.snapshot())),
        }));
        outcome
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte))
}

pub fn configure(id: &str, capacity: u64) -> Call {
    Call::Configure {
        request_id: id.into(),
        expected_revision: None,
        changes: vec![Change::Capacity {
            pool: POOL.into(),
            capacity,
        }],
    }
}

fn command(call: &Call) -> Command {
    match call.clone() {
        Call::Take {
            pool,
            region,
            holder,
            epoch,
            seq,
            wanted,
        } => Command::Take(quota::Take {
            pool: pool.into(),
            region: region.into(),
            holder: holder.into(),
            epoch,
            seq,
            wanted,
        }),
        Call::Renew {
            lease,
            seq,
            kept,
            wanted,
            ..
        } => Command::Renew(quota::Renew {
            lease: LeaseId(lease),
            seq,
            kept,
            wanted,
        }),
        Call::Return { lease, seq, .. } => Command::Return(quota::Return {
            lease: LeaseId(lease),
            seq,
        }),
        Call::RemoveHolder {
            request_id,
            pool,
            holder,
        } => Command::RemoveHolder(quota::RemoveHolder {
            request_id,
            holder,
            pool,
        }),
        Call::Configure {
            request_id,
            expected_revision,
            changes,
        } => {
            let changes = changes.into_iter().flat_map(|change| match change {
                Change::Capacity { pool, capacity } => [
                    quota::Change::SetPool(SetPool {
                        name: pool.clone(),
                        capacity,
                        ttl_ms: Some(TTL_MS),
                        drift_ppm: None,
                    }),
                    quota::Change::SetRegion(SetRegion {
                        pool,
                        name: "corse".into(),
                        nominal: 0,
                        ceiling: None,
                        weight: 1,
                    }),
                ],
                other => panic!("{other:?}"),
            });
            let changes = changes.collect();
            Command::Configure(Configure {
                request_id,
                expected_revision,
                changes,
            })
        }
        other => panic!("{other:?} is no command"),
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Ok(Reply::Grant(grant)) => Answer::Granted(Granted {
            lease: grant.lease.0,
            slots: grant.slots,
            target: grant.target,
            ttl_ms: grant.ttl_ms,
            drift_ppm: grant.drift_ppm,
            floor: 0,
        }),
        Ok(Reply::Returned(returned)) => Answer::Returned {
            slots: returned.slots,
        },
        Ok(Reply::HolderRemoved(removed)) => Answer::HolderRemoved {
            leases: removed.leases,
            slots: removed.slots,
        },
        Ok(Reply::Configured(configured)) => Answer::Configured {
            revision: configured.revision,
        },
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => {
            use quota::Refusal::*;
            let reason = match &refusal {
                StaleEpoch { .. } => "STALE_EPOCH",
                StaleSeq { .. } => "STALE_SEQ",
                LeaseEnded { .. } => "LEASE_ENDED",
                NoSuchLease { .. } => "NO_SUCH_LEASE",
                LeaseClosing { .. } => "LEASE_CLOSING",
                NoSuchHolder { .. } => "NO_SUCH_HOLDER",
                RevisionMismatch { .. } => "REVISION_MISMATCH",
                _ => "INVALID_FIELD",
            };
            Answer::Refused(Refused {
                reason: reason.into(),
                message: refusal.to_string(),
            })
        }
    }
}

fn read(state: &State, call: &Call) -> Answer {
    match call {
        Call::Budget { .. } => Answer::Budget {
            revision: state.revision(),
            capacities: state
                .pools()
                .map(|pool| (pool.name, pool.capacity))
                .collect(),
        },
        Call::Leases { .. } => {
            let leases = state.leases(POOL, None, None, None, usize::MAX);
            let listed = leases.into_iter().map(|lease| Listed {
                lease: lease.lease.0,
                holder: lease.holder,
                epoch: lease.epoch,
                seq: lease.seq,
                slots: lease.slots,
            });
            Answer::Leases(listed.collect())
        }
        _ => {
            let pool = state.pool(POOL).unwrap();
            Answer::Inspected {
                capacity: pool.capacity,
                held: pool.held,
                leases: pool.leases,
                cluster_time_ms: state.now_ms(),
            }
        }
    }
}

/// Records what a holder may use.
pub fn uses(
    history: &mut Vec<Record>,
    holder: &str,
    lease: u64,
    at_ms: u64,
    slots: u64,
    until_ns: u64,
) {
    let at_ns = at_ms * MS;
    history.push(Record::Use(Use {
        at_ns,
        pool: POOL.into(),
        holder: holder.into(),
        lease,
        slots,
        until_ns: until_ns.max(at_ns),
        floor: 0,
    }));
}
