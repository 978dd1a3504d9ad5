//! Power cuts and kills: what was acknowledged is there afterwards.
//!
//! A process uses a store under strace, which records every change that it really makes to its files and
//! every sync. From that, disks are built that a power cut at some moment could have left, and each is
//! opened and compared with what had been acknowledged by then.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod disk;
mod history;
mod load;
mod place;
mod replay;
mod trace;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use store::Store;
use tempfile::TempDir;

use crate::disk::{CUTS, Cut};
use crate::history::{Content, History, content_of};
use crate::load::{Kind, Random};
use crate::place::{LOAD, Place, copy_dir, same, scratch};
use crate::replay::{Ignore, Replay};
use crate::trace::Event;

/// How often the longest tests repeat, each time with another load; more than once is for runs by hand.
const ROUNDS: &str = "STORE_TEST_ROUNDS";

fn rounds() -> u64 {
    std::env::var(ROUNDS).map_or(1, |rounds| rounds.parse().unwrap())
}

/// Not a test: the process that the tests start, trace and kill.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn worker() {
    let Ok(load) = std::env::var(LOAD) else {
        return;
    };
    let mut words = load.split('\n');
    let mut word = || words.next().unwrap();
    let (dir, history) = (PathBuf::from(word()), PathBuf::from(word()));
    let kind = if word() == "long" {
        Kind::Long
    } else {
        Kind::Short
    };
    let mut number = || word().parse().unwrap();
    load::run(&dir, &history, kind, number(), number(), number());
    // No close: the process ends as it would if it were killed.
    std::process::exit(0);
}

/// One disk to be looked at.
struct Case {
    image: TempDir,
    history: History,
    what: String,
    thorough: bool,
}

/// Opens a store as a power cut left it, and compares.
fn check(kind: Kind, case: &Case) -> Result<(), String> {
    let dir = case.image.path().join("data");
    let open = || Store::open(&dir, 1, kind.options()).map_err(|e| e.to_string());
    let store = open()?;
    let (found, committed) = content_of(&store)?;
    case.history.check(&found, committed.as_deref())?;
    if !case.thorough {
        return Ok(());
    }
    // It can be used, and opened again.
    let (told, answer) = mpsc::channel();
    let end = found.records.last_key_value().map(|(index, _)| index + 1);
    let end = end.or(found.purged.map(|purged| purged + 1)).unwrap_or(0);
    let more = vec![Bytes::from_static(b"more"); 3];
    store.append(
        end,
        more.clone(),
        Box::new(move |result| told.send(result).unwrap()),
    );
    answer.recv().unwrap().map_err(|e| e.to_string())?;
    store.close();
    let mut expected = found;
    expected.records.extend((end..).zip(more));
    let (again, _) = content_of(&open()?)?;
    if again != expected {
        return Err("it changed when it was opened again".into());
    }
    Ok(())
}

/// What came of looking at many.
#[derive(Debug, Default)]
struct Outcome {
    looked_at: usize,
    failed: Vec<String>,
}

/// Replays sessions on a disk, cuts the power at `cuts` moments, and looks at what is left.
fn power_cuts(
    kind: Kind,
    mut replay: Replay,
    mut history: History,
    sessions: &[Vec<Event>],
    cuts: usize,
    seed: u64,
) -> (Outcome, Replay, History) {
    let mut random = Random(seed);
    let total: usize = sessions.iter().map(Vec::len).sum();
    let mut at: Vec<usize> = (0..cuts)
        .map(|_| random.below(total as u64) as usize)
        .collect();
    at.sort_unstable();
    let mut at = at.into_iter().enumerate().peekable();
    let (cases, looked_at) = (mpsc::sync_channel::<Case>(4), mpsc::channel());
    let (give, take) = (cases.0, std::sync::Mutex::new(cases.1));
    thread::scope(|scope| {
        for _ in 0..2 {
            let (take, told) = (&take, looked_at.0.clone());
            scope.spawn(move || {
                while let Ok(case) = { take.lock().unwrap().recv() } {
                    let result = check(kind, &case).map_err(|why| format!("{}: {why}", case.what));
                    told.send(result).unwrap();
                }
            });
        }
        let mut moment = 0;
        for session in sessions {
            replay.restart();
            for event in session {
                if let Some(line) = replay.event(event) {
                    history.line(std::str::from_utf8(&line).unwrap().trim());
                }
                while let Some((n, _)) = at.next_if(|(_, at)| *at <= moment) {
                    let image = scratch();
                    let cut = CUTS[n % CUTS.len()];
                    replay.disk.image(cut, &mut random, image.path());
                    give.send(Case {
                        image,
                        history: history.clone(),
                        what: format!("seed {seed}, cut {n} ({cut:?}) at event {moment}"),
                        thorough: n % 4 == 0,
                    })
                    .unwrap();
                }
                moment += 1;
            }
        }
        drop(give);
    });
    drop(looked_at.0);
    let mut outcome = Outcome::default();
    for result in looked_at.1 {
        outcome.looked_at += 1;
        outcome.failed.extend(result.err());
    }
    (outcome, replay, history)
}

fn assert_good(outcome: &Outcome, history: &History) {
    let (bad, of) = (outcome.failed.len(), outcome.looked_at);
    let some: Vec<_> = outcome.failed.iter().take(5).collect();
    assert!(bad == 0, "{bad} of {of} disks were wrong: {some:#?}");
    println!("{of} disks, {} requests acknowledged", history.acknowledged);
}

