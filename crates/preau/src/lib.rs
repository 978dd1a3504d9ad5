//! The `preau` command: a node of the cluster, and the operator's tool.

mod apply;
mod args;
mod bench;
mod budget;
mod calls;
mod cluster;
mod completion;
mod config;
mod dev;
mod diff;
mod failure;
mod fields;
mod gate;
mod holder;
mod init;
mod leader;
mod lease;
mod local;
mod member;
mod mode;
mod open_files;
mod output;
#[doc(hidden)]
pub mod parts;
mod plan;
mod pool;
mod region;
mod replay;
mod rules;
mod serve;
mod settings;
mod signals;
mod status;
mod token;
#[doc(hidden)]
pub mod untrusted;
mod view;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use failure::Failure;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Dev(args) => block_on(dev::run(args, cli.output)),
        Command::Serve(args) => serve::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Config(args) => config::run(args, cli.output),
        Command::Init(args) => block_on(init::run(args, cli.output)),
        Command::Member(args) => block_on(member::run(args, cli.output)),
        Command::Leader(args) => block_on(leader::run(args, cli.output)),
        Command::Pool(args) => block_on(pool::run(args, cli.output)),
        Command::Region(args) => block_on(region::run(args, cli.output)),
        Command::Apply(args) => block_on(apply::run(args, cli.output)),
        Command::Lease(args) => block_on(lease::run(args, cli.output)),
        Command::Holder(args) => block_on(holder::run(args, cli.output)),
        Command::Key(args) => token::key(args, cli.output),
        Command::Ticket(args) => block_on(token::ticket(args, cli.output)),
        Command::Status(args) => block_on(status::run(args, cli.output)),
        Command::Watch(args) => block_on(watch::run(args, cli.output)),
        Command::Plan(args) => plan::run(args, cli.output),
        Command::Bench(args) => block_on(bench::run(args, cli.output)),
        Command::Replay(args) => replay::run(args, cli.output),
        Command::Completion(args) => completion::run(args),
    }
}

/// Runs a command that waits for things.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::operation(format!("can't start the runtime: {e}")))?
        .block_on(command)
}
