//! The rules as stories: `tests/scenarios/*.txt` says what is asked and, after `----`, what comes of it.
//! With `UPDATE_SCENARIOS=1` the answers are written anew; read the change as you would read code.
//!
//! A story is made of paragraphs. One that begins with `#` is for the reader; of any other, the lines
//! before `----` are commands, carried out in turn:
//!
//! ```text
//! at 12s                                          let cluster time come to 12 s
//! configure ID [revision=N]                       make the changes that follow, indented
//!   pool NAME capacity=N [ttl=N] [drift=N]          ttl in milliseconds, drift in parts per million
//!   region POOL NAME [nominal=N] [ceiling=N] [weight=N]
//!   remove-pool NAME
//!   remove-region POOL NAME
//! take POOL REGION HOLDER epoch=N seq=N wanted=N
//! renew LEASE seq=N kept=N wanted=N               leases are called #1, #2, ... as they come
//! return LEASE seq=N
//! remove-holder HOLDER id=ID [pool=NAME]
//! restart                                         go on from a snapshot
//! show POOL                                       the pool, its regions and its leases
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use quota::{
    Batch, Change, Command, Configure, LeaseId, Outcome, RemoveHolder, Renew, Reply, Return,
    SetPool, SetRegion, State, Take,
};

/// A state, and the short names of its leases.
#[derive(Default)]
struct Story {
    state: State,
    time_ms: u64,
    leases: Vec<LeaseId>,
}

/// A line in parts: words, and `key=value` pairs. Taking them apart leaves nothing unread.
struct Line<'a> {
    text: &'a str,
    words: Vec<&'a str>,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let (pairs, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|w| w.contains('='));
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        Self {
            text,
            pairs: pairs.collect(),
            words,
        }
    }

    fn word(&mut self) -> &'a str {
        assert!(!self.words.is_empty(), "a word is missing: {}", self.text);
        self.words.remove(0)
    }

    fn maybe<T: std::str::FromStr>(&mut self, key: &str) -> Option<T> {
        let value = self.pairs.remove(key)?;
        let value = value.replace('_', "").parse().ok();
        Some(value.unwrap_or_else(|| panic!("{key}: {}", self.text)))
    }

    fn number(&mut self, key: &str) -> u64 {
        self.maybe(key)
            .unwrap_or_else(|| panic!("{key} is missing: {}", self.text))
    }

    fn end(self) {
        let all_read = self.words.is_empty() && self.pairs.is_empty();
        assert!(all_read, "more than it takes: {}", self.text);
    }
}

impl Story {
    /// Carries out a paragraph's commands and tells what came of each.
    fn tell(&mut self, commands: &str) -> String {
        let mut told = String::new();
        let mut lines = commands.lines().peekable();
        while let Some(text) = lines.next() {
            let mut line = Line::new(text);
            match line.word() {
                "at" => {
                    let seconds = line.word().strip_suffix('s').expect("at 12.5s");
                    self.time_ms = (seconds.parse::<f64>().unwrap() * 1_000.0).round() as u64;
                    self.apply(Vec::new());
                }
                "restart" => {
                    let bytes = self.state.snapshot();
                    self.state = State::restore(&bytes).unwrap();
                }
                "show" => self.show(&mut told, line.word()),
                "configure" => {
                    let request_id = line.word().into();
                    let expected_revision = line.maybe("revision");
                    let mut changes = Vec::new();
                    while let Some(text) = lines.next_if(|text| text.starts_with(' ')) {
                        changes.push(change(Line::new(text)));
                    }
                    let configure = Configure {
                        request_id,
                        expected_revision,
                        changes,
                    };
                    self.run(&mut told, Command::Configure(configure));
                }
                verb => {
                    let command = self.command(verb, &mut line);
                    self.run(&mut told, command);
                }
            }
            line.end();
        }
        told
    }

    fn command(&self, verb: &str, line: &mut Line<'_>) -> Command {
        match verb {
            "take" => Command::Take(Take {
                pool: line.word().into(),
                region: line.word().into(),
                holder: line.word().into(),
                epoch: line.number("epoch"),
                seq: line.number("seq"),
                wanted: line.number("wanted"),
            }),
            "renew" => Command::Renew(Renew {
                lease: self.named(line.word()),
                seq: line.number("seq"),
                kept: line.number("kept"),
                wanted: line.number("wanted"),
            }),
            "return" => Command::Return(Return {
                lease: self.named(line.word()),
                seq: line.number("seq"),
            }),
            "remove-holder" => Command::RemoveHolder(RemoveHolder {
                holder: line.word().into(),
                request_id: line.maybe("id").expect("id=ID"),
                pool: line.maybe("pool"),
            }),
            other => panic!("{other}: no such command"),
        }
    }

    fn named(&self, name: &str) -> LeaseId {
        let number: usize = name.strip_prefix('#').expect("#1").parse().unwrap();
        self.leases[number - 1]
    }

