//! `preau apply`: make the budget what a file says.

use serde::Serialize;

use crate::budget::Budget;
use crate::cluster;
use crate::diff::Diff;
use crate::failure::Failure;
use crate::output::{Output, print_line, thousands};
use crate::view::{Draining, draining_text};

/// Make the budget what a file says, all of it or nothing.
///
/// Shows what will change and then changes it, if nobody else has changed the budget in between. What the
/// file says of a pool or region is the whole of it: what it leaves out has its default. Pools and regions that
/// it does not name are left alone, unless --prune is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file:
  [[pool]]
  name = \"ent\"
  capacity = 4_000_000      # slots
  ttl_ms = 10_000           # optional, default 10,000
  drift_ppm = 10_000        # optional, default 10,000
  [[pool.region]]
  name = \"normandie\"
  nominal = 146_854         # slots guaranteed
  ceiling = 300_000         # optional, default: no ceiling
  weight = 3_346            # optional, default 1

Examples:
  preau apply -f deploy/france.toml --dry-run
  preau apply -f deploy/france.toml
  preau apply -f deploy/france.toml --prune")]
pub struct Args {
    /// The TOML file; - for stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// Print what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Remove pools and regions that the file does not name.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct Applied<'a> {
    applied: bool,
    /// The budget's revision now.
    revision: u64,
    #[serde(flatten)]
    diff: &'a Diff,
    draining: Vec<Draining>,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let budget = Budget::read(&args.file)?;
    let cluster = args.cluster.cluster()?;
    let now = cluster.pools("", false).await?;
    let diff = Diff::between(&now.pools, &budget, args.prune)?;
    let text = diff.text();
    if output == Output::Table && !text.is_empty() {
        print_line(&text)?;
    }
    let mut applied = Applied {
        applied: false,
        revision: now.revision,
        diff: &diff,
        draining: Vec::new(),
    };
    if !args.dry_run && !diff.is_empty() {
        let answer = cluster.configure(diff.wire(), now.revision).await?;
        applied.applied = true;
        applied.revision = answer.revision;
        applied.draining = answer.draining.into_iter().map(Into::into).collect();
    }
    output.show(&applied, |applied| {
        let revision = thousands(applied.revision);
        let drains = draining_text(&applied.draining);
        match (applied.applied, diff.is_empty()) {
            (true, _) => format!("applied; the budget is at revision {revision}{drains}"),
            (false, true) => format!("nothing to change; the budget is at revision {revision}"),
            (false, false) => format!("not applied; the budget is at revision {revision}"),
        }
    })
}
