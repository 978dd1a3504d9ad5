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
  preau region set ent normandie --no-ceiling
  preau region set ent la-reunion --zone Indian/Reunion --floor 3000")]
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
    /// The time zone by the IANA's name, for the calendar; empty for none.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Slots set aside for the region's front-ends that are cut off, which share them; 0 for none.
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    floor: Option<u64>,
    /// Slots set aside for one front-end, HOLDER=SLOTS; 0 for none. May be given several times.
    #[arg(long, value_name = "HOLDER=SLOTS", value_parser = holder_floor)]
    holder_floor: Vec<(String, u64)>,
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
            let changed = make(&args.cluster.cluster()?, vec![change], 0).await?;
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
        let mut to = found
            .clone()
            .unwrap_or_else(|| budget::Region::new(&args.region));
        let terms = &mut to.terms;
        terms.nominal = args.nominal.unwrap_or(terms.nominal);
        terms.ceiling = args.ceiling.or(terms.ceiling.filter(|_| !args.no_ceiling));
        terms.weight = args.weight.unwrap_or(terms.weight);
        to.zone = args.zone.clone().unwrap_or(to.zone);
        to.floor = args.floor.unwrap_or(to.floor);
        to.holders.extend(args.holder_floor.iter().cloned());
        to.holders.retain(|_, slots| *slots > 0);
        let changes = to.changes(&args.pool, found.as_ref()).into_iter();
        Ok(changes.filter_map(|change| change.change).collect())
    })
    .await?;
    let what = format!("region {:?} of pool {:?} set", args.region, args.pool);
    output.show(&changed, |c| c.text(&what))
}

fn holder_floor(text: &str) -> Result<(String, u64), String> {
    let expected = || format!("expected HOLDER=SLOTS, with slots from 0 to {MAX_SLOTS}");
    let (holder, slots) = text.rsplit_once('=').ok_or_else(expected)?;
    let slots = slots.parse().ok().filter(|&slots| slots <= MAX_SLOTS);
    match (holder, slots) {
        ("", _) | (_, None) => Err(expected()),
        (holder, Some(slots)) => Ok((holder.to_owned(), slots)),
    }
}

impl Remove {
    fn region(&self) -> String {
        format!("region {:?} of pool {:?}", self.region, self.pool)
    }
}
