//! Commands made up from bytes, and what must hold after each.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use quota::limits::MAX_SLOTS;
use quota::{
    Action, Batch, Bucket, CalendarEntry, Change, Class, Command, Configure, Due, LeaseId, Mode,
    Reclaim, RemoveHolder, Renew, Reply, Report, Return, Rules, SessionRules, SetPool, SetRegion,
    State, Take, TokenClaim, When,
};

use crate::{messages, snapshot};

/// Most commands of one run.
const STEPS: usize = 300;
const POOLS: [&str; 2] = ["ent", "cned"];
const REGIONS: [&str; 3] = ["normandie", "bretagne", "corse"];
const HOLDERS: [&str; 4] = ["a", "b", "c", "d"];

pub fn commands(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let mut run = Run::default();
    run.apply(set_up());
    for _ in 0..STEPS {
        if data.is_empty() || run.step(&mut data).is_err() {
            break;
        }
    }
    run.end();
}

#[derive(Default)]
struct Run {
    state: State,
    log: Vec<Batch>,
    leases: Vec<LeaseId>,
    requests: u64,
    seq: u64,
    /// Where the state was once restored from its snapshot: it goes on beside the other.
    restored: Option<State>,
}

fn set_up() -> Command {
    let mut changes = Vec::new();
    for pool in POOLS {
        changes.push(Change::SetPool(SetPool {
            name: pool.into(),
            capacity: 100,
            ttl_ms: None,
            drift_ppm: None,
        }));
        changes.extend(REGIONS.map(|region| {
            Change::SetRegion(SetRegion {
                pool: pool.into(),
                name: region.into(),
                nominal: 20,
                ceiling: None,
                weight: 1,
            })
        }));
    }
    Command::Configure(Configure {
        request_id: "set-up".into(),
        expected_revision: None,
        changes,
    })
}

impl Run {
    fn step(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match data.int_in_range(0..=15)? {
            0 => self.wait(data.arbitrary::<u16>()?.into()),
            1 => self.wait(data.arbitrary::<u32>()?.into()),
            2 => self.wait(data.int_in_range(0..=1_500)?),
            3 => {
                let again = State::restore(&self.state.snapshot());
                self.restored = Some(again.expect("what was written can be read"));
            }
            4 => {
                let count = self.log.len();
                let before = self.log[data.int_in_range(0..=count - 1)?].commands.clone();
                before.into_iter().for_each(|command| self.apply(command));
            }
            _ => {
                let command = self.command(data)?;
                self.apply(command);
            }
        }
        Ok(())
    }

    fn wait(&mut self, ms: u64) {
        let time_ms = self.state.now_ms().saturating_add(ms);
        self.batch(Batch {
            time_ms,
            commands: Vec::new(),
        });
    }

    fn apply(&mut self, command: Command) {
        let time_ms = self.state.now_ms();
        let commands = vec![command];
        self.batch(Batch { time_ms, commands });
    }

    fn batch(&mut self, batch: Batch) {
        let before = out(&self.state);
        let bytes = batch.encode().expect("within its bounds");
        let batch = Batch::decode(&bytes).expect("what was written can be read");
        let outcomes = self.state.apply(&batch);
        if let Some(restored) = &mut self.restored {
            assert_eq!(
                restored.apply(&batch),
                outcomes,
                "restored, it answers otherwise"
            );
        }
        for outcome in outcomes {
            if let Ok(Reply::Grant(grant)) = &outcome
                && !self.leases.contains(&grant.lease)
            {
                self.leases.push(grant.lease);
            }
            messages::answer(outcome, &self.state);
        }
        self.log.push(batch);
        self.check(&before);
    }

    /// Never over budget: where a capacity was lowered, at least no slot comes on top.
    fn check(&self, before: &BTreeMap<String, u64>) {
        let now = out(&self.state);
        for pool in self.state.pools() {
            let before = before.get(&pool.name).copied().unwrap_or(0);
            let (out, most) = (now[&pool.name], before.max(pool.capacity));
            assert!(out <= most, "{out} of {most}: {pool:?}");
            let regions = self.state.regions(&pool.name);
            let leases = self.state.leases(&pool.name, None, None, None, usize::MAX);
            assert_eq!(regions.iter().map(|r| r.held).sum::<u64>(), pool.held);
            assert_eq!(leases.iter().map(|l| l.slots).sum::<u64>(), pool.held);
            assert_eq!(leases.len() as u64, pool.leases);
            for lease in leases {
                assert!(lease.expires_ms > self.state.now_ms(), "{lease:?}");
            }
        }
    }

