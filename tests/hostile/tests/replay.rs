//! What the fuzzer found that mattered, and some thousands of changes of it, run again.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hostile::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most bytes that any one input may make a target hold.
const MOST_BYTES: usize = 96 << 20;
/// Longest time that one input may take, on a slow machine.
const LONGEST: Duration = Duration::from_secs(5);
/// Most bytes of a target's corpus, and of its largest file.
const CORPUS_BYTES: usize = 96 << 10;
const INPUT_BYTES: usize = 32 << 10;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target.name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(target: &Target, data: &[u8]) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let began = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
    let (took, held) = (began.elapsed(), MEMORY.peak_usage().saturating_sub(before));
    let input = || match data.len() {
        0..=300 => format!("{} with {:?}", target.name, data.escape_ascii().to_string()),
        len => format!(
            "{} with {len} bytes that begin {:?}",
            target.name,
            data[..300].escape_ascii().to_string()
        ),
    };
    assert!(ran.is_ok(), "{} panicked", input());
    assert!(took <= LONGEST, "{} took {took:?}", input());
    assert!(held <= MOST_BYTES, "{} held {held} bytes", input());
}

/// Some bytes changed, taken out, put in, or taken from another input.
fn changed(random: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=data.len());
        match random.u8(..5) {
            0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
            1 if at < data.len() => data[at] = random.u8(..),
            2 => drop(data.drain(at..data.len().min(at + random.usize(..9)))),
            3 => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..=other.len());
                let piece = &other[from..other.len().min(from + random.usize(..65))];
                data.splice(at..at, piece.iter().copied());
            }
            _ => {
                let odd = [
                    &[0xff; 10][..],
                    &[0; 4],
                    &[0xff, 0xff, 0xff, 0x7f],
                    b"-1",
                    b"18446744073709551615",
                ];
                data.splice(at..at, odd[random.usize(..odd.len())].iter().copied());
            }
        }
    }
    data.truncate(INPUT_BYTES);
    data
}

/// One test for all: what is held is measured over the whole process.
#[test]
fn every_target_takes_its_corpus_and_changes_of_it() {
    for target in TARGETS {
        let corpus = corpus(target);
        let bytes: usize = corpus.iter().map(Vec::len).sum();
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        assert!(
            bytes <= CORPUS_BYTES,
            "the corpus of {} has {bytes} bytes",
            target.name
        );
        for data in &corpus {
            assert!(
                data.len() <= INPUT_BYTES,
                "{}: {} bytes",
                target.name,
                data.len()
            );
            run(target, data);
        }
        run(target, &[]);
        let mut random = Rng::with_seed(1);
        for _ in 0..target.changes {
            run(target, &changed(&mut random, &corpus));
        }
        println!(
            "{}: {} inputs, {} changes of them",
            target.name,
            corpus.len(),
            target.changes
        );
    }
}

#[test]
fn every_target_can_be_fuzzed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{}\"", target.name)),
            "{}",
            target.name
        );
        let path = fuzz.join(format!("fuzz_targets/{}.rs", target.name));
        let code = fs::read_to_string(&path).unwrap();
        assert!(
            code.contains(&format!("hostile::{}", target.name)),
            "{code}"
        );
    }
}
