//! Deliberate bugs, for proving that the tests would see them.
//!
//! A build has none of them: [`on`] is `false` at compile time, and what it guards is compiled away. A build with
//! `PREAU_MUTATIONS=1` has them all, asleep; the process then wakes one by its name in `PREAU_MUTATION`.

/// Every bug: its name, and what goes wrong.
pub const ALL: &[(&str, &str)] = &[
    (
        "answer-before-flush",
        "a log entry counts as durable before it is flushed",
    ),
    ("forget-vote", "a vote is not kept on the disk"),
    (
        "forget-drift",
        "a holder leaves no margin for clocks that drift",
    ),
    (
        "deadline-from-answer",
        "a holder counts its lease from the answer, not from the request",
    ),
    (
        "expire-early",
        "the cluster ends a lease a second before its time",
    ),
    (
        "clock-ahead",
        "a new leader's clock starts a minute after what was applied",
    ),
    ("wall-clock", "leases run out by the leader's wall clock"),
    (
        "skip-dedup",
        "a holder's retried request is carried out again",
    ),
    (
        "repeat-admin",
        "an operator's retried request is carried out again",
    ),
    (
        "lower-at-once",
        "a lowered target counts before the holder has confirmed it",
    ),
    (
        "remove-early",
        "the slots of a lease that was superseded are free at once",
    ),
    (
        "snapshot-ignored",
        "a snapshot that is installed changes nothing",
    ),
    (
        "stale-reads",
        "a leader answers reads without asking whether it still leads",
    ),
    (
        "grow-past-capacity",
        "a lease grows to its target, whatever is free",
    ),
    (
        "floors-uncounted",
        "what is set aside for holders that are cut off is given to others",
    ),
    ("leak-slots", "a lease that has run out counts for ever"),
    (
        "ask-again",
        "a purge that has to wait is asked for at every turn of Raft",
    ),
    (
        "seat-unsettled",
        "who is admitted is seated on hearing, whoever has yet to hear elsewhere",
    ),
    (
        "seat-own-first",
        "a front-end's own users are admitted, whoever came earlier elsewhere",
    ),
    (
        "claim-unasked",
        "a ticket goes to another front-end, and the one that has it is not asked",
    ),
    (
        "forget-kept",
        "who waits where a lease has ended is not put in line again",
    ),
];

/// Whether the bug of this name is awake.
#[cfg(not(planted))]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is awake.
#[cfg(planted)]
pub fn on(name: &str) -> bool {
    use std::sync::OnceLock;
    static AWAKE: OnceLock<String> = OnceLock::new();
    debug_assert!(
        ALL.iter().any(|(known, _)| *known == name),
        "{name} is not listed"
    );
    AWAKE.get_or_init(|| std::env::var("PREAU_MUTATION").unwrap_or_default()) == name
}

/// Whether bugs can be woken in this build.
pub const fn planted() -> bool {
    cfg!(planted)
}