    fn name(&mut self, lease: LeaseId) -> String {
        if !self.leases.contains(&lease) {
            self.leases.push(lease);
        }
        let at = self.leases.iter().position(|&l| l == lease).unwrap();
        format!("#{}", at + 1)
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        let batch = Batch {
            time_ms: self.time_ms,
            commands,
        };
        self.state.apply(&batch)
    }

    fn run(&mut self, told: &mut String, command: Command) {
        let outcome = self.apply(vec![command]).pop().unwrap();
        let told = match outcome {
            Ok(Reply::Grant(grant)) => {
                let name = self.name(grant.lease);
                let (slots, target, ttl) = (grant.slots, grant.target, grant.ttl_ms as f64 / 1e3);
                writeln!(
                    told,
                    "{name} has {slots} for {ttl} s, and should have {target}"
                )
            }
            Ok(Reply::Returned(returned)) => writeln!(told, "{} came back", returned.slots),
            Ok(Reply::HolderRemoved(removed)) => {
                let (leases, slots) = (removed.leases, removed.slots);
                writeln!(told, "leases that close: {leases}, with {slots}")
            }
            Ok(Reply::Configured(configured)) => {
                let drains = configured.draining.iter();
                let drains: String = drains
                    .map(|d| format!(", {} drains {}", d.pool, d.over_by))
                    .collect();
                writeln!(told, "revision {}{drains}", configured.revision)
            }
            Ok(other) => writeln!(told, "{other:?}"),
            Err(refusal) => {
                let mut words = refusal.to_string();
                for (i, lease) in self.leases.iter().enumerate() {
                    words = words.replace(&format!("lease {lease}"), &format!("lease #{}", i + 1));
                }
                writeln!(told, "refused: {words}")
            }
        };
        told.unwrap();
    }

    fn show(&mut self, told: &mut String, name: &str) {
        let Some(pool) = self.state.pool(name) else {
            return writeln!(told, "{name}: no such pool").unwrap();
        };
        let at = self.state.now_ms() as f64 / 1e3;
        writeln!(
            told,
            "{name} at {at} s: {} of {} held",
            pool.held, pool.capacity
        )
        .unwrap();
        for r in self.state.regions(name) {
            writeln!(
                told,
                "  {:<10} held {:>3}, wanted {:>3}, target {:>3}, borrowed {:>2}, lent {:>2}",
                r.name, r.held, r.wanted, r.target, r.borrowed, r.lent
            )
            .unwrap();
        }
        for l in self.state.leases(name, None, None, None, usize::MAX) {
            let (id, until) = (self.name(l.lease), l.expires_ms as f64 / 1e3);
            writeln!(
                told,
                "  {id} {} of {}: {}, target {}, until {until} s, {:?}",
                l.holder, l.region, l.slots, l.target, l.phase
            )
            .unwrap();
        }
    }
}

fn change(mut line: Line<'_>) -> Change {
    let change = match line.word() {
        "pool" => Change::SetPool(SetPool {
            name: line.word().into(),
            capacity: line.number("capacity"),
            ttl_ms: line.maybe("ttl"),
            drift_ppm: line.maybe("drift"),
        }),
        "region" => Change::SetRegion(SetRegion {
            pool: line.word().into(),
            name: line.word().into(),
            nominal: line.maybe("nominal").unwrap_or(0),
            ceiling: line.maybe("ceiling"),
            weight: line.maybe("weight").unwrap_or(1),
        }),
        "remove-pool" => Change::RemovePool {
            name: line.word().into(),
        },
        "remove-region" => Change::RemoveRegion {
            pool: line.word().into(),
            name: line.word().into(),
        },
        other => panic!("{other}: no such change"),
    };
    line.end();
    change
}

/// The story told anew.
fn retold(text: &str) -> String {
    let mut story = Story::default();
    let paragraphs = text.trim_end().split("\n\n").map(|paragraph| {
        if paragraph.starts_with('#') {
            return paragraph.to_owned();
        }
        let commands = paragraph.split("\n----").next().unwrap();
        let told = story.tell(commands);
        format!("{commands}\n----\n{told}").trim_end().to_owned()
    });
    paragraphs.collect::<Vec<_>>().join("\n\n") + "\n"
}

#[test]
fn all_stories_are_true() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 8, "stories are missing");
    let mut untrue = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let told = retold(&text);
        if told == text {
            continue;
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&path, told).unwrap();
            continue;
        }
        let lines = text.lines().zip(told.lines()).enumerate();
        let (at, (was, is)) = lines
            .into_iter()
            .find(|(_, (was, is))| was != is)
            .unwrap_or((text.lines().count(), ("", "")));
        let name = path.file_name().unwrap().display();
        untrue.push(format!(
            "{name}, line {}:\n  says  {was}\n  but   {is}",
            at + 1
        ));
    }
    assert!(untrue.is_empty(), "{}", untrue.join("\n"));
}
