//! `preau-sim`: runs seeds, and shows the first that fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use check::history::{Record, Writer};
use check::{Limits, judge, order};
use clap::{Parser, Subcommand};

/// Real seconds that one simulated instant may take: thousands of times what it takes.
const STUCK_SECONDS: u32 = 60;

/// The whole cluster under one seeded scheduler, clock, network and disk.
#[derive(Debug, Parser)]
#[command(name = "preau-sim", version)]
struct Args {
    /// Runs the seeds from A up to and without B, as many at a time as there are jobs.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Runs one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Shows everything that happens in it.
    #[arg(long, requires = "seed")]
    verbose: bool,
    /// Writes its history down, as `preau-check` reads it.
    #[arg(long, requires = "seed", value_name = "FILE")]
    history: Option<PathBuf>,
    /// Runs at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Goes on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows that deliberate bugs are seen: for each, the first seed that fails. Needs a build with
    /// `PREAU_MUTATIONS=1`.
    Mutations {
        /// This one alone.
        #[arg(long)]
        only: Option<String>,
        /// Seeds that are tried for each.
        #[arg(long, default_value_t = 40)]
        most: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(What::Mutations { only, most }) = &args.what {
        return mutations(only.as_deref(), *most);
    }
    match (&args.seeds, args.seed) {
        (_, Some(seed)) => one(seed, args.verbose, args.history.as_deref()),
        (Some(seeds), None) => match parse(seeds) {
            Some((from, to)) => many(from, to, &args),
            None => {
                eprintln!("--seeds: {seeds:?} given, expected A..B with A below B, such as 0..100");
                ExitCode::from(2)
            }
        },
        (None, None) => {
            eprintln!("give --seeds A..B, or --seed N");
            ExitCode::from(2)
        }
    }
}

fn parse(seeds: &str) -> Option<(u64, u64)> {
    let (from, to) = seeds.split_once("..")?;
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from < to).then_some((from, to))
}

/// One seed, in this process: the last line is the trace's hash.
fn one(seed: u64, verbose: bool, history: Option<&Path>) -> ExitCode {
    if verbose {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,openraft=warn"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    let shared = Path::new("/dev/shm");
    let dir = match shared.is_dir() {
        true => tempfile::TempDir::with_prefix_in("preau-sim-", shared),
        false => tempfile::TempDir::new(),
    };
    let ended = Arc::new(AtomicBool::new(false));
    end_if_stuck(seed, Arc::clone(&ended));
    // In a thread of its own: what this one has drawn before, to be verbose, must not change what it draws.
    let run = |dir: tempfile::TempDir| {
        let run = move || simulation::run::run(seed, dir.path(), verbose);
        let ran = std::thread::spawn(run).join();
        ran.unwrap_or_else(|_| Err(std::io::Error::other("the simulation itself has panicked")))
    };
    let outcome = dir.and_then(run);
    ended.store(true, Ordering::Relaxed);
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("no directory for snapshots: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(path) = history
        && let Err(error) = write(&outcome.history, path)
    {
        eprintln!("{}: can't be written: {error}", path.display());
        return ExitCode::from(2);
    }
    for (what, count) in &outcome.counts {
        println!("count {count} {what}");
    }
    println!("count {} simulated seconds", outcome.seconds);
    let limits = Limits::of(&outcome.history);
    let seated = order::seated_in_order(&outcome.history, limits.order_slack_ns);
    println!("count {seated} seated while others waited, in order");
    let mut found = outcome.found;
    let judged = judge(&outcome.history, &limits);
    found.extend(judged.iter().map(ToString::to_string));
    for found in &found {
        println!("found {found}");
    }
    println!("trace {:016x}", outcome.trace);
    match found.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Ends the process when simulated time stands still: tasks that wake each other for ever would be the only ones
/// that get to run, here as on a real machine.
fn end_if_stuck(seed: u64, ended: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut stood = (0, 0);
        while !ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
            let now_ns = simulation::system::now_ns();
            stood = match now_ns == stood.0 {
                true => (now_ns, stood.1 + 1),
                false => (now_ns, 0),
            };
            if stood.1 >= STUCK_SECONDS && !ended.load(Ordering::Relaxed) {
                let at = Duration::from_nanos(now_ns).as_secs_f64();
                println!(
                    "found Progress at {at:.6} s: tasks of seed {seed} run without end and no time passes"
                );
                std::process::exit(1);
            }
        }
    });
}

