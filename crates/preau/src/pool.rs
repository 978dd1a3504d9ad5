//! `preau pool`: pools, one at a time.

use api::status::Reason;
use api::v1;
use clap::Subcommand;
use quota::limits::{DRIFT_PPM, MAX_SLOTS, TTL_MS};
use serde::Serialize;

use crate::budget;
use crate::cluster::{self, Cluster};
use crate::failure::Failure;
use crate::mode::{self, SetMode};
use crate::output::{Output, thousands};
use crate::rules;
use crate::view::{self, Budget, Draining, Pool, draining_text, pools_table};

/// A change decided on what was read is tried this often where others change the budget meanwhile.
const TRIES: usize = 3;

/// Set, list, show and remove pools; open, close, pause, drain and freeze them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Box<Set>),
    List(List),
    Show(Show),
    Remove(Remove),
    Capacity(Capacity),
    /// Seat people by the rules again, after any of the others.
    Open(SetMode),
    /// Seat nobody; sessions go on, and people may queue.
    Pause(SetMode),
    /// Seat nobody and let nobody queue; sessions end as they do.
    Drain(SetMode),
    /// Move no slot between front-ends or regions: each reuses its own.
    Freeze(SetMode),
    /// Seat nobody until an opening, at which all who came early are drawn by lot.
    Close(SetMode),
}

/// Make a pool, or change one: what is not given stays as it is.
///
/// A capacity below what is out drains: no session is cut, and slots are taken back as sessions end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau pool set ent --capacity 4000000
  preau pool set ent --ttl-ms 5000
  preau pool set ent --class teachers,first --class exams,weight=3 --class everyone
  preau pool set ent --limit-s 3600 --when-waiting-s 1200 --notice-s 120 --least-s 600 --reclaim shorten")]
struct Set {
    /// The pool's name.
    name: String,
    /// Slots, 0 to 1,000,000,000,000; must be given for a new pool.
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    capacity: Option<u64>,
    /// How long a lease lasts without being renewed, 1,000 to 3,600,000 milliseconds [new pool: 10,000].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(TTL_MS))]
    ttl_ms: Option<u64>,
    /// How far apart the rates of two clocks may be, 0 to 200,000 parts per million [new pool: 10,000].
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u32).range(i64::from(*DRIFT_PPM.start())..=i64::from(*DRIFT_PPM.end())))]
    drift_ppm: Option<u32>,
    #[command(flatten)]
    rules: rules::Args,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Set a pool's capacity now, whatever its nominals add up to: where they are more, each region is
