//! `preau replay`: a morning simulated, under one way of deciding or several.

mod show;

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use sim::{Figures, Morning, Scenario, Way};

use crate::failure::Failure;
use crate::output::Output;

/// Replay a morning: users, front-ends, network and faults on one seeded clock.
///
/// Every policy meets the same users. `preau` runs the very code that nodes and front-ends run; the others are
/// there to compare with. The same scenario, seed and scale give the same figures, all but how long it took.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Policies:
  no-limit     everyone is let in, and a portal past its capacity slows until it falls over
  static       each region its fixed share, and whoever reloads gets in: what was done
  static-fifo  each region its fixed share, and a queue
  random       the capacity shared, and a waiting room by lot
  preau        the rules of the cluster and the queues of its front-ends, on a modelled network
  ideal        one queue that knows everything at once, without any delay

Examples:
  preau replay deploy/scenarios/2021-04-06.toml
  preau replay deploy/scenarios/2021-04-06.toml --policy all --report morning.html
  preau replay deploy/scenarios/capacity-cut.toml --policy ideal,static --scale 0.01 --output json")]
pub struct Args {
    /// The scenario.
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Ways of deciding, in the order in which they are told, or `all`.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "preau",
        value_name = "POLICY"
    )]
    policy: Vec<String>,
    /// The seed of all chance.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The size to play it at: users, capacity and front-ends are that many times what the file says.
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    scale: f64,
    /// Write a page with plots, one file that needs no other.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let ways = ways(&args.policy).map_err(Failure::usage)?;
    let scenario = Scenario::load(&args.scenario).map_err(Failure::usage)?;
    let scenario = match args.scale {
        1.0 => scenario,
        scale => scenario.scaled(scale).map_err(Failure::usage)?,
    };
    if let Some(path) = &args.report {
        // Known before minutes have been spent.
        write(path, "")?;
    }
    let begun = Instant::now();
    let morning = Morning::new(scenario, args.seed);
    let drawn = begun.elapsed();
    let runs: Vec<Figures> = ways
        .into_iter()
        .map(|way| {
            let bar = progress(way);
            let begun = Instant::now();
            let mut figures = morning.play(way, &mut |second, seconds| {
                bar.set_length(seconds);
                bar.set_position(second);
            });
            bar.finish_and_clear();
            figures.wall_s = (drawn + begun.elapsed()).as_secs_f64();
            figures
        })
        .collect();
    if let Some(path) = &args.report {
        let page = sim::report(&morning, &runs).map_err(Failure::operation)?;
        write(path, &page)?;
    }
    match runs.as_slice() {
        [one] => output.show(one, |_| show::table_of(&runs)),
        _ => output.show(&runs, |runs| show::table_of(runs)),
    }
}

fn write(path: &Path, page: &str) -> Result<(), Failure> {
    std::fs::write(path, page)
        .map_err(|e| Failure::usage(format!("--report: can't write {}: {e}", path.display())))
}

fn ways(names: &[String]) -> Result<Vec<Way>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(Way::ALL.to_vec());
    }
    let mut ways = Vec::new();
    for name in names {
        let known = Way::ALL.into_iter().find(|way| way.name() == name);
        let way = known.ok_or_else(|| {
            let known = Way::ALL.map(Way::name).join(", ");
            format!("--policy: {name:?} given, expected all, or some of {known}")
        })?;
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    Ok(ways)
}

/// A bar on stderr, where that is a terminal.
fn progress(way: Way) -> ProgressBar {
    let bar = ProgressBar::new(1).with_message(way.name());
    match ProgressStyle::with_template("{msg:11} {wide_bar} {percent:>3} %  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_known_by_name_and_told_once() {
        let named = |names: &[&str]| ways(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(
            named(&["ideal", "static", "ideal"]).unwrap(),
            [Way::Ideal, Way::Static]
        );
        assert_eq!(named(&["all"]).unwrap(), Way::ALL);
        let message = named(&["fair"]).unwrap_err();
        assert!(
            message.contains("--policy: \"fair\" given, expected all, or some of no-limit, static")
        );
    }
}
