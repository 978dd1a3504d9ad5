//! `preau config`: look at a node's configuration without starting it.

use clap::Subcommand;
use serde::Serialize;

use crate::failure::Failure;
use crate::fields;
use crate::output::Output;
use crate::settings::{self, Overrides, Settings};

/// Look at a node's configuration without starting it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Source),
}

/// Check a configuration as `preau serve` would read it: file, environment and flags.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau config check --config /etc/preau/node.toml
  PREAU_NODE_ID=2 preau config check --config node.toml --raft-heartbeat-ms 100")]
pub struct Source {
    /// The TOML file; - for stdin. Defaults give way to it, it to the environment, that to flags.
    #[arg(short, long, env = "PREAU_CONFIG", value_name = "FILE")]
    config: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Source {
    /// The settings that it all comes to.
    pub fn read(&self) -> Result<Settings, Failure> {
        let text = self.config.as_deref().map(fields::read).transpose()?;
        settings::read(text.as_deref(), &self.overrides).map_err(|why| {
            let file = self.config.as_deref().map(fields::shown_path);
            Failure::usage(format!("{}: {why}", file.unwrap_or("configuration")))
        })
    }
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    node_id: u64,
    data_dir: String,
    listen: String,
    advertise: Option<String>,
    tls: bool,
}

pub fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let Command::Check(source) = &args.command;
    let config = source.read()?.node;
    let checked = Checked {
        ok: true,
        node_id: config.node_id,
        data_dir: config.data_dir.display().to_string(),
        listen: config.listen.to_string(),
        advertise: config.advertise,
        tls: config.tls.is_some(),
    };
    output.show(&checked, |c| {
        let advertise = c.advertise.as_deref().unwrap_or(&c.listen);
        let tls = if c.tls { "with TLS" } else { "without TLS" };
        format!(
            "ok: node {}, data in {}, listens on {} {tls}, reached at {advertise}",
            c.node_id, c.data_dir, c.listen
        )
    })
}
