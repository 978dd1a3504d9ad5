//! The API for apps, tried by its own description: Schemathesis makes requests of what the document says and of what it
//! does not, and holds the answers to it.

use std::path::Path;
use std::process::Command;

use crate::programs::python_with;
use crate::site::{Site, run};

const PACKAGES: &[&str] = &["schemathesis==4.32.5"];
/// Fewer than the people who show a token: some are in, and some wait.
const CAPACITY: usize = 5;
/// Requests of each kind, for each operation and phase.
const EXAMPLES: &str = "500";
/// What people who show tokens must have been told.
const TOLD: &[&str] = &["invited", "waiting", "seated", "lost", "over"];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_what_its_description_says() {
    let made = || python_with("schemathesis-venv", PACKAGES);
    let venv = match tokio::task::spawn_blocking(made).await.unwrap() {
        Ok(venv) => venv,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: no Schemathesis, so the API was not tried: {why}");
            return;
        }
    };
    let site = Site::start(CAPACITY, 1).await;
    let api = format!("http://127.0.0.1:{}/preau", site.gate(0).port);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gate");
    let told = site.cluster.file("told");
    let mut command = Command::new(venv.join("bin/schemathesis"));
    command
        .arg("--no-color")
        .args(["run", &format!("{api}/v1/openapi.json"), "--url", &api])
        .args(["--checks", "all", "--continue-on-failure"])
        // Without a seed: the same requests each time.
        .args(["--generation-deterministic", "--max-examples", EXAMPLES])
        .args(["--request-timeout", "10"])
        .current_dir(site.cluster.file(""))
        .env("SCHEMATHESIS_HOOKS", "bearers")
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PREAU_API", &api)
        .env("PREAU_SEATS", CAPACITY.to_string())
        .env("PREAU_TOLD", &told);
    let ran = tokio::task::spawn_blocking(move || run(&mut command));
    match ran.await.unwrap() {
        Ok(said) => println!("{said}"),
        Err(said) => panic!("{said}"),
    }
    let told = std::fs::read_to_string(told).unwrap();
    for state in TOLD {
        assert!(
            told.lines().any(|line| line == *state),
            "nobody was told {state}"
        );
    }
}
