//! One seat a ticket: front-ends claim tokens from one another at random, with answers lost and holders that
//! die or are cut off, and no token is ever used by two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use proptest::prelude::*;
use quota::limits::{CLAIM_REMEMBER_S, MAX_CLAIMS};
use quota::{Claimed, Command, LeaseId, Reply, Report, Reported, State, TokenClaim};

const FRONTS: usize = 4;

#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    Issue {
        front: usize,
    },
    Claim {
        front: usize,
        token: usize,
    },
    /// The token is used up where it is.
    Use {
        token: usize,
    },
    Report {
        front: usize,
        lost: bool,
    },
    /// It starts anew, while what it was lives on, cut off, to the end of its lease.
    Restart {
        front: usize,
    },
    Return {
        front: usize,
    },
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    let front = 0..FRONTS;
    prop_oneof![
        2 => prop_oneof![0u64..1_500, Just(10_000)].prop_map(Event::Wait),
        3 => front.clone().prop_map(|front| Event::Issue { front }),
        6 => (front.clone(), 0usize..8).prop_map(|(front, token)| Event::Claim { front, token }),
        1 => (0usize..8).prop_map(|token| Event::Use { token }),
        12 => (front.clone(), prop::bool::weighted(0.2)).prop_map(|(front, lost)| Event::Report { front, lost }),
        1 => front.clone().prop_map(|front| Event::Restart { front }),
        1 => front.prop_map(|front| Event::Return { front }),
        1 => Just(Event::Restore),
    ]
}

/// One life of a front-end: what it holds, and what it is about to say.
#[derive(Debug, Clone, Default)]
struct Front {
    lease: Option<LeaseId>,
    epoch: u64,
    seq: u64,
    until_ms: u64,
    /// A slot to seat with: a lease without any ends at once when its holder starts anew.
    slots: u64,
    has: BTreeSet<u64>,
    wants: BTreeSet<u64>,
    released: Vec<u64>,
    refused: Vec<u64>,
}

#[derive(Default)]
struct Region {
    state: State,
    now_ms: u64,
    fronts: Vec<Front>,
    /// Lives before: they hold what they held until their lease runs out.
    before: Vec<Front>,
    /// Each token's issuer, by its id.
    tokens: BTreeMap<u64, u32>,
    used: BTreeSet<u64>,
}

impl Region {
    fn new() -> Self {
        let mut region = Self {
            now_ms: 1_000,
            fronts: vec![Front::default(); FRONTS],
            ..Self::default()
        };
        let changes = vec![set_pool("ent", 100), set_region("corse", 0, None, 1)];
        run(&mut region.state, 0, configure("start", changes)).unwrap();
        region
    }

    fn run(&mut self, command: Command) -> quota::Outcome {
        run(&mut self.state, self.now_ms, command)
    }

    fn play(&mut self, event: &Event) {
        match *event {
            Event::Wait(ms) => {
                self.now_ms += ms;
                tick(&mut self.state, self.now_ms);
            }
            Event::Issue { front } => {
                self.ensure(front);
                // A token is issued once the issuer has reported.
                self.report(front, false);
                let id = self.tokens.len() as u64;
                let issuer = quota::issuer(&format!("front-{front}"), self.fronts[front].epoch);
                self.tokens.insert(id, issuer);
                self.fronts[front].has.insert(id);
            }
            Event::Claim { front, token } => {
                self.ensure(front);
                let id = token as u64;
                if self.tokens.contains_key(&id) && !self.fronts[front].has.contains(&id) {
                    self.fronts[front].wants.insert(id);
                }
            }
            Event::Use { token } => {
                let id = token as u64;
                if self.fronts.iter().any(|front| front.has.contains(&id)) {
                    self.used.insert(id);
                }
            }
            Event::Report { front, lost } => self.report(front, lost),
            Event::Restart { front } => self.restart(front),
            Event::Return { front } => {
                let Some(lease) = self.fronts[front].lease else {
                    return;
                };
                self.fronts[front].seq += 1;
                let command = give_back(lease, self.fronts[front].seq);
                if self.run(command).is_ok() {
                    let epoch = self.fronts[front].epoch;
                    self.fronts[front] = Front {
                        epoch: epoch + 1,
                        ..Front::default()
                    };
                }
            }
            Event::Restore => self.state = State::restore(&self.state.snapshot()).unwrap(),
        }
        self.check();
    }

    fn restart(&mut self, front: usize) {
        let epoch = self.fronts[front].epoch + 1;
        let fresh = Front {
            epoch,
            ..Front::default()
        };
        let before = std::mem::replace(&mut self.fronts[front], fresh);
        self.before.push(before);
        self.ensure(front);
    }

    /// A front-end whose lease has run out starts anew: its tokens may be others' by now.
    fn ensure(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        if front.lease.is_some() && front.until_ms > self.now_ms {
            return;
        }
        let epoch = front.epoch + 1;
        *front = Front {
            epoch,
            seq: 1,
            ..Front::default()
        };
        let grant = granted(self.run(take("corse", &format!("front-{at}"), epoch, 1, 0)));
        let front = &mut self.fronts[at];
        (front.lease, front.until_ms) = (Some(grant.lease), self.now_ms + grant.ttl_ms);
    }

