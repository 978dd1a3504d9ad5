//! `preau plan`: what the sharing rules give for stated demands, without a cluster.

use std::collections::HashSet;

use quota::limits::{MAX_REGIONS_PER_POOL, MAX_SLOTS};
use quota::{Claim, share};
use serde::Serialize;

use crate::budget::Terms;
use crate::failure::Failure;
use crate::fields::{self, Fields};
use crate::output::{Output, table, thousands};

/// Work out offline what the sharing rules give for stated demands.
///
/// The answer is where the rules lead once all has settled: each region's `granted` slots, and how many of
/// them are `borrowed`, above its nominal. What a region holds now (`held`) takes no part in that; the table
/// shows how many of those slots are to be given back, as sessions end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file:
  capacity = 120
  [[region]]
  name = \"normandie\"
  demand = 1000        # slots wanted
  held = 0             # slots held now (optional)
  nominal = 0          # optional, default 0
  ceiling = 200        # optional, default: no ceiling
  weight = 1           # optional, default 1

Examples:
  preau plan -f demands.toml
  preau plan -f demands.toml --output json
  generate-demands | preau plan -f -")]
pub struct Args {
    /// The TOML file; - for stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demands {
    capacity: u64,
    regions: Vec<Region>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    name: String,
    demand: u64,
    held: Option<u64>,
    terms: Terms,
}

/// What the rules give.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    capacity: u64,
    granted: u64,
    regions: Vec<Granted>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Granted {
    name: String,
    demand: u64,
    granted: u64,
    borrowed: u64,
}

pub fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let demands = Demands::parse(&fields::read(&args.file)?)
        .map_err(|why| Failure::usage(format!("{}: {why}", fields::shown_path(&args.file))))?;
    output.show(&demands.plan(), |plan| demands.table(plan))
}

impl Demands {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut top = Fields::parse(text)?;
        let capacity = top.required_number("capacity", 0..=MAX_SLOTS)?;
        let mut names = HashSet::new();
        let mut regions = Vec::new();
        for mut fields in top.tables("region", MAX_REGIONS_PER_POOL)? {
            let region = Region::take(&mut fields)?;
            if !names.insert(region.name.clone()) {
                let given = format!("{:?} twice", region.name);
                return Err(fields.refuse("name", &given, "one region of a name"));
            }
            fields.done()?;
            regions.push(region);
        }
        top.done()?;
        let nominals: u64 = regions.iter().map(|region| region.terms.nominal).sum();
        if nominals > capacity {
            let over: Vec<_> = regions.iter().filter(|r| r.terms.nominal > 0).collect();
            let largest = over
                .iter()
                .max_by_key(|r| r.terms.nominal)
                .map_or("", |r| &r.name);
            return Err(format!(
                "capacity: {capacity} given, expected at least {nominals}, which the nominals of its \
                 regions add up to; the largest is that of region {largest:?}"
            ));
        }
        Ok(Self { capacity, regions })
    }

    pub fn plan(&self) -> Plan {
        let claims: Vec<Claim<'_>> = self.regions.iter().map(Region::claim).collect();
        let granted = share(self.capacity, &claims);
        Plan {
            capacity: self.capacity,
            granted: granted.iter().sum(),
            regions: self
                .regions
                .iter()
                .zip(granted)
                .map(|(region, granted)| Granted {
                    name: region.name.clone(),
                    demand: region.demand,
                    granted,
                    borrowed: granted.saturating_sub(region.terms.nominal),
                })
                .collect(),
        }
    }

    pub fn table(&self, plan: &Plan) -> String {
        let with_held = self.regions.iter().any(|region| region.held.is_some());
        let mut header = vec![
            "REGION",
            ">DEMAND",
            ">NOMINAL",
            ">GRANTED",
            ">BORROWED",
            ">SHORT",
        ];
        if with_held {
            header.extend([">HELD", ">TO GIVE BACK"]);
        }
        let mut rows = table(&header);
        for (asked, given) in self.regions.iter().zip(&plan.regions) {
            let mut numbers = vec![
                given.demand,
                asked.terms.nominal,
                given.granted,
                given.borrowed,
                given.demand - given.granted,
            ];
            if with_held {
                let held = asked.held.unwrap_or(0);
                numbers.extend([held, held.saturating_sub(given.granted)]);
            }
            let cells = numbers.into_iter().map(thousands);
            rows.add_row(std::iter::once(given.name.clone()).chain(cells));
        }
        let (granted, capacity) = (thousands(plan.granted), thousands(plan.capacity));
        format!(
            "{}\n\n{granted} of {capacity} slots granted",
            rows.trim_fmt()
        )
    }
}

impl Region {
    fn take(fields: &mut Fields<'_>) -> Result<Self, String> {
        let name = fields.required_name("name")?;
        fields.name(format!("region {name:?}"));
        let terms = Terms::take(fields, false)?;
        Ok(Self {
            demand: fields.required_number("demand", 0..=MAX_SLOTS)?,
            held: fields.number("held", 0..=MAX_SLOTS)?,
            name,
            terms,
        })
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            name: &self.name,
            demand: self.demand,
            nominal: self.terms.nominal,
            ceiling: self.terms.ceiling,
            weight: self.terms.weight,
        }
    }
}
