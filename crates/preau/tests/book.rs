//! The book says what the code does: its limits, its commands and its worked example are tried.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use node::{Limits, RaftConfig};
use quota::limits;

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/src/{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first block of this language in a page.
fn block(page: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    let (_, rest) = page.split_once(&begin).expect("a block");
    let (block, _) = rest.split_once("```").expect("the block's end");
    block.to_owned()
}

/// 1234567 as 1,234,567.
fn thousands(n: impl std::fmt::Display) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn the_worked_example_is_what_plan_prints() {
    let page = page("rules");
    let mut plan = Command::new(env!("CARGO_BIN_EXE_preau"))
        .args(["plan", "--output", "table", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = plan.stdin.take().unwrap();
    stdin.write_all(block(&page, "toml").as_bytes()).unwrap();
    drop(stdin);
    let ran = plan.wait_with_output().unwrap();
    let lines = |text: &str| text.lines().map(|l| l.trim_end().to_owned()).collect();
    let printed: Vec<String> = lines(&String::from_utf8(ran.stdout).unwrap());
    let told: Vec<String> = lines(&block(&page, "text"));
    assert_eq!(printed, told);
}

/// What `preau gate --check` says of a file.
fn check_gate(text: &str) -> std::process::Output {
    let mut check = Command::new(env!("CARGO_BIN_EXE_preau"))
        .args(["gate", "--check", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    check.wait_with_output().unwrap()
}

#[test]
fn the_waiting_rooms_file_is_right_and_its_limits_are_stated() {
    let page = page("gate");
    let (file, identity) = (
        block(&page, "toml"),
        page.split_once("[identity]").unwrap().1,
    );
    let identity = identity.split_once("```").unwrap().0;
    // Its files, somewhere else.
    let dir = tempfile::tempdir().unwrap();
    let key = Command::new(env!("CARGO_BIN_EXE_preau"))
        .args(["key", "new"])
        .output()
        .unwrap();
    std::fs::write(dir.path().join("keys"), key.stdout).unwrap();
    std::fs::write(dir.path().join("identity"), "s".repeat(32)).unwrap();
    let here = |text: &str| text.replace("/etc/preau", dir.path().to_str().unwrap());
    let (file, identity) = (here(&file), here(identity));
    for text in [file.clone(), format!("{file}[identity]{identity}")] {
        let ran = check_gate(&text);
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    let wrong = check_gate(&file.replace("silence_s = 120", "silence_s = 12"));
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.contains("silence_s: 12 given, expected 30 to 3600"),
        "{said}"
    );
    let limits = gate::Limits::default();
    for (what, value) in [
        ("connections at a time", limits.connections as u64),
        ("bytes of a request's headers", limits.header_bytes as u64),
        (
            "seconds for headers, and idle between two requests",
            limits.header_s.into(),
        ),
        (
            "bytes of a body, to the gate itself",
            limits.body_bytes as u64,
        ),
        (
            "bytes of a body to the portal, through the gate",
            limits.upload_bytes,
        ),
        (
            "seconds until the portal begins to answer, or takes more of a body, while nothing is awaited from its sender",
            limits.upstream_s.into(),
        ),
        (
            "polls a second that waiting people are asked for",
            limits.polls_per_s.into(),
        ),
        ("people at one gate", client::queue::MAX_USERS.into()),
    ] {
        let line = format!("| {what} | {} |", thousands(value));
        assert!(page.contains(&line), "{line}");
    }
    let rates = limits.rates;
    for (per_s, burst) in [
        (rates.address_per_s, rates.address_burst),
        (rates.network_per_s, rates.network_burst),
        (rates.ticket_per_s, rates.ticket_burst),
    ] {
        let cell = format!("| {per_s} after {} |", thousands(burst));
        assert!(page.contains(&cell), "{cell}");
    }
}

#[test]
fn every_command_in_the_book_is_one() {
    let mut commands = 0;
    for name in ["introduction", "first-steps", "operating", "performance"] {
        for line in page(name).lines() {
            let Some(words) = line.strip_prefix("preau ") else {
                continue;
            };
            // Help is printed where everything before it makes sense.
            let (words, _) = words.split_once(" #").unwrap_or((words, ""));
            let ran = Command::new(env!("CARGO_BIN_EXE_preau"))
                .args(words.split_whitespace())
                .arg("--help")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{name}.md: preau {words}: {said}");
            commands += 1;
        }
    }
    assert!(commands > 20, "{commands} commands");
}

#[test]
fn the_operating_page_has_every_limit_with_its_value() {
    let page = page("operating");
    let rows: BTreeSet<_> = page.lines().filter(|line| line.starts_with('|')).collect();
    let has = |row: &str| {
        assert!(
            rows.iter().any(|line| line.starts_with(row)),
            "docs/src/operating.md should have a row that begins with: {row}"
        );
    };
    for (name, default, bounds) in Limits::default().table() {
        let (default, least, most) = (
            thousands(default),
            thousands(bounds.start()),
            thousands(bounds.end()),
        );
        has(&format!(
            "| `limits.{name}` | {default} | {least} to {most} |"
        ));
    }
    let raft = RaftConfig::default();
    for (name, default) in [
        ("heartbeat_ms", raft.heartbeat_ms),
        ("election_min_ms", raft.election_min_ms),
        ("election_max_ms", raft.election_max_ms),
        ("snapshot_every", raft.snapshot_every),
        ("keep_entries", raft.keep_entries),
    ] {
        has(&format!("| `raft.{name}` | {} |", thousands(default)));
    }
    for (what, value) in [
        ("pools", thousands(limits::MAX_POOLS)),
        ("regions of a pool", thousands(limits::MAX_REGIONS_PER_POOL)),
        (
            "leases, those that only await their end included",
            thousands(limits::MAX_LEASES),
        ),
        (
            "superseded leases of one holder that still count",
            thousands(limits::MAX_CLOSING_PER_HOLDER),
        ),
        (
            "slots of a pool, region or lease",
            thousands(limits::MAX_SLOTS),
        ),
        ("bytes of a name", thousands(limits::MAX_NAME_BYTES)),
        (
            "bytes of a request id",
            thousands(limits::MAX_REQUEST_ID_BYTES),
        ),
        ("changes in one `Configure`", thousands(limits::MAX_CHANGES)),
        (
            "a lease's ttl",
            format!(
                "{} to {} ms, {} by default",
                thousands(limits::TTL_MS.start()),
                thousands(limits::TTL_MS.end()),
                thousands(limits::DEFAULT_TTL_MS)
            ),
        ),
        (
            "drift",
            format!(
                "{} to {} ppm, {} by default",
                thousands(limits::DRIFT_PPM.start()),
                thousands(limits::DRIFT_PPM.end()),
                thousands(limits::DEFAULT_DRIFT_PPM)
            ),
        ),
        ("classes of a pool", thousands(limits::MAX_CLASSES)),
        (
            "buckets of a report, all classes together",
            thousands(limits::MAX_BUCKETS),
        ),
        (
            "claims, releases and refusals of a report together",
            thousands(limits::MAX_CLAIMS_PER_REPORT),
        ),
        (
            "claims that a region remembers",
            format!(
                "{}, each for {} s",
                thousands(limits::MAX_CLAIMS),
                thousands(limits::CLAIM_REMEMBER_S)
            ),
        ),
        (
            "bytes of the reason for a mode",
            thousands(limits::MAX_REASON_BYTES),
        ),
        (
            "entries of a pool's calendar",
            thousands(limits::MAX_CALENDAR),
        ),
        (
            "bytes of a time zone's name",
            thousands(limits::MAX_ZONE_BYTES),
        ),
        (
            "holders of a region with floors of their own",
            thousands(limits::MAX_FLOORS),
        ),
        (
            "seconds until the longest-waiting go first",
            format!(
                "{} to {}, {} by default",
                limits::OVERTAKE_S.start(),
                thousands(limits::OVERTAKE_S.end()),
                limits::DEFAULT_OVERTAKE_S
            ),
        ),
        (
            "seconds of a session's limits",
            format!(
                "{} to {}",
                limits::SESSION_S.start(),
                thousands(limits::SESSION_S.end())
            ),
        ),
        (
            "a front-end that does not report holds nobody up after",
            format!("{} ms", thousands(limits::STALE_MS)),
        ),
        ("weight", format!("1 to {}", thousands(limits::MAX_WEIGHT))),
        (
            "an ended lease is remembered",
            format!("{} ms", thousands(limits::REMEMBER_ENDED_MS)),
        ),
        (
            "admin requests remembered",
            thousands(limits::REMEMBERED_REQUESTS),
        ),
    ] {
        has(&format!("| {what} | {value} |"));
    }
}
