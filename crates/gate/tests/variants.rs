//! Every way that the page can look, in Chromium: can everybody read it and use it, and does it ask nothing of
//! anybody? (`tests/browser/variants.mjs`)
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[path = "../../../tests/browser/scripts.rs"]
mod scripts;

#[allow(dead_code)]
#[path = "../examples/variants/main.rs"]
mod variants;

#[test]
fn everybody_can_read_and_use_every_page() {
    let scripts = match scripts::ready() {
        Ok(scripts) => scripts,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: no browser, so no page was looked at: {why}");
            return;
        }
    };
    let pages = tempfile::tempdir().unwrap();
    variants::write(pages.path(), None).unwrap();
    let ran = Command::new("node")
        .arg(scripts.join("variants.mjs"))
        .arg(pages.path())
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    println!("{}", said.concat());
    assert!(ran.status.success(), "{}", said.concat());
}
