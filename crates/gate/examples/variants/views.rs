// Every way that the page can look, by the name of its file: for the tests, and for looking at.

use quota::Wait;

use super::{State, View};

const REASON: &str = "Travaux sur le réseau jusqu’à 9 h 15. Merci de votre patience !";

pub fn views() -> Vec<(&'static str, View)> {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs();
    let today = i64::try_from(now).ok();
    let of = View::of;
    let asks = |state, ask_in_s| View {
        ask_in_s: Some(ask_in_s),
        ..View::of(state)
    };
    let waits = |ahead, p50_s, p90_s, ask_in_s| View {
        ahead: Some(ahead),
        wait: Some(Wait { p50_s, p90_s }),
        ..asks(State::Waiting, ask_in_s)
    };
    let left = |state, left_s| View {
        left_s: Some(left_s),
        ..asks(state, 10)
    };
    let because = |view| View {
        reason: REASON.into(),
        ..view
    };
    vec![
        ("waiting-first", waits(0, 12, 40, 3)),
        ("waiting-one", waits(1, 65, 65, 3)),
        ("waiting", waits(1_340, 380, 610, 30)),
        ("waiting-soon", waits(12, 40, 170, 3)),
        ("waiting-long", waits(28_412, 4_000, 7_300, 60)),
        ("waiting-day", waits(1_234_567, 50_000, 100_000, 60)),
        ("waiting-hour", waits(9_000, 3_600, 3_600, 60)),
        (
            "waiting-unknown",
            View {
                wait: None,
                ..waits(17, 0, 0, 10)
            },
        ),
        (
            "waiting-fewer",
            because(View {
                fewer: true,
                ..waits(2_210, 1_500, 2_800, 60)
            }),
        ),
        (
            "before",
            View {
                opens_unix_s: today,
                ahead: Some(800),
                ..asks(State::Before, 30)
            },
        ),
        (
            "before-days",
            View {
                opens_unix_s: Some(2_000_000_000),
                ..asks(State::Before, 30)
            },
        ),
        (
            "paused",
            because(View {
                ahead: Some(127),
                opens_unix_s: today,
                ..asks(State::Paused, 10)
            }),
        ),
        ("checking", asks(State::Checking, 1)),
        ("unreachable", asks(State::Unreachable, 10)),
        (
            "unreachable-placed",
            View {
                ahead: Some(127),
                ..asks(State::Unreachable, 10)
            },
        ),
        ("closed", because(asks(State::Closed, 30))),
        ("closed-for-good", of(State::Closed)),
        ("full", asks(State::Full, 30)),
        ("no-cookies", of(State::NoCookies)),
        ("too-many", asks(State::TooMany, 20)),
        ("lost", of(State::Lost)),
        ("over", of(State::Over)),
        ("seated", left(State::Seated, 1_520)),
        ("seated-long", left(State::Seated, 7_500)),
        ("seated-two-hours", left(State::Seated, 7_200)),
        ("seated-free", asks(State::Seated, 60)),
        ("ending", left(State::Ending, 170)),
        ("ending-now", left(State::Ending, 42)),
        ("ending-last", left(State::Ending, 4)),
    ]
}
