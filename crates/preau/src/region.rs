//! `preau region`: regions of pools, one at a time.

use api::v1;
use clap::Subcommand;
use quota::limits::{MAX_SLOTS, MAX_WEIGHT};

use crate::budget;
use crate::cluster;
use crate::failure::Failure;
use crate::output::Output;
use crate::pool::{change, make, one};
use crate::view::{Budget, regions_table};

/// Set, list, show and remove regions of a pool.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Set),
    List(List),
    Show(Show),
    Remove(Remove),
}

/// Make a region, or change one: what is not given stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau region set ent normandie --nominal 146855 --weight 3346
  preau region set ent normandie --ceiling 300000
  preau region set ent normandie --no-ceiling")]
struct Set {
    /// The pool's name.
    pool: String,
    /// The region's name.
    region: String,
    /// Slots guaranteed [new region: 0]. All nominals of a pool fit its capacity.
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    nominal: Option<u64>,
    /// Most slots, borrowing included; at least the nominal [new region: none].
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    ceiling: Option<u64>,
    /// Take the ceiling away.
    #[arg(long, conflicts_with = "ceiling")]
    no_ceiling: bool,
    /// The part in what is lent, 1 to 1,000,000 [new region: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WEIGHT)))]
    weight: Option<u32>,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// List the regions of one pool, or of all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau region list
  preau region list ent --output json")]
struct List {
    /// The pool's name.
    pool: Option<String>,
    /// Answer from what the node has, without asking the leader; may be out of date.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Show a region.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau region show ent normandie")]
struct Show {
    /// The pool's name.
    pool: String,
    /// The region's name.
    region: String,
    /// Answer from what the node has, without asking the leader; may be out of date.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Remove a region. Refused while slots are out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau region set ent corse --nominal 0 --ceiling 0    # and once it has drained:
  preau region remove ent corse")]
struct Remove {
    /// The pool's name.
    pool: String,
    /// The region's name.
    region: String,
    #[command(flatten)]
    cluster: cluster::Args,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.command {
        Command::Set(args) => set(args, output).await,
        Command::List(args) => {
            let pool = args.pool.as_deref().unwrap_or_default();
            let budget = Budget::from(args.cluster.cluster()?.pools(pool, args.stale).await?);
            output.show(&budget, |budget| regions_table(&budget.pools).trim_fmt())
        }
        Command::Show(args) => {
            let mut pool = one(&args.cluster.cluster()?, &args.pool, args.stale).await?;
            pool.regions.retain(|region| region.name == args.region);
            let Some(region) = pool.regions.first() else {
                return Err(Failure::operation(format!(
                    "region {:?} does not exist in pool {:?}; look at those there are: preau \
                     region list {}",
                    args.region, args.pool, args.pool
                )));
            };
            output.show(region, |_| regions_table([&pool]).trim_fmt())
        }
        Command::Remove(args) => {
            let change = v1::change::Change::RemoveRegion(v1::RemoveRegion {
                pool: args.pool.clone(),
                name: args.region.clone(),
            });
            let changed = make(&args.cluster.cluster()?, change, 0).await?;
            output.show(&changed, |c| c.text(&format!("{} removed", args.region())))
        }
    }
}

async fn set(args: &Set, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let changed = change(&cluster, &args.pool, |pool| {
        let found = pool
            .and_then(|pool| pool.regions.iter().find(|r| r.name == args.region))
            .map(budget::Region::from);
        let new = budget::Region {
            name: args.region.clone(),
            nominal: 0,
            ceiling: None,
            weight: 1,
        };
        let mut to = found.clone().unwrap_or(new);
        to.nominal = args.nominal.unwrap_or(to.nominal);
        to.ceiling = args.ceiling.or(to.ceiling.filter(|_| !args.no_ceiling));
        to.weight = args.weight.unwrap_or(to.weight);
        Ok(if found.as_ref() == Some(&to) {
            None
        } else {
            to.change(&args.pool).change
        })
    })
    .await?;
    let what = format!("region {:?} of pool {:?} set", args.region, args.pool);
    output.show(&changed, |c| c.text(&what))
}

impl Remove {
    fn region(&self) -> String {
        format!("region {:?} of pool {:?}", self.region, self.pool)
    }
}
