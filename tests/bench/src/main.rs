//! `preau-bench`: Préau beside etcd and Redis, and beside what disk and network allow: all in one run on one
//! machine, by one load generator. And Préau by itself: what more holders cost, and how soon it recovers.

mod beside;
mod ceiling;
mod connection;
mod figures;
mod ground;
mod load;
mod machine;
mod page;
mod plots;
mod process;
mod recover;
mod report;
mod scale;
mod stand_in;
mod targets;
mod waiting;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use preau::parts::{Failure, Signals};

/// The load takes its part of the two cores, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Préau, by itself and beside others, on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "preau-bench",
    version,
    max_term_width = 100,
    after_help = "\
Everything runs on loopback, with its data on one disk, which is really synced. The table goes to stdout; figures as
JSON and a page with plots go to --out. Whatever else the machine does meanwhile is in the figures: leave it alone.

Examples:
  cargo build --profile dist -p preau -p bench
  target/dist/preau-bench beside-etcd
  target/dist/preau-bench beside-redis --runs 5 --seconds 10
  target/dist/preau-bench ceiling --data /var/tmp
  target/dist/preau-bench scale --holders 1000,10000 --runs 1
  target/dist/preau-bench recover restart --entries 100000
  target/dist/preau-bench recover failover --kills 5
  target/dist/preau-bench gate --people 10000"
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
    /// What it costs that holders report once a second, by how many holders, regions and pools there are.
    Scale(scale::Args),
    /// How long it takes until all is well again, after a restart and after a crash.
    Recover(recover::Args),
    /// A hundred thousand people who wait at one gate, beside nginx, and under a flood.
    Gate(waiting::Args),
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
        What::Scale(args) => scale::run(args).await,
        What::Recover(args) => recover::run(args).await,
        What::Gate(args) => waiting::run(args).await,
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
        assert!(matches!(
            what(&["recover", "failover", "--kills", "1"]),
            Ok(What::Recover(_))
        ));
        assert!(what(&["recover"]).is_err());
        assert!(what(&["gate", "--people", "1"]).is_err());
        assert!(what(&["scale", "--holders", "0"]).is_err());
    }
}
