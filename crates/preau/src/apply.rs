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
  overtake_s = 600          # optional: who has waited so long goes before all later ones, default 600
  reclaim = \"drain\"         # optional: or \"shorten\", default \"drain\"
  [pool.session]            # optional: limit_s, idle_s, when_waiting_s (default: none), notice_s, least_s
  limit_s = 7_200
  [[pool.class]]            # optional, default: one class \"everyone\"
  name = \"teachers\"
  weight = 1                # optional, default 1
  first = true              # optional, default false
  [[pool.calendar]]         # optional
  name = \"opening\"
  days = \"mon-fri\"          # with time; or at = \"2027-04-06 08:45\" for once
  time = \"08:45\"
  action = \"open\"           # open, close and pause (with reason), resume, capacity (with capacity)
  for_each_region = true    # optional: or region = \"...\", default: the pool itself
  zone = \"Europe/Paris\"     # optional, default: the region's, else Europe/Paris
  [[pool.region]]
  name = \"normandie\"
  nominal = 146_854         # slots guaranteed
  ceiling = 300_000         # optional, default: no ceiling
  weight = 3_346            # optional, default 1
  zone = \"Europe/Paris\"     # optional, for the calendar
  floor = 1_468             # optional: slots set aside for front-ends that are cut off, default 0
  [[pool.region.holder]]    # optional: a floor of one front-end
  name = \"portal-7\"
  floor = 100

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
