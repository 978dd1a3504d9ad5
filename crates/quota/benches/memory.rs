//! What a state takes of memory, by holder: as many bytes as were asked of the allocator and not given back, when all
//! holders have come, and after so much load.
#![allow(clippy::expect_used, missing_docs)]

mod load;

use std::alloc::System;

use load::{Country, Shape, Wish};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Bytes of a country's state, by holder. They are those that are free once it is gone.
fn of(country: Country) -> usize {
    let Country { state, shape, .. } = country;
    let before = in_use();
    drop(state);
    (before - in_use()) / shape.holders
}

/// A country that has lived for so many seconds.
fn lived(
    mut country: Country,
    seconds: u64,
    mut next: impl FnMut(&mut Country) -> quota::Batch,
) -> Country {
    let until_ms = country.state.now_ms() + seconds * 1_000;
    while country.state.now_ms() < until_ms {
        let batch = next(&mut country);
        country.apply(&batch);
    }
    country
}

fn main() {
    println!("bytes a holder        after    0 s     60 s  3,600 s");
    for (pools, regions, holders) in [
        (1, 1, 10_000),
        (1, 18, 10_000),
        (100, 10, 10_000),
        (1, 18, 100_000),
    ] {
        let shape = Shape {
            pools,
            regions,
            holders,
        };
        let times = [0, 60, 3_600].map(|seconds| {
            if holders > 10_000 {
                seconds.min(60)
            } else {
                seconds
            }
        });
        let renewing = |seconds: u64| {
            of(lived(Country::new(shape, 60), seconds, |c| {
                c.renewals(Wish::Other)
            }))
        };
        let [first, minute, hour] = times.map(renewing);
        println!("{shape:>24}: renewing  {first:>6}   {minute:>6}   {hour:>6}");
        for buckets in [0, 8] {
            let reporting = |seconds: u64| {
                of(lived(Country::reporting(shape, 60), seconds.max(2), |c| {
                    c.reports(buckets)
                }))
            };
            let [first, minute] = [times[0], times[1]].map(reporting);
            println!(
                "{shape:>24}: reporting {first:>6}   {minute:>6}            {buckets} buckets"
            );
        }
    }
}
