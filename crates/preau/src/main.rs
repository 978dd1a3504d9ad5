//! The `preau` command: a node of the cluster, and the operator's tool.

mod args;
mod bench;
mod budget;
mod cluster;
mod completion;
mod config;
mod failure;
mod fields;
mod local;
mod output;
mod plan;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Config(args) => config::run(args, cli.output),
        Command::Plan(args) => plan::run(args, cli.output),
        Command::Bench(args) => block_on(bench::run(args, cli.output)),
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