    fn end(mut self) {
        let bytes = self.state.snapshot();
        snapshot::round_trip(&self.state);
        let mut replayed = State::default();
        for batch in &self.log {
            replayed.apply(batch);
        }
        assert_eq!(replayed.snapshot(), bytes, "replayed, it is another");
        if let Some(restored) = &self.restored {
            assert_eq!(restored.snapshot(), bytes, "restored, it is another");
        }
        messages::views(&self.state);
        // All runs out.
        self.wait(2 * quota::limits::TTL_MS.end());
        for pool in self.state.pools() {
            assert_eq!(pool.held, 0, "slots that nobody gives back: {pool:?}");
        }
    }

    fn command(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<Command> {
        self.seq += 1;
        Ok(match data.int_in_range(0..=15)? {
            0..=3 => Command::Take(Take {
                pool: name(data, &POOLS)?.into(),
                region: name(data, &REGIONS)?.into(),
                holder: name(data, &HOLDERS)?.into(),
                epoch: data.int_in_range(1..=3)?,
                seq: self.seq,
                wanted: slots(data)?,
            }),
            4..=5 => Command::Renew(Renew {
                lease: self.lease(data)?,
                seq: self.seq,
                kept: slots(data)?,
                wanted: slots(data)?,
            }),
            6 => Command::Return(Return {
                lease: self.lease(data)?,
                seq: self.seq,
            }),
            7..=8 => Command::Report(self.report(data)?),
            9..=10 => Command::ReportV2(self.report(data)?),
            11 => Command::RemoveHolder(RemoveHolder {
                request_id: self.request(),
                holder: name(data, &HOLDERS)?,
                pool: match data.arbitrary()? {
                    true => Some(name(data, &POOLS)?),
                    false => None,
                },
            }),
            12 => Command::Due(Due {
                pool: name(data, &POOLS)?,
                entry: "entry".into(),
                occurrence_s: data.arbitrary()?,
            }),
            _ => {
                let count = data.int_in_range(1..=3)?;
                let changes = (0..count).map(|_| change(data)).collect::<Result<_, _>>()?;
                Command::Configure(Configure {
                    request_id: self.request(),
                    expected_revision: None,
                    changes,
                })
            }
        })
    }

    fn request(&mut self) -> String {
        self.requests += 1;
        format!("r{}", self.requests)
    }

    fn lease(&self, data: &mut Unstructured<'_>) -> arbitrary::Result<LeaseId> {
        match data.int_in_range(0..=31)? {
            0 => Ok(LeaseId(data.arbitrary()?)),
            _ if self.leases.is_empty() => Ok(LeaseId(0)),
            _ => {
                let recent = self.leases.len().saturating_sub(8);
                Ok(*data.choose(&self.leases[recent..])?)
            }
        }
    }

    fn report(&mut self, data: &mut Unstructured<'_>) -> arbitrary::Result<Report> {
        let lease = self.lease(data)?;
        let now_s = (self.state.now_ms() / 1_000) as u32;
        let held = self.state.lease(lease).map_or(0, |lease| lease.slots);
        // Most reports are what they should be; else few would be taken.
        let kept = match data.int_in_range(0..=15)? {
            0 => slots(data)?,
            _ => held.saturating_sub(data.int_in_range(0..=3)?),
        };
        let in_use = kept.saturating_sub(data.int_in_range(0..=3)?);
        let mut waiting = BTreeMap::new();
        for _ in 0..data.int_in_range(0..=4)? {
            let class = data.int_in_range(0..=2)?;
            let ago: u32 = data.int_in_range(0..=40)?;
            let users = data.int_in_range(1..=9)?;
            waiting.insert((class, now_s.saturating_sub(ago)), users);
        }
        let ids = |data: &mut Unstructured<'_>| -> arbitrary::Result<Vec<u64>> {
            let count = data.int_in_range(0..=2)?;
            (0..count).map(|_| data.int_in_range(1..=6)).collect()
        };
        Ok(Report {
            lease,
            seq: self.seq,
            kept,
            in_use,
            spare: data.int_in_range(0..=5)?,
            waiting: waiting
                .into_iter()
                .map(|((class, second), users)| Bucket {
                    class,
                    second,
                    users,
                })
                .collect(),
            exact_until_s: match data.arbitrary()? {
                true => now_s,
                false => data.arbitrary()?,
            },
            left: data.int_in_range(0..=5)?,
            floor: data.int_in_range(0..=2)?,
            claims: ids(data)?
                .into_iter()
                .map(|id| TokenClaim {
                    id,
                    issuer: quota::issuer(HOLDERS[id as usize % HOLDERS.len()], 1),
                })
                .collect(),
            released: ids(data)?,
            refused: ids(data)?,
        })
    }
}

