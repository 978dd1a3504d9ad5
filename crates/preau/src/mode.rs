//! `preau pool open`, `pause`, `drain`, `freeze` and `close`: whether a pool or region seats anyone.

use api::v1;
use quota::limits::MAX_REASON_BYTES;

use crate::cluster;
use crate::failure::Failure;
use crate::output::Output;
use crate::pool::change;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau pool pause ent --reason \"The portal is being repaired; your place is kept\"
  preau pool drain ent --region normandie --reason \"Maintenance from 18:00\"
  preau pool open ent")]
pub struct SetMode {
    /// The pool's name.
    name: String,
    /// One region of it alone.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Why, in words that users read; must be given except to open.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Sets the mode, unless it is so already.
pub async fn run(args: &SetMode, mode: v1::Mode, output: Output) -> Result<(), Failure> {
    if args.reason.is_empty() && mode != v1::Mode::Open {
        return Err(Failure::usage(
            "--reason: nothing given, expected why, in words that users read",
        ));
    }
    if args.reason.len() > MAX_REASON_BYTES {
        return Err(Failure::usage(format!(
            "--reason: {} bytes given, expected at most {MAX_REASON_BYTES}",
            args.reason.len()
        )));
    }
    let region = args.region.as_deref().unwrap_or_default();
    let changed = change(&args.cluster.cluster()?, &args.name, |pool| {
        let now = pool.and_then(|pool| {
            if region.is_empty() {
                let status = pool.status.as_ref()?;
                return Some((status.mode(), status.reason.as_str()));
            }
            let status = pool.regions.iter().find(|r| r.name == region)?;
            Some((status.mode(), status.reason.as_str()))
        });
        if now == Some((mode, args.reason.as_str())) {
            return Ok(Vec::new());
        }
        Ok(vec![v1::change::Change::SetMode(v1::SetMode {
            pool: args.name.clone(),
            region: region.into(),
            mode: mode.into(),
            reason: args.reason.clone(),
        })])
    })
    .await?;
    let place = match region {
        "" => format!("pool {:?}", args.name),
        region => format!("region {region:?} of pool {:?}", args.name),
    };
    output.show(&changed, |c| c.text(&format!("{place} is {}", name(mode))))
}

/// The word for a mode.
pub fn name(mode: v1::Mode) -> &'static str {
    match mode {
        v1::Mode::Open | v1::Mode::Unspecified => "open",
        v1::Mode::Paused => "paused",
        v1::Mode::Draining => "draining",
        v1::Mode::Frozen => "frozen",
        v1::Mode::Closed => "closed",
    }
}
