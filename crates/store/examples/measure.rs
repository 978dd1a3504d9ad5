//! What the store does on this disk: `cargo run --release -p store --example measure -- DIRECTORY [SECONDS]`
//!
//! Prints entries per second and latency for several sizes of batch, one in flight at a time; the time to
//! reopen; and the bytes on the disk for each byte appended. With seconds, it appends, snapshots and purges
//! for so long instead, and prints what disk and memory that takes.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Done, ENTRY_OVERHEAD, Failure, Options, Store};

const ENTRY_BYTES: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("expected a directory")?;
    let dir = Path::new(&dir);
    if let Some(seconds) = std::env::args().nth(2) {
        return soak(&dir.join("soak"), Duration::from_secs(seconds.parse()?));
    }
    for batch in [1, 16, 256] {
        throughput(&dir.join(format!("batch-{batch}")), batch)?;
    }
    for (size, entries) in [
        (8, 100_000),
        (200, 100_000),
        (4 << 10, 15_000),
        (256 << 10, 240),
    ] {
        amplification(&dir.join(format!("size-{size}")), size, entries)?;
    }
    Ok(())
}

fn wait(ask: impl FnOnce(Done)) -> Result<(), Failure> {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| drop(told.send(result))));
    answer.recv().unwrap_or(Ok(()))
}

fn throughput(dir: &Path, batch: usize) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(dir, 1, Options::default())?;
    let entry = Bytes::from(vec![7; ENTRY_BYTES]);
    let mut took = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let next = store.bounds().last.map_or(0, |last| last + 1);
        let sent = Instant::now();
        wait(|done| store.append(next, vec![entry.clone(); batch], done))?;
        took.push(sent.elapsed());
    }
    let per_second = (took.len() * batch) as f64 / began.elapsed().as_secs_f64();
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!(
        "batches of {batch}: {per_second:.0} entries/s, p50 {:?}, p99 {:?}, p99.9 {:?}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    Ok(())
}

fn amplification(dir: &Path, size: usize, entries: u64) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(dir, 1, Options::default())?;
    let entry = Bytes::from(vec![7; size]);
    let began = Instant::now();
    let batch = 65_536_usize.div_ceil(size) as u64;
    for first in (0..entries).step_by(batch as usize) {
        let n = batch.min(entries - first) as usize;
        wait(|done| store.append(first, vec![entry.clone(); n], done))?;
    }
    let wrote = began.elapsed();
    let disk = store.disk_bytes();
    store.close();
    drop(store);
    let began = Instant::now();
    let store = Store::open(dir, 1, Options::default())?;
    let opened = began.elapsed();
    let payload = size as u64 * entries;
    println!(
        "{entries} entries of {size} bytes: written in {wrote:?}, {} MiB on disk, {:.2} per byte ({:.2} of what \
         they count for); reopened and checked in {opened:?}, {} MiB then",
        disk >> 20,
        disk as f64 / payload as f64,
        disk as f64 / (payload + entries * ENTRY_OVERHEAD) as f64,
        store.disk_bytes() >> 20
    );
    Ok(())
}

/// Keeps the latest 100,000 entries and a snapshot of 10 MB for every 50,000, as a node does.
fn soak(dir: &Path, long: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(dir, 1, Options::default())?;
    let entry = Bytes::from(vec![7; ENTRY_BYTES]);
    let (began, mut said, mut snapshot) = (Instant::now(), Instant::now(), 0);
    let mut next = store.bounds().last.map_or(0, |last| last + 1);
    while began.elapsed() < long {
        wait(|done| store.append(next, vec![entry.clone(); 64], done))?;
        next += 64;
        if next >= snapshot + 50_000 {
            snapshot = next;
            let mut writer = store.snapshots().begin(Bytes::from_static(b"meta"))?;
            writer.write(&vec![7; 10 << 20])?;
            writer.finish()?;
            if let Some(upto) = next.checked_sub(100_000) {
                wait(|done| store.purge(upto, Bytes::new(), done))?;
            }
        }
        if said.elapsed() > Duration::from_secs(5) {
            said = Instant::now();
            let status = std::fs::read_to_string("/proc/self/status")?;
            let memory = status.lines().find(|line| line.starts_with("VmRSS"));
            let disk = store.disk_bytes() >> 20;
            println!(
                "{next} entries, {disk} MiB on disk, {}",
                memory.unwrap_or_default()
            );
        }
    }
    Ok(())
}
