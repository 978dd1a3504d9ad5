//! A client that nobody here wrote: Python's grpcio, with stubs generated from `proto/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Cluster, said};

/// The same minor of each: they share generated code.
const PACKAGES: &[&str] = &[
    "grpcio==1.85.3",
    "grpcio-tools==1.85.1",
    "grpcio-health-checking==1.85.1",
    "grpcio-reflection==1.85.1",
];

/// A Python with the packages, made once for each target directory; or why there can't be one.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-venv");
    let python = venv.join("bin/python");
    let done = venv.join("packages");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&done).is_ok_and(|packages| packages == wanted) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(format!("{command:?}: {}", said(&ran))),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--quiet", "--only-binary", ":all:"])
        .args(PACKAGES))?;
    std::fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_grpcio_takes_renews_and_returns_leases() {
    let python = match tokio::task::spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED: no Python with grpcio, so no foreign client was tried: {why}");
            return;
        }
    };
    let cluster = Cluster::start(&[]).await;
    cluster.run(&[
        "pool",
        "set",
        "ent",
        "--capacity",
        "120",
        "--ttl-ms",
        "30000",
    ]);
    cluster.run(&["region", "set", "ent", "normandie"]);
    cluster.run(&["region", "set", "ent", "bretagne", "--nominal", "30"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stubs = cluster.file("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let ran = tokio::task::spawn_blocking({
        let addresses = cluster.addresses();
        move || {
            Command::new(python)
                .arg(root.join("tests/interop/client.py"))
                .arg(root.join("proto"))
                .arg(stubs)
                .args(addresses)
                .output()
        }
    })
    .await
    .unwrap()
    .unwrap();
    println!("{}", said(&ran));
    assert!(ran.status.success(), "{}", said(&ran));
    assert!(cluster.leases("ent").await.is_empty());
}