    fn report(&mut self, at: usize, lost: bool) {
        self.ensure(at);
        let front = &mut self.fronts[at];
        front.seq += 1;
        let claims = front.wants.iter().map(|&id| TokenClaim {
            id,
            issuer: self.tokens[&id],
        });
        let report = Report {
            lease: front.lease.unwrap(),
            seq: front.seq,
            kept: front.slots,
            in_use: 0,
            spare: 1,
            waiting: Vec::new(),
            exact_until_s: u32::MAX,
            left: 0,
            floor: 0,
            claims: claims.collect(),
            released: front.released.clone(),
            refused: front.refused.clone(),
        };
        let Ok(Reply::Reported(reported)) = self.run(Command::ReportV2(report)) else {
            panic!("a report was refused")
        };
        if !lost {
            self.hear(at, *reported);
        }
    }

    fn hear(&mut self, at: usize, reported: Reported) {
        let front = &mut self.fronts[at];
        front.until_ms = self.now_ms + reported.grant.ttl_ms;
        front.slots = reported.grant.slots;
        for (id, came) in reported.claims {
            match came {
                Claimed::Granted => {
                    front.has.insert(id);
                    front.wants.remove(&id);
                }
                Claimed::Refused => {
                    front.wants.remove(&id);
                    assert!(self.used.contains(&id), "refused, and nobody has used it");
                }
                Claimed::Pending | Claimed::TooMany => {}
            }
        }
        (front.released, front.refused) = (Vec::new(), Vec::new());
        for id in reported.asked {
            // What it gives up it drops before it says so.
            if self.used.contains(&id) && front.has.contains(&id) {
                front.refused.push(id);
            } else {
                front.has.remove(&id);
                front.released.push(id);
            }
        }
    }

    /// Nobody uses what another may use.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for front in self.fronts.iter().chain(&self.before) {
            if front.slots > 0 && front.until_ms > self.now_ms {
                for id in &front.has {
                    assert!(seen.insert(id), "token {id} is used by two");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_token_is_used_by_two(events in prop::collection::vec(event(), 1..120)) {
        let mut region = Region::new();
        for event in &events {
            region.play(event);
        }
    }
}

/// Who claims repeats it until it has an answer, and gets one as soon as whoever has the token has reported
/// or has ended.
#[test]
fn a_claim_is_answered() {
    let mut region = Region::new();
    region.play(&Event::Issue { front: 0 });
    region.play(&Event::Claim { front: 1, token: 0 });
    region.play(&Event::Report {
        front: 1,
        lost: false,
    });
    assert!(!region.fronts[1].has.contains(&0));
    region.play(&Event::Report {
        front: 0,
        lost: false,
    });
    assert!(
        !region.fronts[0].has.contains(&0),
        "it was asked, and gave it up"
    );
    region.play(&Event::Report {
        front: 0,
        lost: false,
    });
    region.play(&Event::Report {
        front: 1,
        lost: false,
    });
    assert!(region.fronts[1].has.contains(&0));

    // A third asks the second, which is dead: once its lease has run out nobody need be asked.
    region.play(&Event::Claim { front: 2, token: 0 });
    for _ in 0..9 {
        region.play(&Event::Wait(1_000));
        region.play(&Event::Report {
            front: 2,
            lost: false,
        });
        assert!(!region.fronts[2].has.contains(&0));
    }
    region.play(&Event::Wait(1_000));
    region.play(&Event::Report {
        front: 2,
        lost: false,
    });
    assert!(region.fronts[2].has.contains(&0));
}

#[test]
fn a_region_remembers_so_many_claims() {
    let mut state = State::default();
    let changes = vec![set_pool("ent", 100), set_region("corse", 0, None, 1)];
    run(&mut state, 0, configure("start", changes)).unwrap();
    let lease = |state: &mut State, ms| {
        granted(run(state, ms, take("corse", "bastia", ms + 1, 1, 0))).lease
    };
    let first = lease(&mut state, 0);
    let claim = |state: &mut State, lease, seq, time_ms, ids: std::ops::Range<u64>| {
        let report = Report {
            lease,
            seq,
            kept: 0,
            in_use: 0,
            spare: 0,
            waiting: Vec::new(),
            exact_until_s: 0,
            left: 0,
            floor: 0,
            claims: ids.map(|id| TokenClaim { id, issuer: 1 }).collect(),
            released: Vec::new(),
            refused: Vec::new(),
        };
        match run(state, time_ms, Command::ReportV2(report)) {
            Ok(Reply::Reported(reported)) => reported.claims,
            other => panic!("{other:?}"),
        }
    };
    let most = MAX_CLAIMS as u64;
    for i in 0..most / 256 {
        let came = claim(&mut state, first, i + 2, 0, i * 256..(i + 1) * 256);
        assert!(came.iter().all(|(_, came)| *came == Claimed::Granted));
    }
    let come = claim(&mut state, first, most, 0, most - 1..most + 1);
    assert_eq!(
        come,
        [(most - 1, Claimed::Granted), (most, Claimed::TooMany)]
    );
    // They are forgotten in the order of their age, and not before their time.
    let remembered_ms = u64::from(CLAIM_REMEMBER_S) * 1_000;
    let second = lease(&mut state, remembered_ms - 1);
    let came = claim(&mut state, second, 2, remembered_ms - 1, most..most + 1);
    assert_eq!(came, [(most, Claimed::TooMany)]);
    let came = claim(&mut state, second, 3, remembered_ms, most..most + 1);
    assert_eq!(came, [(most, Claimed::Granted)]);
}
