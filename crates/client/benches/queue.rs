//! What a user costs a front-end: 12 million of them, in an hour, through one queue. `cargo bench -p client`
//! prints the nanoseconds of each step.
#![allow(missing_docs)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::queue::{Arrival, Event, Grant, Queue, Settings};
use quota::Admission;

const SECONDS: u32 = 3_600;
const A_SECOND: u32 = 12_000_000 / SECONDS;
/// Seated each second, of each class: fewer than arrive, so that the queue grows.
const SEATED: u32 = A_SECOND / CLASSES as u32 * 4 / 5;
const CLASSES: u8 = 3;
/// How long a session lasts.
const SESSION_S: u32 = 600;
const SLOTS: u64 = 10_000_000;

#[derive(Default)]
struct Took {
    steps: u64,
    time: Duration,
}

impl Took {
    fn of<R>(&mut self, steps: usize, run: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = run();
        self.time += start.elapsed();
        self.steps += steps as u64;
        result
    }

    fn print(&self, what: &str) {
        let each = self.time.as_nanos() as f64 / self.steps.max(1) as f64;
        println!("{what:<28} {:>12} {each:>9.0} ns each", self.steps);
    }
}

fn polls(queue: &mut Queue, now: Duration, ids: &[u64]) {
    for &id in ids {
        queue.poll(now, id);
    }
}

fn main() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.set_classes([true, false, false]);
    let (mut arrive, mut admit) = (Took::default(), Took::default());
    let (mut poll, mut leave, mut report) = (Took::default(), Took::default(), Took::default());
    let mut seated: VecDeque<Vec<u64>> = VecDeque::new();
    let late = Duration::from_secs(1_000_000);
    let grant = |second: u32, admit| Grant {
        slots: SLOTS,
        cluster_ms: u64::from(second) * 1_000,
        admit,
        ..Grant::default()
    };
    queue.granted(Duration::ZERO, late, &grant(0, Vec::new()));
    // The silent are dropped after a minute: so that those who wait are not, each polls every 50 seconds.
    let mut waiting: VecDeque<(u32, Vec<u64>)> = VecDeque::new();
    let mut most = 0;
    for second in 0..SECONDS {
        let now = Duration::from_secs(second.into());
        let came: Vec<u64> = arrive.of(A_SECOND as usize, || {
            let users = (0..A_SECOND).map(|n| queue.arrive(now, (n % u32::from(CLASSES)) as u8));
            let id = |arrival| match arrival {
                Arrival::Seated(user) | Arrival::Waiting(user, _) => user.id,
                Arrival::Refused(why) => unreachable!("{why}"),
            };
            users.map(id).collect()
        });
        waiting.push_back((second + 50, came));
        while waiting.front().is_some_and(|(due, _)| *due <= second) {
            let Some((_, mut ids)) = waiting.pop_front() else {
                break;
            };
            poll.of(ids.len(), || polls(&mut queue, now, &ids));
            ids.retain(|&id| queue.arrival(id).is_some());
            waiting.push_back((second + 50, ids));
        }
        report.of(1, || queue.report(now));
        let class = |class| Admission {
            class,
            users: SEATED,
            until_s: second,
            at_ms: 0,
        };
        let answer = grant(second, (0..CLASSES).map(class).collect());
        admit.of(SEATED as usize * usize::from(CLASSES), || {
            queue.granted(now, late, &answer)
        });
        let called: Vec<u64> = queue
            .events()
            .filter_map(|event| match event {
                Event::Called(user) => Some(user.id),
                _ => None,
            })
            .collect();
        poll.of(called.len(), || polls(&mut queue, now, &called));
        seated.push_back(called);
        if seated.len() > SESSION_S as usize
            && let Some(over) = seated.pop_front()
        {
            leave.of(over.len(), || {
                for id in over {
                    queue.leave(now, id);
                }
            });
        }
        most = most.max(queue.waiting());
    }
    println!("12 million users in an hour; {most} waited at the most\n");
    arrive.print("arrive");
    admit.print("admit");
    poll.print("poll");
    leave.print("leave");
    report.print("report");
}
