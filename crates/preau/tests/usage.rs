//! The command line itself: help, completion, exit codes.

mod common;

use common::{command, preau, preau_with};

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

/// A gate's file that is right, but for what is added.
fn check_gate(added: &str) -> common::Ran {
    let file = format!("pool = \"ent\"\nregion = \"normandie\"\n{added}\n");
    let nodes = if added.contains("nodes =") {
        ""
    } else {
        "127.0.0.1:1"
    };
    let mut args = vec!["gate", "--check", "--config", "-"];
    if !nodes.is_empty() {
        args.extend(["--nodes", nodes]);
    }
    preau_with(&args, &file)
}

#[test]
fn a_gate_is_checked_with_all_that_its_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write("keys", &preau(&["key", "new"]).ok());
    write("no-keys", "not a key\n");
    write("secret", &"s".repeat(32));
    write("short", "s");
    write("no.pem", "not PEM\n");
    for texts in ["good", "bad"] {
        std::fs::create_dir(path(texts)).unwrap();
    }
    write("good/br.ftl", "close = Serriñ\n");
    write("bad/br.ftl", "no-such-text = Serriñ\n");

    let right = format!(
        "keys = {:?}\nupstream = \"https://portal.example\"\n\
         [page]\nzone = \"Indian/Reunion\"\ntexts = {:?}\n[identity]\nsecret = {:?}",
        path("keys"),
        path("good"),
        path("secret")
    );
    assert_eq!(check_gate(&right).ok(), "the configuration is right\n");
    let (no_file, no_pem) = (path("nothing"), path("no.pem"));
    for (added, said) in [
        (format!("keys = {no_file:?}"), format!("keys: {no_file}: ")),
        (format!("keys = {:?}", path("no-keys")), "keys: line 1: ".into()),
        (
            "upstream = \"portal:8000\"".into(),
            "upstream: \"portal:8000\" given, expected http://host:port or https://host, without a path".into(),
        ),
        ("nodes = [\"a node\"]".into(), "nodes: ".into()),
        (
            "[page]\nzone = \"Paris\"".into(),
            "page.zone: \"Paris\": expected a time zone of the IANA's".into(),
        ),
        (
            format!("[page]\ntexts = {:?}", path("bad")),
            format!("texts: {}: no-such-text: expected the name of a text", path("bad/br.ftl")),
        ),
        (
            format!("[identity]\nsecret = {:?}", path("short")),
            format!("identity.secret: {}: 1 bytes; expected 32 to 4096 bytes", path("short")),
        ),
        (
            format!("[identity]\njwks = {no_file:?}\nissuer = \"i\"\naudience = \"a\""),
            format!("identity.jwks: {no_file}: "),
        ),
        (
            format!("[https]\ncert = {no_pem:?}\nkey = {no_pem:?}"),
            format!("https.cert: {no_pem}: no certificate in it; expected certificates in PEM"),
        ),
        (format!("[tls]\nca = {no_file:?}"), format!("tls.ca: {no_file} (")),
    ] {
        let error = check_gate(&added).failed(2);
        assert!(error.contains(&said), "{added}\n{said}\n{error}");
    }
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
