//! A state to be refused on, and what to look at.
#![allow(clippy::unwrap_used)]

use quota::{Command, LeaseId, Refusal, State};

use super::*;

/// What a name should be.
pub const A_NAME: &str =
    "expected 1 to 128 bytes of printable text without white space at either end";

/// A pool of 100 with two regions, a holder with a lease of 30, one whose lease closes, and one whose lease
/// has ended.
pub struct Fixture {
    pub state: State,
    pub live: LeaseId,
    pub closing: LeaseId,
    pub ended: LeaseId,
}

/// When all that is.
pub const NOW: u64 = 5_000;

pub fn fixture() -> Fixture {
    let mut state = State::default();
    let regions = [
        set_region("corse", 10, Some(20), 1),
        set_region("normandie", 60, None, 1),
    ];
    let mut changes = vec![set_pool("ent", 100)];
    changes.extend(regions);
    run(&mut state, 0, configure("first", changes)).unwrap();
    let mut lease = |holder, wanted| {
        granted(run(
            &mut state,
            NOW,
            take("normandie", holder, 3, 5, wanted),
        ))
        .lease
    };
    let (live, closing, ended) = (lease("rouen", 30), lease("caen", 20), lease("brest", 10));
    run(&mut state, NOW, remove_holder("removed", "caen")).unwrap();
    run(&mut state, NOW, give_back(ended, 6)).unwrap();
    Fixture {
        state,
        live,
        closing,
        ended,
    }
}

/// The command is refused with these words, and the state is the same to the byte.
#[track_caller]
pub fn refused(fixture: &mut Fixture, command: Command, words: &str) -> Refusal {
    by_fields_alone(&command);
    let before = fixture.state.snapshot();
    let refusal = run(&mut fixture.state, NOW, command).expect_err("refused");
    assert_eq!(refusal.to_string(), words);
    assert!(fixture.state.snapshot() == before, "something has changed");
    refusal
}

/// What a look at a command's fields refuses is what an empty budget finds wrong with them.
#[track_caller]
pub fn by_fields_alone(command: &Command) {
    let invalid = |refusal: &Refusal| matches!(refusal, Refusal::Invalid { .. });
    let empty = run(&mut State::default(), 0, command.clone());
    assert_eq!(command.check().err(), empty.err().filter(invalid));
}
