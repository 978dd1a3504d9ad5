//! The command line itself: help, completion, exit codes.

mod common;

use common::{command, preau};

/// Every command, by its words.
fn commands() -> Vec<Vec<String>> {
    fn walk(path: Vec<String>, into: &mut Vec<Vec<String>>) {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = preau(&args).ok();
        let listed = help.split("\nCommands:\n").nth(1).unwrap_or("");
        let block = listed.split("\n\n").next().unwrap_or("");
        let names: Vec<&str> = block
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .collect();
        for name in &names {
            let mut path = path.clone();
            path.push((*name).to_owned());
            walk(path, into);
        }
        if names.is_empty() {
            into.push(path);
        }
    }
    let mut all = Vec::new();
    walk(Vec::new(), &mut all);
    all
}

#[test]
fn every_command_has_help_with_examples() {
    let commands = commands();
    assert!(
        commands.iter().any(|path| path.join(" ") == "config check"),
        "{commands:?}"
    );
    for path in commands {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = preau(&args).ok();
        assert!(
            help.contains("Example"),
            "{path:?} has no examples:\n{help}"
        );
        assert!(
            help.contains(&format!("preau {}", path.join(" "))),
            "{path:?}:\n{help}"
        );
    }
}

#[test]
fn completion_speaks_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = preau(&["completion", shell]).ok();
        assert!(
            script.contains("preau") && script.contains("config"),
            "{shell}"
        );
    }
    assert_eq!(preau(&["completion", "tcsh"]).code, 2);
}

#[test]
fn wrong_flags_are_usage_errors() {
    for args in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &["plan"],
        &["plan", "-f"],
    ] {
        let ran = preau(args);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (2, ""),
            "{args:?}: {}",
            ran.err
        );
    }
    assert_eq!(preau(&["plan", "-f", "x", "--output", "xml"]).code, 2);
    assert_eq!(
        preau(&["--version"]).ok(),
        format!("preau {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command()
        .args(["completion", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
