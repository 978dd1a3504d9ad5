//! `preau serve`: one node of the cluster.

use std::io::IsTerminal as _;

use node::{Node, StartError};
use tracing_subscriber::EnvFilter;

use crate::config::Source;
use crate::failure::Failure;
use crate::settings::{Log, LogFormat};
use crate::signals::Signals;

/// Run one node of a cluster, until SIGTERM or SIGINT.
///
/// A node that has no cluster yet waits for `preau init`, or to be added by `preau member add`. Told to stop, it
/// hands leadership over and finishes what is at work; told twice, it ends at once. Its log goes to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file:
  node_id = 1
  data_dir = \"/var/lib/preau\"
  listen = \"0.0.0.0:4501\"
  advertise = \"10.0.0.1:4501\"
  [raft]
  heartbeat_ms = 250

Examples:
  preau serve --config /etc/preau/node.toml
  preau serve --node-id 1 --data-dir data/1 --listen 127.0.0.1:4501
  PREAU_LOG_FORMAT=json preau serve --config node.toml")]
pub struct Args {
    #[command(flatten)]
    source: Source,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.source.read()?;
    start_log(settings.log);
    crate::block_on(serve(settings.node))
}

async fn serve(config: node::Config) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let node_id = config.node_id;
    let node = Node::start(config).await.map_err(|error| match error {
        StartError::Config(_) | StartError::Tls(_) => Failure::usage(error.to_string()),
        error => Failure::operation(format!("node {node_id} can't start: {error}")),
    })?;
    tracing::info!(node_id, address = %node.address(), "the node serves");
    tokio::select! {
        why = node.stopped() => {
            return Err(Failure::operation(format!("node {node_id} has stopped: {why}")));
        }
        name = signals.next() => tracing::info!(node_id, signal = name, "the node stops"),
    }
    tokio::select! {
        () = node.shutdown() => {
            tracing::info!(node_id, "the node has stopped");
            Ok(())
        }
        name = signals.next() => {
            Err(Failure::operation(format!("node {node_id} ended at once, by a second {name}")))
        }
    }
}

/// Sends the log to stderr.
pub fn start_log(log: Log) {
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(log.filter))
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
