//! A front-end: the real queue, and what of its keeper matters here: one request at a time, asked again
//! until it is answered; a grant is used until `sent + ttl x (1 - drift)` and no longer.

use std::time::Duration;

use client::queue::{Event, Grant, Queue, Settings};
use quota::{Command, LeaseId, Outcome, Refusal, Reply, Reported, Take};

use crate::preau::coordinator::POOL;
use crate::users::Ms;

/// The front-end's life: it has one.
const EPOCH: u64 = 1;

/// A front-end of a region.
#[derive(Debug)]
pub struct FrontEnd {
    /// Its queue.
    pub queue: Queue,
    /// Its region, by its place in the scenario.
    pub region: usize,
    /// Whether it runs: it has begun and was not killed.
    pub runs: bool,
    /// Whose places the queue keeps, by the queue's own index.
    pub users: Vec<u32>,
    /// When it reports, within the interval.
    pub phase: Ms,
    /// When it last did.
    pub reported: Ms,
    /// The request that is not answered yet.
    pub asked: Option<Asked>,
    /// Answers under way, by the request's number.
    pub answers: Vec<(u64, Outcome)>,
    /// The lease is used until then.
    pub deadline: Ms,
    /// When it looks at its queue next because it is somebody's turn.
    pub wakes: Ms,
    name: String,
    region_name: String,
    seq: u64,
    lease: Option<LeaseId>,
}

/// A request under way.
#[derive(Debug)]
pub struct Asked {
    /// Its number.
    pub seq: u64,
    /// What it says.
    pub command: Command,
    /// When it was first sent.
    pub sent: Ms,
}

/// A time as the queue takes it.
pub fn at(now: Ms) -> Duration {
    Duration::from_millis(now.into())
}

impl FrontEnd {
    /// One that does not run yet.
    pub fn new(
        name: String,
        region: usize,
        region_name: &str,
        phase: Ms,
        first: &[bool],
        seed: u64,
    ) -> Self {
        // Who falls silent is the replay's to say: a sign of each user every few seconds would be most of
        // its events.
        let settings = Settings {
            silence_s: None,
            ..Settings::default()
        };
        let mut queue = Queue::new(settings, seed);
        queue.set_classes(first.iter().copied());
        Self {
            queue,
            region,
            runs: false,
            users: Vec::new(),
            phase,
            reported: 0,
            asked: None,
            answers: Vec::new(),
            deadline: 0,
            wakes: 0,
            name,
            region_name: region_name.to_owned(),
            seq: 0,
            lease: None,
        }
    }

    /// The fingerprint of its tokens.
    pub fn issuer(&self) -> u32 {
        quota::issuer(&self.name, EPOCH)
    }

    /// Keeps in mind whose a place in the queue is.
    pub fn know(&mut self, index: u32, user: u32) {
        let index = index as usize;
        if self.users.len() <= index {
            self.users.resize(index + 1, u32::MAX);
        }
        self.users[index] = user;
    }

    /// Makes the next request: a report, or a take where there is no lease.
    pub fn ask(&mut self, now: Ms) -> &Asked {
        self.seq += 1;
        self.reported = now;
        let command = match self.lease {
            None => Command::Take(Take {
                pool: POOL.into(),
                region: self.region_name.clone().into(),
                holder: self.name.clone().into(),
                epoch: EPOCH,
                seq: self.seq,
                wanted: 0,
            }),
            Some(lease) => Command::ReportV2(self.queue.report(at(now)).of(lease, self.seq)),
        };
        self.asked.insert(Asked {
            seq: self.seq,
            command,
            sent: now,
        })
    }

    /// An answer has come, known by its request's number. Says whether another request should follow at once.
    pub fn answered(&mut self, now: Ms, is_it: impl Fn(u64) -> bool) -> bool {
        let Some(place) = self.answers.iter().position(|answer| is_it(answer.0)) else {
            return false;
        };
        let (seq, outcome) = self.answers.swap_remove(place);
        let Some(asked) = self.asked.take_if(|asked| asked.seq == seq) else {
            return false;
        };
        self.answers.clear();
        match outcome {
            Ok(Reply::Grant(grant)) => {
                self.lease = Some(grant.lease);
                true
            }
            Ok(Reply::Reported(reported)) => {
                self.granted(now, asked.sent, &reported);
                false
            }
            Ok(_) => false,
            Err(refusal) => {
                // The lease ran out while no node could be reached: another one is taken.
                debug_assert!(
                    matches!(
                        refusal,
                        Refusal::LeaseEnded { .. } | Refusal::NoSuchLease { .. }
                    ),
                    "{refusal}"
                );
                self.lease = None;
                self.queue.lose();
                true
            }
        }
    }

    fn granted(&mut self, now: Ms, sent: Ms, reported: &Reported) {
        let ttl = u128::from(reported.grant.ttl_ms);
        let good_ppm = 1_000_000 - u128::from(reported.grant.drift_ppm);
        self.deadline = sent + (ttl * good_ppm / 1_000_000) as Ms;
        self.queue
            .granted(at(now), at(self.deadline), &Grant::from(reported));
    }

    /// What has happened in the queue.
    pub fn events(&mut self) -> Vec<Event> {
        self.queue.events().collect()
    }
}
