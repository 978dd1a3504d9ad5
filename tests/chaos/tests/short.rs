//! A short mix on a real cluster. Every kind of fault that can be had is left to longer runs: these few are made
//! always.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

/// Faults that need nothing but processes, so that they can be had everywhere.
const ANYWHERE: &str = "kill,pause,bit-flip,rolling-restart,transfer,churn";
/// Those that need networks and disks of the nodes' own.
const AS_ROOT: &str = "kill,isolate-leader,split,loss,io-error,bit-flip,disk-full";

#[test]
fn a_short_mix_is_right() {
    let preau = preau();
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("chaos.html");
    let as_root = run(&preau, AS_ROOT, &report);
    let (status, said) = match as_root {
        // What can't be had here is said, and the others are made.
        (Some(2), said) if said.contains("can't be had here") => {
            println!("{said}");
            run(&preau, ANYWHERE, &report)
        }
        done => done,
    };
    println!("{said}");
    if status != Some(0) {
        for entry in std::fs::read_dir(dir.path().join("chaos-files")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "log") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines: Vec<_> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
                println!("{}:\n  {last}", path.display());
            }
        }
    }
    assert_eq!(status, Some(0), "{said}");
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("Verdict: <b class=\"good\">") && page.contains("<svg"));
    let history = check::history::read_file(&dir.path().join("chaos-files/history.jsonl"));
    let answered = history.unwrap().into_iter().filter(|record| {
        matches!(record, check::history::Record::Operation(operation)
            if matches!(operation.answer, check::history::Answer::Granted(_)))
    });
    let answered = answered.count();
    assert!(answered > 200, "hardly any load: {answered} grants");
}

fn run(preau: &Path, faults: &str, report: &Path) -> (Option<i32>, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_preau-chaos"))
        .args(["run", "--minutes", "0.8", "--nodes", "3", "--seed", "1"])
        .args(["--faults", faults, "--holders", "16"])
        .arg("--preau")
        .arg(preau)
        .arg("--report")
        .arg(report)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&ran.stderr) + &text(&ran.stdout);
    (ran.status.code(), said)
}

/// The binary under test, built as this test was.
fn preau() -> std::path::PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "preau", "--bin", "preau"]);
    build.args((!cfg!(debug_assertions)).then_some("--release"));
    // What cargo says to this test of this package would have others built anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|of_package| text.starts_with(of_package))
        {
            build.env_remove(name);
        }
    }
    let built = build.status().unwrap();
    assert!(built.success());
    let beside = Path::new(env!("CARGO_BIN_EXE_preau-chaos"));
    beside.with_file_name("preau")
}
