//! A search for what goes wrong in a region.

use super::*;

/// Something that happens in a region.
#[derive(Debug, Clone)]
enum Happens {
    Arrive {
        at: usize,
        class: u8,
    },
    /// The user who has sat longest at a front-end leaves.
    Leave {
        at: usize,
    },
    Wait {
        ms: u64,
    },
    /// The link to the nodes breaks or mends.
    Link {
        at: usize,
        connected: bool,
    },
    /// The next answer to a front-end is lost, though its request was carried out.
    Lose {
        at: usize,
    },
    Kill {
        at: usize,
    },
    /// A front-end is killed, and goes on with its lease; a request of the one before may come late.
    Restart {
        at: usize,
        late: bool,
    },
    /// Somebody who came first to one front-end shows the token at another.
    Show {
        at: usize,
        which: usize,
    },
}

fn happens(faults: bool) -> impl Strategy<Value = Happens> {
    let at = || 0..3_usize;
    let calm = prop_oneof![
        6 => (at(), 0..3_u8).prop_map(|(at, class)| Happens::Arrive { at, class }),
        4 => at().prop_map(|at| Happens::Leave { at }),
        5 => (1..40_u64).prop_map(|steps| Happens::Wait { ms: steps * STEP_MS }),
    ];
    let fault = prop_oneof![
        3 => (at(), any::<bool>()).prop_map(|(at, connected)| Happens::Link { at, connected }),
        3 => at().prop_map(|at| Happens::Lose { at }),
        1 => at().prop_map(|at| Happens::Kill { at }),
        2 => (at(), any::<bool>()).prop_map(|(at, late)| Happens::Restart { at, late }),
        6 => (at(), 0..100_usize).prop_map(|(at, which)| Happens::Show { at, which }),
    ];
    prop_oneof![20 => calm, u32::from(faults) * 6 => fault]
}

impl Region {
    /// A region of two ordinary classes and one that goes first, with a floor at one of its front-ends.
    fn eventful() -> Self {
        let class = |name: &str, weight, first| Class {
            name: name.into(),
            weight,
            first,
        };
        let rules = Rules {
            classes: vec![
                class("a", 2, false),
                class("b", 1, false),
                class("c", 1, true),
            ],
            session: SessionRules {
                limit_s: Some(60),
                when_waiting_s: Some(20),
                notice_s: 5,
                least_s: 5,
                ..SessionRules::default()
            },
            ..Rules::default()
        };
        let mut region = Self::with(12, 3, rules);
        let smaller = SetRegion {
            pool: "ent".into(),
            name: "normandie".into(),
            nominal: 9,
            ceiling: None,
            weight: 1,
        };
        let floor = Change::SetFloor {
            pool: "ent".into(),
            region: "normandie".into(),
            holder: Some("portal-0".into()),
            slots: 3,
        };
        region.configure("floor", vec![Change::SetRegion(smaller), floor]);
        region.run(2_000);
        region
    }

    /// Whether before long every slot that is not set aside is used, or nobody waits. Sessions end in the
    /// meantime, and so it may be for a moment only.
    fn fills_up(&mut self) -> bool {
        (0..200).any(|_| {
            self.run(STEP_MS);
            let running = || self.fronts.iter().filter(|front| front.runs);
            let in_use: u64 = running().map(|front| front.queue.in_use()).sum();
            in_use >= 9 || running().all(|front| front.queue.waiting() == 0)
        })
    }

    fn is_ready(&self, at: usize) -> bool {
        let front = &self.fronts[at];
        front.runs && front.queue.second(self.now()).is_some()
    }

    fn happen(&mut self, happens: &Happens, tokens: &mut Vec<Shown>) {
        match *happens {
            Happens::Arrive { at, class } if self.is_ready(at) => {
                tokens.extend(self.arrive(at, class));
            }
            Happens::Leave { at } if self.fronts[at].runs => {
                let queue = &self.fronts[at].queue;
                let seated = tokens.iter().find(|token| {
                    queue.arrival(token.id).is_some() && !self.waiting.contains_key(&token.id)
                });
                if let Some(&Shown { id, .. }) = seated {
                    self.leave(at, id);
                }
            }
            Happens::Wait { ms } => self.run(ms),
            Happens::Link { at, connected } => self.fronts[at].connected = connected,
            Happens::Lose { at } => self.fronts[at].loses = true,
            Happens::Kill { at } if at > 0 => self.fronts[at].runs = false,
            Happens::Restart { at, late } if self.is_ready(at) && self.fronts[at].connected => {
                self.restart(at, late);
            }
            Happens::Show { at, which } if self.fronts[at].runs && which < tokens.len() => {
                self.show(at, tokens[which]);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every call along the way is checked for who else waits, and every step for the budget.
    #[test]
    fn who_came_earlier_is_called_earlier(
        happens in proptest::collection::vec(happens(false), 1..250),
    ) {
        let (mut region, mut tokens) = (Region::eventful(), Vec::new());
        for event in &happens {
            // Of several classes, another may be next by the time that a front-end asks.
            let event = match *event {
                Happens::Arrive { at, .. } => Happens::Arrive { at, class: 0 },
                ref other => other.clone(),
            };
            region.happen(&event, &mut tokens);
        }
        prop_assert!(region.fills_up(), "slots idle while somebody waits");
    }

    #[test]
    fn whatever_breaks_the_budget_holds(
        happens in proptest::collection::vec(happens(true), 1..250),
    ) {
        let (mut region, mut tokens) = (Region::eventful(), Vec::new());
        (region.loose, region.in_turn) = (true, true);
        for event in &happens {
            region.happen(event, &mut tokens);
        }
        for front in &mut region.fronts {
            (front.connected, front.loses) = (true, false);
        }
        region.run(15_000);
        prop_assert!(region.fills_up(), "slots idle while somebody waits");
    }
}