/// Sessions of a load, each ended without closing the store.
fn sessions(place: &Place, kind: Kind, seed: u64, steps: &[u64]) -> Vec<Vec<Event>> {
    let mut from = 0;
    let mut all = Vec::new();
    for (n, steps) in steps.iter().enumerate() {
        all.push(place.traced(kind, seed + n as u64, from, *steps));
        let mut history = History::default();
        let lines = fs::read_to_string(place.history()).unwrap();
        lines.lines().for_each(|line| history.line(line));
        from = history.next_number;
    }
    all
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    if !trace::available() {
        return;
    }
    for round in 0..rounds() {
        let seed = 1 + 10 * round;
        let place = Place::new();
        let replay = Replay::new(place.root.path(), Ignore::Nothing);
        let sessions = sessions(&place, Kind::Short, seed, &[250, 40, 250]);
        let (outcome, replay, history) = power_cuts(
            Kind::Short,
            replay,
            History::default(),
            &sessions,
            400,
            seed,
        );
        assert_good(&outcome, &history);

        // The model agrees with the disk that it is a model of.
        let image = scratch();
        replay
            .disk
            .image(Cut::Everything, &mut Random(0), image.path());
        same(image.path(), place.root.path());
    }
}

/// Recovery from a power cut is itself cut short.
#[test]
fn power_cuts_during_recovery_lose_nothing() {
    if !trace::available() {
        return;
    }
    let first = Place::new();
    let mut replay = Replay::new(first.root.path(), Ignore::Nothing);
    let session = first.traced(Kind::Short, 7, 0, 200);
    let mut random = Random(7);
    for (n, event) in session.iter().enumerate() {
        replay.event(event);
        if n % (session.len() / 4) != session.len() / 5 {
            continue;
        }
        let place = Place::new();
        replay
            .disk
            .image(Cut::Sectors, &mut random, place.root.path());
        let (found, committed) = found_in(&place, Kind::Short);
        let replay = Replay::new(place.root.path(), Ignore::Nothing);
        let session = place.traced(Kind::Short, 8, 0, 40);
        let history = History::from(found, 0, committed);
        let (outcome, _, history) =
            power_cuts(Kind::Short, replay, history, &[session], 40, n as u64);
        assert_good(&outcome, &history);
    }
}

/// A directory of before there was a journal gets one.
#[test]
fn power_cuts_during_an_upgrade_lose_nothing() {
    if !trace::available() {
        return;
    }
    let place = Place::new();
    place.traced(Kind::Short, 21, 0, 60);
    // Opened and closed, all is in the log.
    drop(Store::open(&place.dir(), 1, Kind::Short.options()).unwrap());
    place.forget_journal();
    let (found, committed) = found_in(&place, Kind::Short);
    let replay = Replay::new(place.root.path(), Ignore::Nothing);
    let session = place.traced(Kind::Short, 22, 0, 6);
    let history = History::from(found, 0, committed);
    let (outcome, _, history) = power_cuts(Kind::Short, replay, history, &[session], 80, 21);
    assert_good(&outcome, &history);
}

/// What a store has, found in a copy, so that nothing is recovered yet.
fn found_in(place: &Place, kind: Kind) -> (Content, Option<String>) {
    let copy = scratch();
    copy_dir(place.root.path(), copy.path());
    let store = Store::open(&copy.path().join("data"), 1, kind.options()).unwrap();
    content_of(&store).unwrap()
}

/// In a long segment sled moves what it keeps, and uses the space again.
#[test]
fn power_cuts_in_a_long_segment_lose_nothing() {
    if !trace::available() {
        return;
    }
    for round in 0..rounds() {
        let seed = 3 + 10 * round;
        let place = Place::new();
        let replay = Replay::new(place.root.path(), Ignore::Nothing);
        let sessions = sessions(&place, Kind::Long, seed, &[150, 60]);
        let (outcome, _, history) =
            power_cuts(Kind::Long, replay, History::default(), &sessions, 80, seed);
        assert_good(&outcome, &history);
    }
}

/// The tests above can fail: a store whose syncs did nothing would be found out.
#[test]
fn a_store_that_did_not_sync_would_be_found_out() {
    if !trace::available() {
        return;
    }
    let place = Place::new();
    let root = scratch();
    let sessions = sessions(&place, Kind::Short, 5, &[80]);
    for ignore in [
        Ignore::Files,
        Ignore::Directories,
        Ignore::Named("journal"),
        Ignore::Named("db"),
    ] {
        let mut replay = Replay::new(root.path(), ignore);
        replay.stands_for(place.root.path());
        let (outcome, _, _) = power_cuts(Kind::Short, replay, History::default(), &sessions, 40, 5);
        assert!(!outcome.failed.is_empty(), "{ignore:?} made no difference");
    }
}

const KILLS: u64 = 200;

#[test]
fn kills_lose_nothing_acknowledged() {
    let place = Place::new();
    let mut random = Random(11);
    let mut lines = 0;
    let mut history = History::default();
    for kill in 1..=KILLS {
        let mut worker = place.worker(
            None,
            Kind::Short,
            random.next(),
            history.next_number,
            100_000,
        );
        thread::sleep(Duration::from_millis(5 + random.below(70)));
        worker.kill().unwrap();
        worker.wait().unwrap();
        let text = fs::read_to_string(place.history()).unwrap_or_default();
        for line in text.lines().skip(lines) {
            history.line(line);
            lines += 1;
        }
        let store = Store::open(&place.dir(), 1, Kind::Short.options()).unwrap();
        let (found, committed) = content_of(&store).unwrap();
        if let Err(why) = history.check(&found, committed.as_deref()) {
            panic!("after kill {kill}: {why}");
        }
        let acknowledged = history.acknowledged;
        history = History::from(found, history.next_number, committed);
        history.acknowledged = acknowledged;
    }
    println!(
        "{KILLS} kills, {} requests acknowledged",
        history.acknowledged
    );
}
