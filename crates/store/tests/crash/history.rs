//! What was asked and acknowledged, and whether a store that was found agrees with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use store::Store;

use crate::load::content;

/// What a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pub records: BTreeMap<u64, Bytes>,
    pub purged: Option<u64>,
    pub vote: Option<Bytes>,
    pub snapshot: Option<u64>,
}

/// Something asked of the thread that writes.
#[derive(Debug, Clone)]
enum Job {
    Append {
        first: u64,
        n: u64,
        seed: u64,
        most: u64,
    },
    Truncate(u64),
    Purge(u64),
    Vote(u64),
}

/// All that happened until a point in time.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// After all that was acknowledged.
    sure: Content,
    /// Asked and not acknowledged, in order.
    asked: Vec<(u64, Job)>,
    /// Snapshots asked and not acknowledged.
    snapshots: Vec<(u64, u64)>,
    committed: Vec<String>,
    pub next_number: u64,
    pub acknowledged: u64,
}

impl History {
    /// One that goes on from a store as it was found.
    pub fn from(found: Content, next_number: u64, committed: Option<String>) -> Self {
        Self {
            sure: found,
            next_number,
            committed: committed.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in a line of the load.
    pub fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let what = words.next().unwrap();
        if what == "c" {
            self.committed.push(words.next().unwrap().into());
            return;
        }
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let id = number();
        let job = match what {
            "k" => return self.acknowledge(id),
            "s" => {
                self.snapshots.push((id, number()));
                self.next_number = id + 1;
                return;
            }
            "a" => Job::Append {
                first: number(),
                n: number(),
                seed: number(),
                most: number(),
            },
            "t" => Job::Truncate(number()),
            "p" => Job::Purge(number()),
            "v" => Job::Vote(number()),
            other => panic!("no such line: {other}"),
        };
        self.asked.push((id, job));
        self.next_number = id + 1;
    }

    fn acknowledge(&mut self, id: u64) {
        self.acknowledged += 1;
        if let Some(at) = self.snapshots.iter().position(|(other, _)| *other == id) {
            self.sure.snapshot = Some(self.snapshots.remove(at).1);
            return;
        }
        let (first, job) = self.asked.remove(0);
        assert_eq!(first, id, "acknowledged out of order");
        apply(&mut self.sure, &job);
    }

    /// Checks what was found: some of what was asked and not acknowledged may have been done, in order.
    pub fn check(&self, found: &Content, committed: Option<&str>) -> Result<(), String> {
        let snapshot = found.snapshot;
        if snapshot != self.sure.snapshot
            && !self
                .snapshots
                .iter()
                .any(|(_, seed)| Some(*seed) == snapshot)
        {
            return Err(format!(
                "snapshot {snapshot:?}, expected {:?}",
                self.sure.snapshot
            ));
        }
        if committed.is_some_and(|c| !self.committed.iter().any(|saved| saved == c)) {
            return Err(format!("committed index {committed:?} was never saved"));
        }
        let mut expected = self.sure.clone();
        expected.snapshot = snapshot;
        let mut why = compare(&expected, found, self.asked.first().map(|(_, job)| job));
        for (at, (_, job)) in self.asked.iter().enumerate() {
            if why.is_none() {
                break;
            }
            apply(&mut expected, job);
            if compare(&expected, found, self.asked.get(at + 1).map(|(_, job)| job)).is_none() {
                why = None;
            }
        }
        let Some(why) = why else {
            return Ok(());
        };
        Err(format!("{why}; open requests: {:?}", self.asked))
    }
}

fn apply(content_: &mut Content, job: &Job) {
    match job {
        Job::Append {
            first,
            n,
            seed,
            most,
        } => {
            for index in *first..first + n {
                content_.records.insert(index, content(*seed, index, *most));
            }
        }
        Job::Truncate(end) => drop(content_.records.split_off(end)),
        Job::Purge(upto) if content_.purged.is_none_or(|purged| purged < *upto) => {
            content_.purged = Some(*upto);
            content_.records = content_.records.split_off(&(upto + 1));
        }
        Job::Purge(_) => {}
        Job::Vote(seed) => content_.vote = Some(content(*seed, 0, 60)),
    }
}

/// How they differ, a part of `next` that may have been done aside.
fn compare(expected: &Content, found: &Content, next: Option<&Job>) -> Option<String> {
    let span = |c: &Content| {
        let first = c.records.first_key_value().map(|(index, _)| *index);
        first.zip(c.records.last_key_value().map(|(index, _)| *index))
    };
    let mut expected = expected.clone();
    match next {
        Some(Job::Append { .. }) => {
            let mut all = expected.clone();
            apply(&mut all, next?);
            let end = found
                .records
                .last_key_value()
                .map_or(0, |(index, _)| index + 1);
            all.records.split_off(&end);
            if all.records.len() >= expected.records.len() {
                expected = all;
            }
        }
        Some(Job::Truncate(end)) => {
            let found_end = found
                .records
                .last_key_value()
                .map_or(0, |(index, _)| index + 1);
            expected.records.split_off(&found_end.max(*end));
        }
        _ => {}
    }
    if expected == *found {
        return None;
    }
    let differs = expected
        .records
        .iter()
        .find(|(i, r)| found.records.get(i) != Some(r));
    Some(format!(
        "entries {:?}, purged {:?}, vote {}; expected {:?}, {:?}; first entry that differs: {:?}",
        span(found),
        found.purged,
        if found.vote == expected.vote {
            "right"
        } else {
            "wrong"
        },
        span(&expected),
        expected.purged,
        differs.map(|(index, _)| index),
    ))
}

/// All that a store has, read through its public face.
pub fn content_of(store: &Store) -> Result<(Content, Option<String>), String> {
    let bounds = store.bounds();
    let read = store
        .read(0..u64::MAX, usize::MAX)
        .map_err(|e| e.to_string())?;
    let first = bounds.last.map_or(0, |last| last + 1 - read.len() as u64);
    let snapshot = match store.snapshots().latest() {
        None => None,
        Some(snapshot) => {
            let seed = String::from_utf8_lossy(&snapshot.meta)
                .parse()
                .map_err(|_| "meta")?;
            let body = snapshot.read_all().map_err(|e| e.to_string())?;
            if body != content(seed, 0, 50_000) {
                return Err("the snapshot is not what was written".into());
            }
            Some(seed)
        }
    };
    let found = Content {
        records: (first..).zip(read).collect(),
        purged: bounds.purged.map(|purged| purged.index),
        vote: store.vote(),
        snapshot,
    };
    let committed = store.committed();
    Ok((
        found,
        committed.map(|c| String::from_utf8_lossy(&c).into_owned()),
    ))
}
