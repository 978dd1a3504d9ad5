//! The model's steps through the real state machine: what the coordinator of the model answers and counts, it does.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use model::coordinator::{Ask, Coordinator, LeaseName, Reply, Request};
use model::{Bounds, Bug, FAST, State, Step};
use quota::{Batch, Change, Command, Configure, LeaseId, Outcome, Refusal, SetPool, SetRegion};
use stateright::Model;

/// A unit of the model's time.
const UNIT_MS: u64 = 100;
const POOL: &str = "ent";

/// The real state machine beside a state of the model.
struct Code {
    state: quota::State,
    names: BTreeMap<(usize, LeaseName), LeaseId>,
}

impl Code {
    fn new(bounds: &Bounds) -> Self {
        let changes = vec![
            Change::SetPool(SetPool {
                name: POOL.into(),
                capacity: bounds.capacity.into(),
                ttl_ms: Some(u64::from(bounds.ttl_ticks * FAST) * UNIT_MS),
                drift_ppm: Some(200_000),
            }),
            Change::SetRegion(SetRegion {
                pool: POOL.into(),
                name: "corse".into(),
                nominal: 0,
                ceiling: None,
                weight: 1,
            }),
        ];
        let (request_id, expected_revision) = ("set-up".into(), None);
        let configure = Configure {
            request_id,
            expected_revision,
            changes,
        };
        let mut state = quota::State::default();
        let commands = vec![Command::Configure(configure)];
        assert!(
            state.apply(&Batch {
                time_ms: 0,
                commands
            })[0]
                .is_ok()
        );
        Self {
            state,
            names: BTreeMap::new(),
        }
    }

    fn copy(&self) -> Self {
        let state = quota::State::restore(&self.state.snapshot()).unwrap();
        Self {
            state,
            names: self.names.clone(),
        }
    }

    /// Does what the coordinator does in this step of the model, and says where the two part.
    fn follow(
        &mut self,
        before: &State,
        step: Step,
        after: &State,
        bounds: &Bounds,
    ) -> Result<(), String> {
        let time_ms = self.state.now_ms() + u64::from(before.ahead) * UNIT_MS;
        match step {
            Step::Lower => {
                let (pool, capacity) = (POOL.into(), bounds.lowered.into());
                let (request_id, expected_revision) = ("lower".into(), None);
                let changes = vec![Change::SetCapacity { pool, capacity }];
                let configure = Configure {
                    request_id,
                    expected_revision,
                    changes,
                };
                let commands = vec![Command::Configure(configure)];
                let outcome = self.state.apply(&Batch { time_ms, commands }).remove(0);
                outcome.map_err(|refusal| refusal.to_string())?;
            }
            Step::Upkeep => {
                self.state.apply(&Batch {
                    time_ms,
                    commands: vec![],
                });
            }
            Step::Arrives(of, request) => {
                let mut coordinator = before.coordinator.clone();
                coordinator.advance(before.ahead);
                let reply = coordinator.apply(of, request, bounds);
                let commands = vec![self.command(of, request)];
                let outcome = self.state.apply(&Batch { time_ms, commands }).remove(0);
                if !self.answers(of, &outcome, reply) {
                    return Err(format!(
                        "{before:#?}\n{request:?}: the model answers {reply:?}, the code {outcome:?}"
                    ));
                }
            }
            _ => return Ok(()),
        }
        for of in 0..bounds.holders.len() {
            let leases = self.state.leases(POOL, None, Some(&name(of)), None, 10);
            let mut counted: Vec<(u64, u64)> = leases
                .iter()
                .map(|l| (l.slots, l.expires_ms - self.state.now_ms()))
                .collect();
            counted.sort_unstable();
            let leases = after.coordinator.leases[of]
                .iter()
                .filter(|lease| lease.left > 0);
            let mut expected: Vec<(u64, u64)> = leases
                .map(|lease| (lease.slots.into(), u64::from(lease.left) * UNIT_MS))
                .collect();
            expected.sort_unstable();
            if counted != expected {
                return Err(format!(
                    "{before:#?}\n{step:?}: of {of} the model counts {expected:?}, the code {counted:?}"
                ));
            }
        }
        Ok(())
    }

    fn command(&self, of: usize, request: Request) -> Command {
        let Request { epoch, seq, ask } = request;
        let (epoch, seq) = (epoch.into(), seq.into());
        let id = |lease| self.names[&(of, lease)];
        match ask {
            Ask::Take { wanted } => Command::Take(quota::Take {
                pool: POOL.into(),
                region: "corse".into(),
                holder: name(of).into(),
                epoch,
                seq,
                wanted: wanted.into(),
            }),
            Ask::Renew {
                lease,
                kept,
                wanted,
            } => {
                let (kept, wanted) = (kept.into(), wanted.into());
                Command::Renew(quota::Renew {
                    lease: id(lease),
                    seq,
                    kept,
                    wanted,
                })
            }
            Ask::Return { lease } => Command::Return(quota::Return {
                lease: id(lease),
                seq,
            }),
        }
    }

