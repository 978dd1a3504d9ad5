//! The search for an order gives the verdicts of stateright's tester, and of trying every order.
#![allow(clippy::unwrap_used, missing_docs)]

use check::wgl::{Found, Model, Timed, check};
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

/// A register of one number.
struct Cell;

type Op = (RegisterOp<u8>, Option<RegisterRet<u8>>);

impl Model for Cell {
    type State = u8;
    type Operation = Op;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, operation: &Op) -> Vec<u8> {
        match operation {
            (RegisterOp::Write(value), _) => vec![*value],
            (RegisterOp::Read, Some(RegisterRet::ReadOk(value))) if value != state => vec![],
            (RegisterOp::Read, _) => vec![*state],
        }
    }
}

/// A history of a few threads, each one operation after another; the last of each may be without an answer.
fn random_history(random: &mut fastrand::Rng) -> (Vec<Timed<Op>>, bool) {
    let mut theirs = LinearizabilityTester::new(Register(0_u8));
    let mut open: [Option<usize>; 3] = [None; 3];
    let mut operations: Vec<Timed<Op>> = Vec::new();
    for now in 0..14 {
        let thread = random.usize(0..open.len());
        match open[thread].take() {
            None => {
                let op = match random.bool() {
                    true => RegisterOp::Read,
                    false => RegisterOp::Write(random.u8(0..3)),
                };
                theirs.on_invoke(thread, op.clone()).unwrap();
                open[thread] = Some(operations.len());
                operations.push(Timed {
                    from: now,
                    until: u64::MAX,
                    surely: false,
                    operation: (op, None),
                });
            }
            Some(at) => {
                let answer = match operations[at].operation.0 {
                    RegisterOp::Read => RegisterRet::ReadOk(random.u8(0..3)),
                    RegisterOp::Write(_) => RegisterRet::WriteOk,
                };
                theirs.on_return(thread, answer.clone()).unwrap();
                (operations[at].until, operations[at].surely) = (now, true);
                operations[at].operation.1 = Some(answer);
            }
        }
    }
    (operations, theirs.is_consistent())
}

/// Tries every order.
fn by_force<M: Model>(
    model: &M,
    operations: &[Timed<M::Operation>],
    done: u32,
    state: &M::State,
) -> bool {
    let left = |at: &usize| done & 1 << at == 0;
    let must: Vec<usize> = (0..operations.len())
        .filter(left)
        .filter(|&at| operations[at].surely)
        .collect();
    let soonest = must.iter().map(|&at| operations[at].until).min();
    must.is_empty()
        || (0..operations.len())
            .filter(left)
            .filter(|&at| Some(operations[at].from) <= soonest)
            .any(|at| {
                model
                    .step(state, &operations[at].operation)
                    .iter()
                    .any(|state| by_force(model, operations, done | 1 << at, state))
            })
}

#[test]
fn verdicts_are_those_of_stateright_and_of_brute_force() {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..4_000 {
        let (operations, theirs) = random_history(&mut random);
        let ours = check(&Cell, &operations, 1_000_000) == Found::Linearizable;
        assert_eq!(ours, theirs, "{operations:?}");
        assert_eq!(ours, by_force(&Cell, &operations, 0, &0), "{operations:?}");
        *(if ours { &mut right } else { &mut wrong }) += 1;
    }
    assert!(right > 500 && wrong > 500, "{right} right, {wrong} wrong");
}

/// A register whose writes are numbered, each taking effect only before all with a higher number.
struct Numbered {
    remembers: bool,
}

#[derive(Debug)]
enum Ask {
    Write { number: u8, value: u8 },
    Read { value: u8 },
}

impl Model for Numbered {
    type State = (u8, u8);
    type Operation = Ask;

    fn initial(&self) -> (u8, u8) {
        (0, 0)
    }

    fn step(&self, state: &(u8, u8), operation: &Ask) -> Vec<(u8, u8)> {
        match *operation {
            Ask::Write { number, value } if number > state.0 => vec![(number, value)],
            Ask::Read { value } if value != state.1 => vec![],
            _ => vec![*state],
        }
    }

