//! People with a browser: how they wait, come in, come back, and are told of the end (`tests/browser/journey.mjs`).

use std::process::Command;

use crate::harness::said;
use crate::site::Site;

#[path = "../browser/scripts.rs"]
mod scripts;

/// So long a session is, so that the end is seen.
const SESSION_S: &str = "35";

#[tokio::test(flavor = "multi_thread")]
async fn people_wait_come_in_come_back_and_are_told_of_the_end() {
    let scripts = match tokio::task::spawn_blocking(scripts::ready).await.unwrap() {
        Ok(scripts) => scripts,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: no browser, so nobody was seen to wait: {why}");
            return;
        }
    };
    let site = Site::start(2, 1).await;
    site.cluster.run(&[
        "pool",
        "set",
        "ent",
        "--limit-s",
        SESSION_S,
        "--notice-s",
        "20",
        "--least-s",
        "5",
    ]);
    let base = format!("http://127.0.0.1:{}", site.gate(0).port);
    let ran = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(scripts.join("journey.mjs"))
            .arg(base)
            .env("SESSION_S", SESSION_S)
            .output()
    });
    let ran = ran.await.unwrap().unwrap();
    println!("{}", said(&ran));
    assert!(ran.status.success(), "{}", said(&ran));
}