    /// Whether the code answers as the model.
    fn answers(&mut self, of: usize, outcome: &Outcome, reply: Reply) -> bool {
        match (outcome, reply) {
            (
                Ok(quota::Reply::Grant(grant)),
                Reply::Granted {
                    lease,
                    slots,
                    target,
                },
            ) => {
                let id = *self.names.entry((of, lease)).or_insert(grant.lease);
                (grant.lease, grant.slots, grant.target) == (id, slots.into(), target.into())
            }
            (Ok(quota::Reply::Returned(returned)), Reply::Returned { slots }) => {
                returned.slots == u64::from(slots)
            }
            (Err(refusal), reply) => {
                let expected = match refusal {
                    Refusal::LeaseEnded { .. } | Refusal::NoSuchLease { .. } => Reply::Ended,
                    Refusal::LeaseClosing { .. } => Reply::Closing,
                    Refusal::StaleSeq { .. } => Reply::StaleSeq,
                    Refusal::StaleEpoch { .. } => Reply::StaleEpoch,
                    _ => return false,
                };
                reply == expected
            }
            _ => false,
        }
    }
}

fn name(of: usize) -> String {
    format!("portal-{of}")
}

/// A step of the coordinator: what it stood at, how far its leader was ahead, and what it does.
type CoordinatorStep = (Coordinator, u8, Step);

/// Every step that the coordinator can take within the bounds, from the first way that leads to where it is taken.
fn every_step(bounds: &Bounds) -> (usize, usize) {
    let first = bounds.init_states().remove(0);
    let mut codes = HashMap::from([(first.coordinator.clone(), Code::new(bounds))]);
    let mut seen = HashSet::from([first.clone()]);
    let mut steps_seen: HashSet<CoordinatorStep> = HashSet::new();
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        for (step, next) in bounds.next_steps(&state) {
            let decides = matches!(step, Step::Arrives(..) | Step::Upkeep | Step::Lower);
            let key = decides.then(|| (state.coordinator.clone(), state.ahead, step));
            if let Some(key) = key.filter(|key| !steps_seen.contains(key)) {
                steps_seen.insert(key);
                let mut code = codes[&state.coordinator].copy();
                code.follow(&state, step, &next, bounds).unwrap();
                codes.entry(next.coordinator.clone()).or_insert(code);
            }
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    (seen.len(), steps_seen.len())
}

#[test]
fn every_step_of_the_coordinator() {
    for (holders, lowered) in [
        ([(1, 2), (2, 1)], 2),
        ([(1, 2), (1, 2)], 2),
        ([(1, 2), (1, 1)], 1),
    ] {
        let bounds = Bounds {
            holders: holders.to_vec(),
            capacity: 2,
            lowered,
            ttl_ticks: 2,
            bug: None,
        };
        let (states, steps) = every_step(&bounds);
        println!("{holders:?}: {states} states, {steps} different steps of the coordinator");
        assert!(steps > 1_000);
    }
}

/// Goes so many long ways by lot, and returns how many requests were carried out on them.
fn long_ways(ways: usize, bug: Option<Bug>) -> Result<usize, String> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut bounds = Bounds {
        holders: vec![(4, 12); 3],
        capacity: 7,
        lowered: 7,
        ttl_ticks: 3,
        bug,
    };
    let mut carried_out = 0;
    for way in 0..ways {
        bounds.lowered = if way % 2 == 0 { 7 } else { 3 };
        let mut state = bounds.init_states().remove(0);
        let mut code = Code::new(&bounds);
        for _ in 0..200 {
            let mut steps = bounds.next_steps(&state);
            let (step, next) = steps.swap_remove(random.usize(0..steps.len()));
            code.follow(&state, step, &next, &bounds)?;
            carried_out += usize::from(matches!(step, Step::Arrives(..)));
            state = next;
        }
    }
    Ok(carried_out)
}

#[test]
fn long_ways_by_lot() {
    let carried_out = long_ways(400, None).unwrap();
    println!("{carried_out} requests");
    assert!(carried_out > 10_000);
}

#[test]
fn where_the_two_part_it_is_seen() {
    let bugs = [
        Bug::ExpireEarly,
        Bug::NeverExpire,
        Bug::CountLowered,
        Bug::SkipDedup,
        Bug::ForgetClosing,
        Bug::GrowUnconfirmed,
    ];
    for bug in bugs {
        assert!(long_ways(400, Some(bug)).is_err(), "{bug:?} goes unseen");
    }
}