    fn remembers(&self, operation: &Ask) -> bool {
        self.remembers && matches!(operation, Ask::Write { .. })
    }
}

#[test]
fn what_the_state_remembers_the_search_need_not() {
    let mut random = fastrand::Rng::with_seed(2);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..4_000 {
        let operations: Vec<Timed<Ask>> = (0..8)
            .map(|_| {
                let (from, lasts, value) = (random.u64(0..12), random.u64(0..6), random.u8(0..4));
                let write = random.bool();
                let surely = !write || random.u8(0..4) == 0;
                Timed {
                    from,
                    until: if surely { from + lasts } else { u64::MAX },
                    surely,
                    operation: match write {
                        true => Ask::Write {
                            number: random.u8(1..5),
                            value,
                        },
                        false => Ask::Read { value },
                    },
                }
            })
            .collect();
        let expected = by_force(&Numbered { remembers: false }, &operations, 0, &(0, 0));
        for remembers in [false, true] {
            let found = check(&Numbered { remembers }, &operations, 1_000_000);
            assert_eq!(found == Found::Linearizable, expected, "{operations:?}");
        }
        *(if expected { &mut right } else { &mut wrong }) += 1;
    }
    assert!(right > 500 && wrong > 500, "{right} right, {wrong} wrong");
}

#[test]
fn what_is_remembered_leaves_few_places_to_search() {
    // Twelve writes that may have been, each over the one before: the sets of them are many, the states few.
    let mut operations: Vec<Timed<Ask>> = (1..=12)
        .map(|number| Timed {
            from: 0,
            until: u64::MAX,
            surely: false,
            operation: Ask::Write {
                number,
                value: number,
            },
        })
        .collect();
    let read = |value, from| Timed {
        from,
        until: from + 1,
        surely: true,
        operation: Ask::Read { value },
    };
    operations.extend([read(12, 1), read(11, 3)]);
    let search = |remembers| check(&Numbered { remembers }, &operations, 2_000);
    assert_eq!(search(false), Found::Undecided { stuck: 13 });
    assert_eq!(search(true), Found::Not { stuck: 13 });
    operations.pop();
    operations.push(read(12, 3));
    let found = check(&Numbered { remembers: true }, &operations, 2_000);
    assert_eq!(found, Found::Linearizable);
}

#[test]
fn who_is_stuck_is_named_and_steps_are_bounded() {
    let write = |value, from, until| Timed {
        from,
        until,
        surely: true,
        operation: (RegisterOp::Write(value), Some(RegisterRet::WriteOk)),
    };
    let read = |value, from, until| Timed {
        from,
        until,
        surely: true,
        operation: (RegisterOp::Read, Some(RegisterRet::ReadOk(value))),
    };
    let stale = [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)];
    assert_eq!(check(&Cell, &stale, 100), Found::Not { stuck: 2 });
    assert_eq!(check(&Cell, &stale, 2), Found::Undecided { stuck: 2 });
    // The same is right where the second write may have come late.
    let late = [write(1, 0, 1), write(2, 2, 6), read(1, 4, 5)];
    assert_eq!(check(&Cell, &late, 100), Found::Linearizable);
}

#[test]
fn many_at_once_are_no_matter_where_an_order_is_at_hand() {
    let operations: Vec<Timed<Op>> = (0..20_000_u64)
        .map(|i| Timed {
            from: i.saturating_sub(50),
            until: i + 50,
            surely: true,
            operation: match i % 2 {
                0 => (
                    RegisterOp::Write((i % 251) as u8),
                    Some(RegisterRet::WriteOk),
                ),
                _ => (
                    RegisterOp::Read,
                    Some(RegisterRet::ReadOk(((i - 1) % 251) as u8)),
                ),
            },
        })
        .collect();
    assert_eq!(check(&Cell, &operations, 100_000), Found::Linearizable);
}
