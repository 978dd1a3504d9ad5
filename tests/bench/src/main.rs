//! `preau-bench`: Préau beside etcd and Redis, and beside what disk and network allow: all in one run on one
//! machine, by one load generator.

mod beside;
mod ceiling;
mod figures;
mod ground;
mod load;
mod machine;
mod page;
mod plots;
mod report;
mod stand_in;
mod targets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use preau::parts::{Failure, Signals};

/// Measures Préau beside others, on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "preau-bench",
    version,
    max_term_width = 100,
    after_help = "\
Everything runs on loopback, with its data on one disk, which is really synced. The table goes to stdout; figures as
JSON and a page with plots go to --out. Whatever else the machine does meanwhile is in the figures: leave it alone.

Examples:
  cargo build --release -p preau -p bench
  target/release/preau-bench beside-etcd
  target/release/preau-bench beside-redis --runs 5 --seconds 10
  target/release/preau-bench ceiling --data /var/tmp"
)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Leases of three members of etcd and of three nodes of Préau, in turns.
    BesideEtcd(beside::Args),
    /// A semaphore in one Redis, synced always and every second, and leases of three nodes of Préau, in turns.
    BesideRedis(beside::Args),
    /// What disk, network and Raft allow, and each one's part of a grant's time.
    Ceiling(ground::Args),
    #[command(hide = true)]
    StandIn(stand_in::Args),
}

fn main() -> ExitCode {
    let what = Cli::parse().what;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(&what)),
        Err(error) => Err(Failure::operation(format!(
            "can't start the runtime: {error}"
        ))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs to the end, or until a signal: either way whatever was started ends with it.
async fn run(what: &What) -> Result<(), Failure> {
    if let What::StandIn(args) = what {
        return stand_in::serve(args).await;
    }
    let mut signals = Signals::new()?;
    tokio::select! {
        outcome = measure(what) => outcome,
        name = signals.next() => Err(Failure::operation(format!("ended by {name}"))),
    }
}

async fn measure(what: &What) -> Result<(), Failure> {
    match what {
        What::BesideEtcd(args) => beside::etcd(args).await,
        What::BesideRedis(args) => beside::redis(args).await,
        What::Ceiling(args) => ceiling::run(args).await,
        What::StandIn(args) => stand_in::serve(args).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Cli::command().debug_assert();
        let what = |args: &[&str]| {
            let words = [&["preau-bench"], args].concat();
            Cli::try_parse_from(words).map(|cli| cli.what)
        };
        assert!(matches!(
            what(&["ceiling", "--runs", "1"]),
            Ok(What::Ceiling(_))
        ));
        assert!(what(&["beside-etcd", "--clients", "1,0"]).is_err());
        assert!(what(&["beside-redis", "--runs", "0"]).is_err());
    }
}