/// Slots of each pool that may be used: those held, and those that holders were told to use when cut off.
fn out(state: &State) -> BTreeMap<String, u64> {
    let of = |pool: quota::PoolView| {
        let regions = state.regions(&pool.name);
        let floors = regions.iter().flat_map(|region| &region.floors);
        let told: u64 = floors.map(|floor| floor.told).sum();
        (pool.name, pool.held + told)
    };
    state.pools().map(of).collect()
}

fn name(data: &mut Unstructured<'_>, of: &[&str]) -> arbitrary::Result<String> {
    Ok(data.choose(of)?.to_string())
}

fn slots(data: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(match data.int_in_range(0..=15)? {
        0 => MAX_SLOTS,
        1 => data.arbitrary()?,
        _ => data.int_in_range(0..=120)?,
    })
}

fn change(data: &mut Unstructured<'_>) -> arbitrary::Result<Change> {
    let pool = name(data, &POOLS)?;
    Ok(match data.int_in_range(0..=10)? {
        0 => Change::SetPool(SetPool {
            name: pool,
            capacity: slots(data)?,
            ttl_ms: data.arbitrary::<Option<u16>>()?.map(u64::from),
            drift_ppm: data.arbitrary()?,
        }),
        1 => Change::RemovePool { name: pool },
        2 => Change::SetRegion(SetRegion {
            pool,
            name: name(data, &REGIONS)?,
            nominal: slots(data)?,
            ceiling: match data.arbitrary()? {
                true => Some(slots(data)?),
                false => None,
            },
            weight: data.int_in_range(0..=9)?,
        }),
        3 => Change::RemoveRegion {
            pool,
            name: name(data, &REGIONS)?,
        },
        4 => Change::SetRules {
            pool,
            rules: rules(data)?,
        },
        5..=6 => Change::SetMode {
            pool,
            region: region(data)?,
            mode: *data.choose(&[
                Mode::Open,
                Mode::Paused,
                Mode::Draining,
                Mode::Frozen,
                Mode::Closed,
            ])?,
            reason: name(data, &["", "why"])?,
        },
        7 => Change::SetCapacity {
            pool,
            capacity: slots(data)?,
        },
        8 => Change::SetZone {
            pool,
            region: name(data, &REGIONS)?,
            zone: name(data, &["", "Europe/Paris"])?,
        },
        9 => Change::SetFloor {
            pool,
            region: name(data, &REGIONS)?,
            holder: match data.arbitrary()? {
                true => Some(name(data, &HOLDERS)?),
                false => None,
            },
            slots: data.int_in_range(0..=12)?,
        },
        _ => Change::SetCalendar {
            pool,
            entries: match data.arbitrary()? {
                true => vec![entry(data)?],
                false => Vec::new(),
            },
            since_s: data.arbitrary()?,
        },
    })
}

fn region(data: &mut Unstructured<'_>) -> arbitrary::Result<Option<String>> {
    Ok(match data.arbitrary()? {
        true => Some(name(data, &REGIONS)?),
        false => None,
    })
}

fn entry(data: &mut Unstructured<'_>) -> arbitrary::Result<CalendarEntry> {
    let reason = "why".to_string();
    Ok(CalendarEntry {
        name: "entry".into(),
        region: region(data)?,
        when: match data.arbitrary()? {
            true => When::At {
                unix_s: data.arbitrary()?,
            },
            false => When::Weekly {
                days: data.arbitrary()?,
                minute: data.arbitrary()?,
                zone: None,
            },
        },
        action: match data.int_in_range(0..=4)? {
            0 => Action::SetCapacity(slots(data)?),
            1 => Action::Open,
            2 => Action::Close { reason },
            3 => Action::Pause { reason },
            _ => Action::Resume,
        },
    })
}

fn rules(data: &mut Unstructured<'_>) -> arbitrary::Result<Rules> {
    let count = data.int_in_range(0..=3)?;
    let class = |(n, data): (usize, &mut Unstructured<'_>)| -> arbitrary::Result<Class> {
        Ok(Class {
            name: ["pupils", "teachers", "exams"][n].into(),
            weight: data.int_in_range(0..=5)?,
            first: data.arbitrary()?,
        })
    };
    let mut classes = Vec::new();
    for n in 0..count {
        classes.push(class((n, data))?);
    }
    Ok(Rules {
        classes,
        overtake_s: data.int_in_range(0..=90)?,
        session: SessionRules {
            limit_s: data.arbitrary::<Option<u16>>()?.map(u32::from),
            idle_s: data.arbitrary::<Option<u16>>()?.map(u32::from),
            when_waiting_s: data.arbitrary::<Option<u16>>()?.map(u32::from),
            notice_s: data.int_in_range(0..=60)?,
            least_s: data.int_in_range(0..=60)?,
        },
        reclaim: *data.choose(&[Reclaim::Drain, Reclaim::Shorten])?,
    })
}
