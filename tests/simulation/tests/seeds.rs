//! Seeds that must be clean, and the same seed twice.

use std::io::Write as _;
use std::process::{Command, Output};
use std::time::SystemTime;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_preau-sim"))
        .args(args)
        .output()
        .expect("preau-sim starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_same_seed_is_the_same_run() {
    let runs = [(); 2].map(|()| text(&sim(&["--seed", "1"])));
    assert!(runs[0].contains("trace "), "{}", runs[0]);
    // Every byte that went over the network, and every line of the history, is in the trace.
    assert_eq!(runs[0], runs[1]);
}

/// Runs seeds, two at a time, and prints what happened in them.
fn clean(from: u64, count: u64) {
    let seeds = format!("{from}..{}", from + count);
    // Past what the test harness keeps to itself: CI shows which seeds were run.
    let _ = writeln!(std::io::stderr(), "seeds {seeds}");
    let ran = sim(&["--seeds", &seeds, "--jobs", "2", "--keep-going"]);
    let _ = writeln!(std::io::stderr(), "{}", text(&ran));
    assert!(ran.status.success(), "seeds {seeds}: {}", text(&ran));
}

#[test]
fn fixed_seeds_are_clean() {
    clean(0, 14);
}

/// Every day others, so that in time many are seen; a failure names its seed.
#[test]
fn the_seeds_of_the_day_are_clean() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let day = now.expect("the clock is past 1970").as_secs() / 86_400;
    clean(1_000_000 + 6 * day, 6);
}

#[test]
fn bad_arguments_are_named() {
    for bad in ["5..5", "x..9", "7"] {
        let ran = sim(&["--seeds", bad]);
        assert_eq!(ran.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&ran.stderr).contains(bad));
    }
}

/// Bugs that a few seeds show. The whole list: `preau-sim mutations`.
#[test]
#[cfg_attr(not(planted), ignore = "needs a build with PREAU_MUTATIONS=1")]
fn planted_bugs_are_caught() {
    for name in [
        "skip-dedup",
        "grow-past-capacity",
        "leak-slots",
        "repeat-admin",
    ] {
        let ran = sim(&["mutations", "--only", name, "--most", "6"]);
        assert!(ran.status.success(), "{name}: {}", text(&ran));
    }
}
