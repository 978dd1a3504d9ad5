//! What it costs to hold a request to the rates: of addresses that are within them and of one that is not, alone and
//! by two threads.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gate::untrusted::{Limits, Rates};

/// Addresses that come in turns.
const ADDRESSES: u32 = 1 << 20;
const THREADS: u64 = 2;

fn address(number: u64) -> IpAddr {
    // Spread over networks, as addresses are.
    let mixed = (number as u32 % ADDRESSES).wrapping_mul(2_654_435_761);
    Ipv4Addr::from_bits(mixed).into()
}

fn fresh(c: &mut Criterion) {
    let mut group = c.benchmark_group("fresh");
    group.throughput(Throughput::Elements(1));
    let limits = Limits::new(&Rates::default());
    let began = Instant::now();
    let mut number = 0;
    group.bench_function("many addresses", |bencher| {
        bencher.iter(|| {
            number += 1;
            limits.fresh(black_box(address(number)), began.elapsed())
        });
    });
    group.bench_function("one that floods", |bencher| {
        bencher.iter(|| limits.fresh(black_box(address(7)), began.elapsed()));
    });
    group.bench_function("a ticket", |bencher| {
        let ticket = "EQ".repeat(50);
        bencher.iter(|| limits.poll(black_box(&ticket), began.elapsed()));
    });
    for (name, apart) in [
        ("two threads, many addresses", ADDRESSES / 2),
        ("two threads, one", 0),
    ] {
        group.throughput(Throughput::Elements(THREADS));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| together(&limits, times, apart.into(), began));
        });
    }
    group.finish();
}

/// How long threads take that each ask so often at the same time.
fn together(limits: &Limits, times: u64, apart: u64, began: Instant) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..times {
                    let number = if apart == 0 {
                        7
                    } else {
                        number + thread * apart
                    };
                    let _ = limits.fresh(black_box(address(number)), began.elapsed());
                }
            });
        }
    });
    start.elapsed()
}

criterion_group!(benches, fresh);
criterion_main!(benches);
