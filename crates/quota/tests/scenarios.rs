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
//!   rules POOL classes=NAME[:WEIGHT[:first]],... [overtake=N] [limit=N] [idle=N] [when-waiting=N] [notice=N]
//!     [least=N] [shorten]                           seconds
//!   mode POOL [region=NAME] open|paused|draining|frozen|closed [reason=...]    underscores for spaces
//!   capacity POOL slots=N
//!   zone POOL REGION ZONE
//!   floor POOL REGION [holder=NAME] slots=N
//!   calendar POOL                                 its entries follow, indented by four:
//!     NAME at=N|days=N minute=N [zone=Z] [region=NAME] open|close|pause|resume|capacity [slots=N] [reason=...]
//! take POOL REGION HOLDER epoch=N seq=N wanted=N
//! renew LEASE seq=N kept=N wanted=N               leases are called #1, #2, ... as they come
//! report LEASE seq=N kept=N in_use=N [spare=N] [waiting=CLASS@SECOND:USERS,...] [exact=SECOND] [left=N]
//!   [floor=N] [claims=ID/HOLDER.EPOCH,...] [released=ID,...] [refused=ID,...]
//! due POOL ENTRY at=N                             an entry of the calendar has come due, by the wall clock
//! return LEASE seq=N
//! remove-holder HOLDER id=ID [pool=NAME]
//! restart                                         go on from a snapshot
//! show POOL                                       the pool, its regions and its leases
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::story::{self, Line};
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
                        let mut under = Vec::new();
                        while let Some(text) = lines.next_if(|text| text.starts_with("    ")) {
                            under.push(Line::new(text));
                        }
                        changes.push(change(Line::new(text), under));
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
            "report" => {
                let lease = self.named(line.word());
                Command::ReportV2(story::report(&self.state, lease, line))
            }
            "due" => Command::Due(story::due(line)),
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
            Ok(Reply::Reported(reported)) => {
                let name = self.name(reported.grant.lease);
                let said = story::reported(&self.state, &name, &reported);
                writeln!(told, "{said}")
            }
            Ok(Reply::Due(done)) => {
                let applied = if done.applied { "done" } else { "done before" };
                writeln!(told, "{applied}, revision {}", done.revision)
            }
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
        told.push_str(&story::show(&self.state, name));
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

fn change(mut line: Line<'_>, under: Vec<Line<'_>>) -> Change {
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
        other => story::change(other, &mut line, under),
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
    assert!(paths.len() >= 16, "stories are missing");
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
