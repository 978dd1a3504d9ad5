//! How long it takes until all is well again, after a restart and after a crash.

mod failover;
mod restart;

use std::time::Duration;

use clap::Subcommand;
use preau::parts::{Failure, thousands};

/// What is to recover.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A node that was stopped, and all three that were killed, with a long log and many holders.
    Restart(restart::Args),
    /// A cluster under load whose leader is killed, time and again.
    Failover(failover::Args),
}

/// Measures it.
pub async fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Restart(args) => restart::run(args).await,
        What::Failover(args) => failover::run(args).await,
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A figure for people.
fn whole(figure: f64) -> String {
    thousands(figure.round().max(0.0) as u64)
}
