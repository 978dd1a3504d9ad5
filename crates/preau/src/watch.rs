//! `preau watch`: the budget, live.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{self, Clear, ClearType, DisableLineWrap, EnableLineWrap};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::cluster::{self, Cluster};
use crate::failure::Failure;
use crate::output::{Output, json, print_line, thousands};
use crate::view::{Budget, pools_table, regions_table};

/// Watch the budget live: a table on a terminal, and elsewhere a line at a time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau watch
  preau watch --pool ent
  preau watch --count 60 --output json > minute.jsonl")]
pub struct Args {
    /// One pool alone.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// How often to look, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    interval_ms: u64,
    /// Stop after this many looks [default: never].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// One look.
#[derive(Debug, Serialize)]
struct Look {
    /// Null where none is known.
    leader_id: Option<u64>,
    term: u64,
    #[serde(flatten)]
    budget: Budget,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let pool = args.pool.as_deref().unwrap_or_default();
    let redraw = output == Output::Table && std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(Duration::from_millis(args.interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    while args.count.is_none_or(|count| looks < count) {
        ticks.tick().await;
        looks += 1;
        match look(&cluster, pool).await {
            Ok(look) if redraw => draw(&look.screen())?,
            Ok(look) => print_line(&match output {
                Output::Json => json(&look)?,
                Output::Table => look.line(),
            })?,
            // It may come back; but what never was there is not waited for.
            Err(failure) if looks == 1 || args.count == Some(looks) => return Err(failure),
            Err(failure) => eprintln!("no answer: {failure}"),
        }
    }
    Ok(())
}

async fn look(cluster: &Cluster, pool: &str) -> Result<Look, Failure> {
    let (status, budget) = tokio::try_join!(cluster.status(), cluster.pools(pool, false))?;
    Ok(Look {
        leader_id: (status.leader_id != 0).then_some(status.leader_id),
        term: status.term,
        budget: budget.into(),
    })
}

impl Look {
    fn head(&self) -> String {
        let leader = match self.leader_id {
            Some(id) => format!("node {id} leads in term {}", self.term),
            None => "no leader".to_owned(),
        };
        let seconds = self.budget.cluster_time_ms / 1_000;
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        format!("cluster time {hours}:{minutes:02}:{seconds:02}, {leader}")
    }

    fn screen(&self) -> String {
        let pools = pools_table(&self.budget.pools).trim_fmt();
        let regions = regions_table(&self.budget.pools).trim_fmt();
        format!("{}\n\n{pools}\n\n{regions}", self.head())
    }

    fn line(&self) -> String {
        let mut line = self.head();
        for pool in &self.budget.pools {
            let numbers = [pool.held, pool.capacity, pool.wanted, pool.waiting()];
            let [held, capacity, wanted, waiting] = numbers.map(thousands);
            line += &format!(
                "; {}: held {held} of {capacity}, wanted {wanted}, waiting {waiting}, queued {}, {}",
                pool.name,
                thousands(pool.queued()),
                pool.mode
            );
        }
        line
    }
}

/// Puts a text on the terminal in place of what was there; what does not fit is left out.
pub fn draw(text: &str) -> Result<(), Failure> {
    let rows = terminal::size().map_or(usize::MAX, |(_, rows)| rows.into());
    let mut out = std::io::stdout().lock();
    let drawn = || -> std::io::Result<()> {
        queue!(out, MoveTo(0, 0), DisableLineWrap)?;
        let mut lines = text.lines().take(rows.saturating_sub(1));
        lines.try_for_each(|line| {
            queue!(
                out,
                Print(line),
                Clear(ClearType::UntilNewLine),
                Print("\r\n")
            )
        })?;
        queue!(out, Clear(ClearType::FromCursorDown), EnableLineWrap)?;
        out.flush()
    }();
    drawn.map_err(|e| Failure::stdout(&e))
}
