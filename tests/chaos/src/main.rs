//! `preau-chaos`: real clusters of Préau on this machine, tortured while holders use them, and judged by what
//! they answered.

mod admin;
mod cluster;
mod disk;
mod doors;
mod faults;
mod ground;
mod load;
mod nemesis;
mod network;
mod record;
mod repair;
mod report;
mod run;
mod sandbox;
mod watcher;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::faults::Kind;
use crate::report::Verdict;

/// Tortures real clusters of Préau.
#[derive(Debug, Parser)]
#[command(name = "preau-chaos", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster under load and faults, and judge what it answered.
    Run(Args),
}

/// How to run.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Needs Linux; as root (or where users may make namespaces) every node has a network of its own, and as root a disk
of its own. Elsewhere nodes are on loopback, and reached through proxies. What can't be had is said, and the faults
that need it are left out.

Examples:
  preau-chaos run --minutes 10 --nodes 5 --seed 7
  preau-chaos run --minutes 2 --faults kill,isolate-leader,clock --report chaos.html")]
pub struct Args {
    /// How long faults are made, in minutes, 0.1 to 10,000.
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Which faults, where, how long: the same for the same seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3, value_parser = nodes)]
    nodes: u64,
    /// The faults, separated by commas; all that can be had where not given.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Front-ends that hold leases, 4 to 1,000.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(4..=1_000))]
    holders: u64,
    /// The page to write; the history and the nodes' logs go beside it.
    #[arg(long, value_name = "FILE.html", default_value = "chaos.html")]
    report: PathBuf,
    /// The `preau` binary; the one beside this program where not given.
    #[arg(long)]
    preau: Option<PathBuf>,
    /// A released `preau` that the cluster begins with: `upgrade` then replaces it node by node.
    #[arg(long, value_name = "PREAU")]
    upgrade_from: Option<PathBuf>,
    /// What the nodes stand on.
    #[arg(long, value_enum, default_value_t = On::Best)]
    ground: On,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// Namespaces, networks and disks of their own, so far as they can be had.
    Best,
    /// Loopback, through proxies, as where no namespaces can be had.
    Loopback,
}

fn minutes(text: &str) -> Result<f64, String> {
    let expected = || format!("{text:?} given, expected minutes, 0.1 to 10000");
    let minutes: f64 = text.parse().map_err(|_| expected())?;
    let allowed = (0.1..=10_000.0).contains(&minutes);
    allowed.then_some(minutes).ok_or_else(expected)
}

fn nodes(text: &str) -> Result<u64, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err(format!("{text:?} given, expected 3 or 5")),
    }
}

/// What the command ends with: 0 for what was found right, and for nothing else.
fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Right => 0,
        Verdict::Undecided | Verdict::Wrong => 1,
    }
}

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    let wanted = args.ground == On::Best;
    match sandbox::enter(wanted).and_then(|sandbox| run::run(&args, sandbox)) {
        Ok(verdict) => ExitCode::from(exit_code(verdict)),
        Err(why) => {
            eprintln!("preau-chaos: {why}");
            ExitCode::from(2)
        }
    }
}
