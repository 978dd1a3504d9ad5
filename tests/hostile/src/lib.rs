//! Everything in Préau that parses, fed anything.
//!
//! Each target takes bytes and must come back: with an error that says what is wrong, or with a value that
//! can be used and says the same when it is written again. It panics where something does not hold. The
//! fuzzer in `fuzz/` runs them with bytes that it makes up; the test in `tests/` with what the fuzzer found.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "to panic is how a target says that something does not hold"
)]

mod calendar;
mod commands;
mod directory;
mod files;
mod front_end;
mod gate;
mod log;
mod messages;
mod snapshot;
mod tokens;

pub use directory::expects_panic;

/// One thing that parses.
pub struct Target {
    /// Its name: that of its corpus, and of its binary in `fuzz/`.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// How many changed inputs the replay tries: fewer where each takes long.
    pub changes: usize,
}

macro_rules! targets {
    ($($name:ident in $module:ident, $changes:literal changes: $what:literal;)+) => {
        $(
            #[doc = $what]
            pub fn $name(data: &[u8]) {
                $module::$name(data);
            }
        )+
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $name, changes: $changes },)+];
    };
}

targets! {
    settings in files, 600 changes: "The settings of a node.";
    budget in files, 600 changes: "A budget such as `deploy/france.toml`, down to the state machine that it configures.";
    plan in files, 600 changes: "A plan file.";
    scenario in files, 600 changes: "A scenario that is replayed.";
    keys in files, 600 changes: "A file of keys.";
    calendar in calendar, 600 changes: "When calendar entries take effect.";
    tokens in tokens, 600 changes: "Tickets, seats and invitations.";
    requests in messages, 600 changes: "What clients ask, as messages.";
    peers in messages, 600 changes: "What nodes tell each other, as messages.";
    records in log, 600 changes: "Records of the log: entries and batches.";
    snapshot in snapshot, 600 changes: "Snapshots of every format.";
    commands in commands, 60 changes: "Commands to the state machine, however odd their order.";
    front_end in front_end, 600 changes: "A front-end whose cluster answers anything.";
    headers in gate, 600 changes: "What requests to a gate say of where they come from, whose they are and where they go.";
    identity in gate, 600 changes: "Who somebody is, by tokens of a login and by its published keys.";
    directory in directory, 60 changes: "A data directory that was damaged or made up.";
}

/// The bytes as text, where they are; no file of ours is read otherwise.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Refusals are for people: they say something, and not too much.
fn said(why: &str) {
    assert!(!why.trim().is_empty(), "an error that says nothing");
    assert!(why.len() <= 16 << 10, "an error of {} bytes", why.len());
}
