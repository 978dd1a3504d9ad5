//! The load: a process that uses a store in every way, and writes down what it asks and what it is told.
//!
//! A line that begins with a letter is written before something is asked, and `k` and its number after it
//! was acknowledged. Requests are carried out in the order of their numbers, snapshots aside.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use store::{Done, Options, Store};

/// A generator that gives the same numbers for the same seed, everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The bytes that `seed` stands for, less than `most`.
pub fn content(seed: u64, index: u64, most: u64) -> Bytes {
    let mut random = Random(seed ^ index.rotate_left(32));
    let length = random.below(most);
    let mut bytes: Vec<u8> = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes.into()
}

/// How much of what to do.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Short segments, with roll-overs, purges, truncations, votes and snapshots all the time.
    Short,
    /// A long segment, in which sled's own cleaning comes to work.
    Long,
}

impl Kind {
    pub fn options(self) -> Options {
        Options {
            segment_bytes: match self {
                Self::Short => 128 << 10,
                Self::Long => 64 << 20,
            },
            segment_entries: match self {
                Self::Short => 60,
                Self::Long => 1_000_000,
            },
            cache_bytes: 8 << 10,
            ..Options::default()
        }
    }
}

struct Recorder {
    file: File,
    number: AtomicU64,
    in_flight: Mutex<u64>,
    landed: Condvar,
}

impl Recorder {
    /// One line is one write.
    fn line(&self, line: String) {
        (&self.file).write_all(line.as_bytes()).unwrap();
    }

    /// Writes down a request, and gives what to call when it is acknowledged.
    fn ask(self: &Arc<Self>, what: &str, of: &str) -> Done {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.line(format!("{what} {number} {of}\n"));
        *self.in_flight.lock().unwrap() += 1;
        let recorder = self.clone();
        Box::new(move |result| {
            if result.is_ok() {
                recorder.line(format!("k {number}\n"));
            }
            *recorder.in_flight.lock().unwrap() -= 1;
            recorder.landed.notify_all();
        })
    }

    fn wait(&self, most: u64) {
        let mut in_flight = self.in_flight.lock().unwrap();
        while *in_flight > most {
            in_flight = self.landed.wait(in_flight).unwrap();
        }
    }
}

/// Uses the store in `dir`, which goes on with request `number`, for `steps` steps. Ends without closing it.
pub fn run(dir: &Path, history: &Path, kind: Kind, seed: u64, number: u64, steps: u64) {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(history)
        .unwrap();
    let recorder = Arc::new(Recorder {
        file,
        number: AtomicU64::new(number),
        in_flight: Mutex::new(0),
        landed: Condvar::new(),
    });
    let store = Store::open(dir, 1, kind.options()).unwrap();
    let mut random = Random(seed);
    for _ in 0..steps {
        step(&store, &recorder, kind, &mut random);
        if store.failure().is_some() {
            return;
        }
    }
    recorder.wait(0);
}

fn step(store: &Store, recorder: &Arc<Recorder>, kind: Kind, random: &mut Random) {
    let bounds = store.bounds();
    let start = bounds.purged.map_or(0, |purged| purged.index + 1);
    let end = bounds.last.map_or(start, |last| last + 1);
    let seed = random.next() >> 1;
    let rare = match kind {
        Kind::Short => 1,
        Kind::Long => 40,
    };
    match random.below(40 * rare) {
        0 | 1 if end > start => {
            let most = if random.one_in(3) { 100 } else { 8 };
            let back = random.below(most);
            let keep = end.saturating_sub(back).max(start);
            let done = recorder.ask("t", &keep.to_string());
            store.truncate_after(keep.checked_sub(1), done);
        }
        // Most leave a few segments; some go past the end, as a snapshot from the leader does.
        2 | 3 => {
            let upto = match random.below(8) {
                0 => end + random.below(20),
                _ => end.saturating_sub(100 + random.below(100)),
            };
            let done = recorder.ask("p", &upto.to_string());
            store.purge(upto, Bytes::from(upto.to_string()), done);
        }
        4 | 5 => {
            let done = recorder.ask("v", &seed.to_string());
            store.save_vote(content(seed, 0, 60), done);
        }
        6 => {
            let done = recorder.ask("s", &seed.to_string());
            let meta = Bytes::from(seed.to_string());
            let written = store.snapshots().begin(meta).and_then(|mut writer| {
                writer.write(&content(seed, 0, 50_000))?;
                writer.finish()
            });
            done(written.map(drop));
        }
        7..=9 => {
            recorder.wait(0);
            if let Some(last) = store.bounds().last {
                recorder.line(format!("c {last}\n"));
                store.save_committed(Bytes::from(last.to_string())).unwrap();
            }
        }
        _ => {
            let (n, most) = match kind {
                Kind::Short if random.one_in(12) => (1 + random.below(3), 60_000),
                Kind::Short => (1 + random.below(12), 300),
                // More than the journal holds.
                Kind::Long if random.one_in(60) => (4, 2_500_000),
                // More than is ever written between two syncs.
                Kind::Long if random.one_in(12) => (1 + random.below(4), 400_000),
                Kind::Long if random.one_in(8) => (1 + random.below(400), 2_000),
                Kind::Long => (1 + random.below(60), 1_000),
            };
            let done = recorder.ask("a", &format!("{end} {n} {seed} {most}"));
            let records = (end..end + n).map(|i| content(seed, i, most)).collect();
            store.append(end, records, done);
        }
    }
    recorder.wait(random.below(6));
}
