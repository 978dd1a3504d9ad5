//! What a seat costs: taken and given back at once, by more and more threads. `cargo bench -p client --bench seat`
//! prints the time that each thread takes for one, and how many all of them take in a second.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::Seats;
use client::clock;
use client::untrusted::Ledger;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
const SLOTS: u64 = 1_000;

/// From when the first of the threads begins until the last has ended.
fn together(threads: usize, rounds: u64, seats: &Seats) -> Duration {
    let ready = AtomicUsize::new(0);
    let one = || {
        let seats = seats.clone();
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < threads {
            std::thread::yield_now();
        }
        let began = Instant::now();
        for _ in 0..rounds {
            drop(black_box(seats.try_seat()));
        }
        (began, Instant::now())
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().filter_map(|one| one.join().ok()).collect()
    });
    let began = times.iter().map(|(began, _)| *began).min();
    let ended = times.iter().map(|(_, ended)| *ended).max();
    began
        .zip(ended)
        .map_or(Duration::ZERO, |(began, ended)| ended - began)
}

fn group(criterion: &mut Criterion, name: &str, ledger: Ledger, taken: u64) {
    let ledger = Arc::new(ledger);
    ledger.open(SLOTS, Duration::MAX);
    let seats = Seats::of(ledger);
    let held: Vec<_> = (0..taken).map_while(|_| seats.try_seat()).collect();
    let mut group = criterion.benchmark_group(name);
    for threads in THREADS {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|rounds| together(threads, rounds, &seats));
        });
    }
    group.finish();
    drop(held);
}

fn seats(criterion: &mut Criterion) {
    criterion.bench_function("clock", |bencher| bencher.iter(clock::now));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    group(criterion, "admitted", Ledger::for_threads(cores), 0);
    group(criterion, "refused", Ledger::for_threads(cores), SLOTS);
    // As a front-end with a queue has it, and one with a single core.
    group(criterion, "admitted by one word", Ledger::default(), 0);
    group(criterion, "refused by one word", Ledger::default(), SLOTS);
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = seats
);
criterion_main!(benches);
