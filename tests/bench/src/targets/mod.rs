//! What load is put on, each by its own protocol, started on this machine and ended with the run.

pub mod cluster;
pub mod etcd;
pub mod nodes;
pub mod semaphore;
pub mod streams;

use std::path::{Path, PathBuf};
use std::process::Command;

use preau::parts::Failure;
use tonic::Status;

/// A lease's time to live everywhere, in seconds: longer than any phase, so that none runs out.
pub const TTL_S: u64 = 3_600;

/// Leases that clients ask for at a time where they ask for many.
pub const BATCH: usize = 64;

/// How many of those that were asked for at a time were had; or why one was not.
fn count(outcomes: impl Iterator<Item = Result<(), String>>) -> Result<u64, String> {
    let (mut done, mut error) = (0, None);
    for outcome in outcomes {
        match outcome {
            Ok(()) => done += 1,
            Err(why) => error = Some(why),
        }
    }
    error.map_or(Ok(done), Err)
}

/// An error by what it is, so that the same ones are counted together.
pub fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Makes a directory.
fn make(dir: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|e| Failure::operation(format!("can't make {}: {e}", dir.display())))?;
    Ok(dir.to_owned())
}

/// What a program says of its version; or what to do where it is not there.
pub fn version(program: &str, package: &str) -> Result<String, Failure> {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            let line = said.lines().next().unwrap_or_default();
            // Redis goes on with how it was built.
            let (version, _) = line.split_once(" sha=").unwrap_or((line, ""));
            Ok(version.trim().to_owned())
        }
        Ok(output) => Err(Failure::operation(format!(
            "{program} --version ended with {}",
            output.status
        ))),
        Err(error) => Err(Failure::usage(format!(
            "can't run {program} ({error}): apt-get install {package}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lacks_a_program_is_told_which_package_has_it() {
        let message = version("no-such-program", "its-package")
            .unwrap_err()
            .to_string();
        assert!(
            message.ends_with("apt-get install its-package"),
            "{message}"
        );
    }
}
