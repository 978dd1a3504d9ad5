//! What the rules cost, by how many holders, pools and regions there are. A figure is the time of one batch; its
//! throughput is in commands.
#![allow(clippy::expect_used, missing_docs)]

mod load;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use load::{Country, GROUP, Shape, Wish, configure, set_pool, set_region, shapes};
use quota::{Batch, Change, Command, SetPool, State};

/// Slots for each holder, which wants 1 to 200: for what all want, and for some of it.
const ENOUGH: u64 = 300;
const SHORT: u64 = 60;

/// Measures batches one after the other on one country, without what it takes to make them.
fn batches(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: impl std::fmt::Display,
    country: impl Fn() -> Country,
    next: impl Fn(&mut Country) -> Batch,
) {
    let mut made = None;
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        let country = made.get_or_insert_with(&country);
        let mut once = || {
            let batch = next(country);
            country.apply(&batch)
        };
        bencher.iter_custom(|batches| calm((0..batches).map(|_| once()).collect()));
    });
}

/// What all came to, by the mean of those that are not the slowest twentieth: in these something else ran meanwhile.
fn calm(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    let calm = &all[..all.len() - all.len() / 20];
    let mean = calm.iter().sum::<Duration>().as_secs_f64() / calm.len() as f64;
    Duration::from_secs_f64(mean * all.len() as f64)
}

/// So many commands are in each batch.
fn throughput(shape: Shape) -> Throughput {
    Throughput::Elements(shape.holders.min(GROUP) as u64)
}

fn renew(c: &mut Criterion) {
    let kinds = [
        ("renew, the same", SHORT, Wish::Same),
        ("renew, something else", SHORT, Wish::Other),
        ("renew, where there is enough", ENOUGH, Wish::Other),
    ];
    for (name, capacity, wish) in kinds {
        let mut group = c.benchmark_group(name);
        for shape in shapes() {
            group.throughput(throughput(shape));
            let country = || Country::new(shape, capacity);
            batches(&mut group, shape, country, |country| country.renewals(wish));
        }
    }
}

fn turnover(c: &mut Criterion) {
    let mut group = c.benchmark_group("return, take");
    for shape in shapes() {
        // Two for each holder, which has to be there.
        group.throughput(Throughput::Elements(GROUP.min(2 * shape.holders) as u64));
        let country = || Country::new(shape, SHORT);
        batches(&mut group, shape, country, Country::turnover);
    }
}

fn report(c: &mut Criterion) {
    let mut group = c.benchmark_group("report, 8 buckets");
    for shape in shapes() {
        group.throughput(throughput(shape));
        let country = || Country::reporting(shape, SHORT);
        batches(&mut group, shape, country, |country| country.reports(8));
    }
    group.finish();
    let mut group = c.benchmark_group("report, 1,000 holders, 1x18");
    let shape = Shape {
        pools: 1,
        regions: 18,
        holders: 1_000,
    };
    for buckets in [0, 8, 64, 128] {
        group.throughput(throughput(shape));
        let country = || Country::reporting(shape, SHORT);
        let name = format!("{buckets} buckets");
        batches(&mut group, name, country, |country| {
            country.reports(buckets)
        });
    }
}

/// One renewal, after which a pool is shared anew among its regions.
fn round(c: &mut Criterion) {
    let mut group = c.benchmark_group("sharing round");
    for regions in [1, 18, 100, 1_000, 4_096] {
        let shape = Shape {
            pools: 1,
            regions,
            holders: regions,
        };
        let mut country = Country::new(shape, SHORT);
        let lasting = Change::SetPool(SetPool {
            name: "pool-00".into(),
            capacity: SHORT * regions as u64,
            ttl_ms: Some(3_600_000),
            drift_ppm: None,
        });
        configure(&mut country.state, &[lasting]);
        let mut all = Vec::new();
        while all.len() < regions {
            let batch = country.renewals(Wish::Same);
            country.apply(&batch);
            all.extend(batch.commands);
        }
        let (mut time_ms, mut i) = (country.state.now_ms(), 0);
        group.bench_function(BenchmarkId::from_parameter(regions), |bencher| {
            bencher.iter_custom(|rounds| {
                let took = (0..rounds)
                    .map(|_| {
                        let Command::Renew(renew) = &mut all[i % regions] else {
                            unreachable!("renewals alone")
                        };
                        // One slot more or less, so that something has changed; none of them is kept.
                        (renew.seq, renew.kept) = (renew.seq + 1, 0);
                        renew.wanted ^= 1;
                        time_ms += 100;
                        let commands = vec![all[i % regions].clone()];
                        i += 1;
                        let batch = Batch { time_ms, commands };
                        let began = std::time::Instant::now();
                        let outcomes = country.state.apply(&batch);
                        let took = began.elapsed();
                        assert!(outcomes[0].is_ok());
                        took
                    })
                    .collect();
                calm(took)
            });
        });
    }
}

fn nothing(c: &mut Criterion) {
    let mut group = c.benchmark_group("empty batch, by pools");
    for pools in [1, 100, 1_024] {
        let mut state = State::default();
        let names = (0..pools).map(|pool| format!("pool-{pool}"));
        let changes = names.flat_map(|pool| [set_pool(&pool, 1), set_region(&pool, "region")]);
        configure(&mut state, &changes.collect::<Vec<_>>());
        group.bench_function(BenchmarkId::from_parameter(pools), |bencher| {
            bencher.iter(|| {
                let time_ms = state.now_ms() + 1;
                let commands = Vec::new();
                black_box(state.apply(&Batch { time_ms, commands }))
            });
        });
    }
}

fn codec(c: &mut Criterion) {
    let shape = Shape {
        pools: 1,
        regions: 18,
        holders: 100_000,
    };
    let batches = [
        ("renewals", Country::new(shape, SHORT).renewals(Wish::Other)),
        ("returns and takes", Country::new(shape, SHORT).turnover()),
        ("reports", Country::reporting(shape, SHORT).reports(8)),
    ];
    for (name, batch) in &batches {
        let mut group = c.benchmark_group(format!("codec, {GROUP} {name}"));
        group.throughput(Throughput::Elements(batch.commands.len() as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| black_box(batch).encode().expect("it fits"));
        });
        let bytes = batch.encode().expect("it fits");
        group.bench_function("decode", |bencher| {
            bencher.iter(|| Batch::decode(black_box(&bytes)).expect("it was encoded"));
        });
    }
}

fn snapshot(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot of 100,000 holders, 100x10");
    let shape = Shape {
        pools: 100,
        regions: 10,
        holders: 100_000,
    };
    let country = Country::new(shape, SHORT);
    let bytes = country.state.snapshot();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| black_box(&country.state).snapshot());
    });
    group.bench_function("read", |bencher| {
        bencher.iter_with_large_drop(|| State::restore(black_box(&bytes)).expect("it was written"));
    });
}

criterion_group! {
    name = apply;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = renew, turnover, report, round, nothing, codec, snapshot
}
criterion_main!(apply);