/// guaranteed its proportional part.
///
/// A capacity below what is out drains: no session is cut, and slots are taken back as sessions end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau pool capacity ent 2600000")]
struct Capacity {
    /// The pool's name.
    name: String,
    /// Slots, 0 to 1,000,000,000,000.
    #[arg(value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    slots: u64,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// List pools.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau pool list
  preau pool list --output json")]
struct List {
    /// Answer from what the node has, without asking the leader; may be out of date.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Show a pool and its regions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau pool show ent")]
struct Show {
    /// The pool's name.
    name: String,
    /// Answer from what the node has, without asking the leader; may be out of date.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Remove a pool with its regions. Refused while slots are out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau pool set old --capacity 0    # no region may have a nominal; once it has drained:
  preau pool remove old")]
struct Remove {
    /// The pool's name.
    name: String,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// What came of a change.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// Whether there was anything to change.
    pub changed: bool,
    /// The budget's revision now.
    pub revision: u64,
    /// Pools above their capacity.
    pub draining: Vec<Draining>,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.command {
        Command::Set(args) => set(args, output).await,
        Command::List(args) => {
            let budget = Budget::from(args.cluster.cluster()?.pools("", args.stale).await?);
            output.show(&budget, |budget| pools_table(&budget.pools).trim_fmt())
        }
        Command::Show(args) => {
            let pool = one(&args.cluster.cluster()?, &args.name, args.stale).await?;
            output.show(&pool, Pool::text)
        }
        Command::Remove(args) => {
            let change = v1::change::Change::RemovePool(v1::RemovePool {
                name: args.name.clone(),
            });
            let changed = make(&args.cluster.cluster()?, vec![change], 0).await?;
            output.show(&changed, |c| {
                c.text(&format!("pool {:?} removed", args.name))
            })
        }
        Command::Capacity(args) => capacity(args, output).await,
        Command::Open(args) => mode::run(args, v1::Mode::Open, output).await,
        Command::Pause(args) => mode::run(args, v1::Mode::Paused, output).await,
        Command::Drain(args) => mode::run(args, v1::Mode::Draining, output).await,
        Command::Freeze(args) => mode::run(args, v1::Mode::Frozen, output).await,
        Command::Close(args) => mode::run(args, v1::Mode::Closed, output).await,
    }
}

async fn capacity(args: &Capacity, output: Output) -> Result<(), Failure> {
    let changed = change(&args.cluster.cluster()?, &args.name, |found| {
        let found = found.and_then(|pool| pool.status.as_ref());
        let set = v1::SetCapacity {
            pool: args.name.clone(),
            capacity: args.slots,
        };
        Ok(match found {
            Some(pool) if pool.capacity == args.slots => Vec::new(),
            _ => vec![v1::change::Change::SetCapacity(set)],
        })
    })
    .await?;
    let done = format!(
        "pool {:?} has a capacity of {}",
        args.name,
        thousands(args.slots)
    );
    output.show(&changed, |c| c.text(&done))
}

async fn set(args: &Set, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let changed = change(&cluster, &args.name, |found| {
        let found = found.map(budget::Pool::from);
        let mut to = match (&found, args.capacity) {
            (Some(found), _) => found.clone(),
            (None, Some(capacity)) => budget::Pool::new(&args.name, capacity),
            (None, None) => {
                return Err(Failure::usage(format!(
                    "--capacity: not given, expected a number of slots, for pool {:?} is new",
                    args.name
                )));
            }
        };
        to.capacity = args.capacity.unwrap_or(to.capacity);
        to.ttl_ms = args.ttl_ms.unwrap_or(to.ttl_ms);
        to.drift_ppm = args.drift_ppm.unwrap_or(to.drift_ppm);
        args.rules.change(&mut to.rules)?;
        let changes = to.changes(found.as_ref()).into_iter();
        Ok(changes.filter_map(|change| change.change).collect())
    })
    .await?;
    output.show(&changed, |c| c.text(&format!("pool {:?} set", args.name)))
}

/// Decides on a change from the pool as it is (`None` where there is none of this name), and makes it on
/// just that; `decide` gives none where there is nothing to change.
pub async fn change(
    cluster: &Cluster,
    pool: &str,
    mut decide: impl FnMut(Option<&v1::Pool>) -> Result<Vec<v1::change::Change>, Failure>,
) -> Result<Changed, Failure> {
    let mut tries = 1;
    loop {
        let read = match cluster.pools(pool, false).await {
            Err(failure) if failure.is(Reason::NoSuchPool) => v1::ListPoolsResponse::default(),
            read => read?,
        };
        let changes = decide(read.pools.first())?;
        if changes.is_empty() {
            return Ok(Changed {
                changed: false,
                revision: read.revision,
                draining: Vec::new(),
            });
        }
        match make(cluster, changes, read.revision).await {
            Err(failure) if failure.is(Reason::RevisionMismatch) && tries < TRIES => tries += 1,
            made => return made,
        }
    }
}

/// Makes changes, all or none.
pub async fn make(
    cluster: &Cluster,
    changes: Vec<v1::change::Change>,
    expected_revision: u64,
) -> Result<Changed, Failure> {
    let wire = |change| v1::Change {
        change: Some(change),
    };
    let changes = changes.into_iter().map(wire).collect();
    let answer = cluster.configure(changes, expected_revision).await?;
    Ok(Changed {
        changed: true,
        revision: answer.revision,
        draining: answer.draining.into_iter().map(Into::into).collect(),
    })
}

/// The pool of this name.
pub async fn one(cluster: &Cluster, name: &str, stale: bool) -> Result<Pool, Failure> {
    let pool = cluster.pools(name, stale).await?.pools.pop();
    let pool = pool.ok_or_else(|| {
        Failure::operation(format!(
            "pool {name:?} does not exist; look at those there are: preau pool list"
        ))
    })?;
    Ok(view::Pool::from(pool))
}

impl Changed {
    /// In words; `done` says what was done.
    pub fn text(&self, done: &str) -> String {
        let revision = thousands(self.revision);
        if self.changed {
            let drains = draining_text(&self.draining);
            format!("{done}; the budget is at revision {revision}{drains}")
        } else {
            format!("nothing to change; the budget is at revision {revision}")
        }
    }
}
