//! Who asks: holders that keep their side of the protocol, and an operator.

use check::history::{Answer, Call, Operation, Record};

use super::{Bug, CAPACITY, MS, POOL, TTL_MS, configure, uses};

pub struct Client {
    name: String,
    operator: bool,
    pub next_ms: u64,
    epoch: u64,
    seq: u64,
    lease: Option<Lease>,
    /// The last request, until its outcome is known: what, when it was first sent, and how often.
    last: Option<(Call, u64, u64)>,
    /// True milliseconds in which this holder's clock counts a million: 1,000,000 give or take.
    per_million: u64,
    asked: u64,
    /// The last request that was answered, which is sent again now and then.
    answered: Option<Call>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    slots: u64,
    target: u64,
    until_ns: u64,
}

impl Client {
    pub fn holder(at: usize, random: &mut fastrand::Rng) -> Self {
        Self {
            name: format!("portal-{at}"),
            operator: false,
            next_ms: random.u64(1..200),
            epoch: 1,
            seq: 0,
            lease: None,
            last: None,
            per_million: random.u64(996_000..1_004_000),
            asked: 0,
            answered: None,
        }
    }

    pub fn operator(at: usize) -> Self {
        let random = &mut fastrand::Rng::with_seed(0);
        Self {
            operator: true,
            name: "operator".into(),
            ..Self::holder(at, random)
        }
    }

    /// What it asks now, and how often it has asked it before.
    pub fn ask(
        &mut self,
        now_ms: u64,
        stopping: bool,
        random: &mut fastrand::Rng,
        history: &mut Vec<Record>,
    ) -> Option<(Call, u64)> {
        self.next_ms = now_ms + random.u64(50..350);
        let again = self
            .answered
            .take()
            .filter(|_| !stopping && random.u32(0..10) == 0);
        if let Some(call) = again.filter(|_| self.last.is_none()) {
            return Some((call, 1));
        }
        if self.operator {
            return Some(self.operate(stopping, random));
        }
        if let Some((call, _, attempts)) = &mut self.last
            && random.u32(0..10) < 7
            && !stopping
        {
            *attempts += 1;
            return Some((call.clone(), *attempts));
        }
        // Given up: what it asked may have been done or not, and what it said it gives back is gone.
        self.last = None;
        if random.u32(0..25) == 0 {
            self.crash(now_ms, history);
        }
        // Every number is a new one, however often the one before was sent.
        self.seq += 10;
        let seq = self.seq;
        let wanted = random.u64(0..CAPACITY);
        let call = match self.lease {
            Some(lease) if stopping || random.u32(0..12) == 0 => {
                uses(history, &self.name, lease.id, now_ms, 0, 0);
                self.lease = None;
                Call::Return {
                    pool: POOL.into(),
                    lease: lease.id,
                    seq,
                }
            }
            _ if stopping => return None,
            Some(lease) if random.u32(0..8) > 0 => {
                // Comes down to its target now and then, and by chance.
                let kept = match random.u32(0..3) {
                    0 => lease.slots.min(lease.target),
                    1 => random.u64(0..=lease.slots),
                    _ => lease.slots,
                };
                self.cap(kept, now_ms, history);
                Call::Renew {
                    pool: POOL.into(),
                    lease: lease.id,
                    seq,
                    kept,
                    wanted,
                }
            }
            _ => Call::Take {
                pool: POOL.into(),
                region: "corse".into(),
                holder: self.name.clone(),
                epoch: self.epoch,
                seq,
                wanted,
            },
        };
        self.last = Some((call.clone(), now_ms, 0));
        Some((call, 0))
    }

    fn operate(&mut self, stopping: bool, random: &mut fastrand::Rng) -> (Call, u64) {
        if let Some((call, _, attempts)) = &mut self.last
            && !stopping
        {
            *attempts += 1;
            return (call.clone(), *attempts);
        }
        self.asked += 1;
        let (pool, stale) = (POOL.to_owned(), false);
        let request_id = format!("request-{}", self.asked);
        let call = match random.u32(0..12) {
            _ if stopping => Call::Inspect { pool, stale },
            0..4 => Call::Inspect { pool, stale },
            4..7 => Call::Leases { pool, stale },
            7..9 => Call::Budget { stale },
            9 => Call::RemoveHolder {
                request_id,
                pool: Some(pool).filter(|_| random.bool()),
                holder: format!("portal-{}", random.u32(0..4)),
            },
            _ => configure(&request_id, CAPACITY - random.u64(0..6)),
        };
        self.last = Some((call.clone(), 0, 0));
        (call, 0)
    }

    /// From before it says so it uses no more than this.
    fn cap(&mut self, kept: u64, now_ms: u64, history: &mut Vec<Record>) {
        if let Some(lease) = &mut self.lease {
            lease.slots = kept;
            uses(history, &self.name, lease.id, now_ms, kept, lease.until_ns);
        }
    }

    /// Dies, and comes up again as another life.
    fn crash(&mut self, now_ms: u64, history: &mut Vec<Record>) {
        if let Some(lease) = self.lease.take() {
            uses(history, &self.name, lease.id, now_ms, 0, 0);
        }
        (self.epoch, self.seq) = (self.epoch + 1, 0);
    }

    /// Hears what came of its last request.
    pub fn hear(
        &mut self,
        operation: &Operation,
        now_ms: u64,
        bug: Bug,
        random: &mut fastrand::Rng,
        history: &mut Vec<Record>,
    ) {
        let Some((_, first_sent_ms, _)) = self.last.clone().filter(|(c, ..)| *c == operation.call)
        else {
            return;
        };
        match &operation.answer {
            Answer::Unknown(_) => {
                self.next_ms = now_ms + random.u64(1..50);
                return;
            }
            Answer::Granted(granted) if !self.operator => {
                let margin = TTL_MS * u64::from(granted.drift_ppm) / 1_000_000;
                let (sent_ms, lasts_ms) = match bug {
                    Bug::CountFromTheAnswer => (now_ms, TTL_MS + 300),
                    _ => (first_sent_ms, TTL_MS - margin),
                };
                let until_ns = sent_ms * MS + lasts_ms * self.per_million;
                if let Some(before) = self.lease.filter(|lease| lease.id != granted.lease) {
                    uses(history, &self.name, before.id, now_ms, 0, 0);
                }
                self.lease = Some(Lease {
                    id: granted.lease,
                    slots: granted.slots,
                    target: granted.target,
                    until_ns,
                });
                uses(
                    history,
                    &self.name,
                    granted.lease,
                    now_ms,
                    granted.slots,
                    until_ns,
                );
            }
            Answer::Refused(_) if !self.operator => {
                if let Some(lease) = self.lease.take() {
                    uses(history, &self.name, lease.id, now_ms, 0, 0);
                }
                if operation_is_stale(&operation.answer) {
                    self.crash(now_ms, history);
                }
            }
            _ => {}
        }
        self.last = None;
        self.answered = Some(operation.call.clone());
    }
}

fn operation_is_stale(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(refused) if refused.reason == "STALE_SEQ")
}
