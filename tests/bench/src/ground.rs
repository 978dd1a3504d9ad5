//! What a run stands on: the programs, a directory on a real disk, and where its figures go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use preau::parts::Failure;
use tempfile::TempDir;

use crate::machine::{Machine, is_in_memory};
use crate::targets::version;

/// How to run.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How often each is measured: more than two show how much chance there is.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// How long each is measured, in seconds.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    #[command(flatten)]
    pub place: Place,
}

/// Where to run.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Place {
    /// Where the figures (JSON) and the page (HTML) go.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Where the data is kept while it runs; where not given the system's directory for temporary files or, where
    /// that is in memory, the one beside this program.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The `preau` binary, of a release build; the one beside this program where not given.
    #[arg(long, value_name = "FILE")]
    preau: Option<PathBuf>,
}

impl Args {
    /// How long each is measured.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// What was found, and made.
pub struct Ground {
    pub preau: PathBuf,
    pub machine: Machine,
    pub out: PathBuf,
    data: TempDir,
}

impl Ground {
    /// Looks for everything before anything is measured; `versions` are those of the others that take part.
    pub fn new(args: &Place, mut versions: Vec<String>) -> Result<Self, Failure> {
        if cfg!(debug_assertions) {
            return Err(Failure::usage(
                "this is a debug build, and its figures would say nothing: \
                 cargo build --release -p preau -p bench",
            ));
        }
        let program = std::env::current_exe()
            .map_err(|e| Failure::operation(format!("can't find this program's file: {e}")))?;
        let beside = program.parent().unwrap_or(Path::new("."));
        let preau = args.preau.clone().unwrap_or_else(|| beside.join("preau"));
        if !preau.is_file() {
            return Err(Failure::usage(format!(
                "no preau at {}: cargo build --release -p preau, or say where it is by --preau",
                preau.display()
            )));
        }
        versions.insert(0, version(&preau.to_string_lossy(), "preau")?);
        let temporary = std::env::temp_dir();
        let on = match &args.data {
            Some(data) if is_in_memory(data) => {
                return Err(Failure::usage(format!(
                    "--data: {} is in memory, and nothing is synced there",
                    data.display()
                )));
            }
            Some(data) => data.as_path(),
            None if is_in_memory(&temporary) => beside,
            None => &temporary,
        };
        let data = tempfile::Builder::new()
            .prefix("preau-bench-")
            .tempdir_in(on)
            .map_err(|e| Failure::usage(format!("--data: {}: {e}", on.display())))?;
        std::fs::create_dir_all(&args.out)
            .map_err(|e| Failure::usage(format!("--out: {}: {e}", args.out.display())))?;
        Ok(Self {
            preau,
            machine: Machine::here(data.path(), versions),
            out: args.out.clone(),
            data,
        })
    }

    /// A new directory on the disk. It and all others are removed at the end.
    pub fn dir(&self) -> Result<TempDir, Failure> {
        tempfile::tempdir_in(&self.data)
            .map_err(|e| Failure::operation(format!("can't make a directory: {e}")))
    }
}

/// A line on stderr that tells how far it is, where that is a terminal.
pub fn progress(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    let template = "{pos:>3}/{len} {bar:24} {elapsed_precise}  {msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(debug_assertions)]
    #[test]
    fn a_debug_build_measures_nothing() {
        let args = Place {
            out: PathBuf::from("/nowhere"),
            data: None,
            preau: None,
        };
        let refused = Ground::new(&args, Vec::new()).map(drop);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("cargo build --release"), "{message}");
    }
}