fn write(history: &[Record], path: &Path) -> std::io::Result<()> {
    let file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut writer = Writer::new(file);
    history.iter().try_for_each(|record| writer.write(record))?;
    writer.finish().map(drop)
}

/// Each seed in a process of its own, so that none sees what another left.
fn many(from: u64, to: u64, args: &Args) -> ExitCode {
    let me = match std::env::current_exe() {
        Ok(me) => me,
        Err(error) => {
            eprintln!("can't start seeds: {error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let next = std::sync::atomic::AtomicU64::new(from);
    let totals = std::sync::Mutex::new((BTreeMap::<String, u64>::new(), 0_u64, Vec::<u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let lock = || {
                        totals
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                    };
                    if seed >= to || (!lock().2.is_empty() && !args.keep_going) {
                        return;
                    }
                    let ran = Command::new(&me)
                        .arg("--seed")
                        .arg(seed.to_string())
                        .output();
                    let mut totals = lock();
                    totals.1 += 1;
                    match ran {
                        Ok(ran) => {
                            let text = String::from_utf8_lossy(&ran.stdout);
                            for line in text.lines() {
                                if let Some((count, what)) =
                                    line.strip_prefix("count ").and_then(|l| l.split_once(' '))
                                {
                                    let count: u64 = count.parse().unwrap_or(0);
                                    *totals.0.entry(what.into()).or_default() += count;
                                }
                            }
                            if !ran.status.success() {
                                totals.2.push(seed);
                                println!("seed {seed} failed; see it with --seed {seed} --verbose");
                                for line in text.lines().filter(|line| line.starts_with("found ")) {
                                    println!("  {}", line.chars().take(600).collect::<String>());
                                }
                                if !text.contains("trace ") {
                                    let text = String::from_utf8_lossy(&ran.stderr);
                                    println!("  it broke off: {}", text.trim());
                                }
                            }
                        }
                        Err(error) => {
                            totals.2.push(seed);
                            println!("seed {seed} can't be started: {error}");
                        }
                    }
                }
            });
        }
    });
    let (counts, ran, failed) = totals
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    println!(
        "{ran} seeds from {from} in {:.0} s, {} failed",
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    for (what, count) in counts {
        println!("{count:>12}  {what}");
    }
    let Some(first) = failed.iter().min() else {
        return ExitCode::SUCCESS;
    };
    if !args.keep_going {
        println!("seed {first} once more, with all that happens:");
        let seed = first.to_string();
        let shown = Command::new(&me)
            .args(["--seed", &seed, "--verbose"])
            .status();
        if let Err(error) = shown {
            println!("seed {seed} can't be started: {error}");
        }
    }
    ExitCode::FAILURE
}

/// Wakes one bug after the other.
fn mutations(only: Option<&str>, most: u64) -> ExitCode {
    if !mutation::planted() {
        eprintln!("no bugs are planted in this build; build it with PREAU_MUTATIONS=1");
        return ExitCode::from(2);
    }
    let Ok(me) = std::env::current_exe() else {
        return ExitCode::from(2);
    };
    let chosen = mutation::ALL
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name));
    let (mut caught, mut missed) = (0, 0);
    for (name, what) in chosen {
        let began = Instant::now();
        let first = (0..most).find_map(|seed| {
            let mut run = Command::new(&me);
            let run = run.arg("--seed").arg(seed.to_string());
            let ran = run.env("PREAU_MUTATION", name).output().ok()?;
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            (!ran.status.success()).then_some((seed, text))
        });
        let seconds = began.elapsed().as_secs_f64();
        match first {
            Some((seed, text)) => {
                caught += 1;
                let found = text.lines().find_map(|line| line.strip_prefix("found "));
                let found: String = found.unwrap_or("it broke off").chars().take(120).collect();
                println!("{name:<22} seed {seed:>3} {seconds:>6.1} s  {found}");
            }
            None => {
                missed += 1;
                println!("{name:<22} not seen in {most} seeds, {seconds:.1} s: {what}");
            }
        }
    }
    println!("{caught} caught, {missed} missed");
    match missed == 0 && caught > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
