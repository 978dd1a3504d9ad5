//! Who comes: people who wait and ask how they stand, people who are in, and a flood of strangers. Each kind has
//! threads of its own, so that no one waits for another in here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use preau::parts::Failure;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::arrivals::{Arrivals, Gaps};
use super::http::{Answer, Ask, Connection, expect};
use crate::figures::{Figures, Latencies};
use crate::load::{PAUSE, micros};

/// The lowest priority that a thread can have.
const LAST: i32 = 19;

/// Somebody with a place or a session.
#[derive(Debug, Clone)]
pub struct Person {
    pub from: u32,
    pub token: String,
}

/// How somebody stands, as the API says it.
#[derive(Debug, Deserialize)]
struct Turn {
    state: String,
    token: Option<String>,
}

/// Has somebody arrive, or asks once more; and says whether they are in.
pub async fn arrive(connection: &mut Connection, person: &mut Person) -> Result<bool, String> {
    let from = person.from;
    if person.token.is_empty() {
        let (method, path) = ("POST", "/preau/v1/arrive");
        let ask = Ask {
            method,
            path,
            from,
            header: None,
        };
        let turn = turn(expect(connection.ask(ask).await, &[200])?)?;
        person.token = turn.token.unwrap_or_default();
    }
    let shown = format!("Bearer {}", person.token);
    let (method, path) = ("GET", "/preau/v1/ticket");
    let ask = Ask {
        method,
        path,
        from,
        header: Some(("Authorization", &shown)),
    };
    let turn = turn(expect(connection.ask(ask).await, &[200])?)?;
    if let Some(token) = turn.token {
        person.token = token;
    }
    match turn.state.as_str() {
        "seated" => Ok(true),
        "waiting" => Ok(false),
        other => Err(format!("whoever arrives is told {other}")),
    }
}

fn turn(answer: Answer) -> Result<Turn, String> {
    serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
}

/// Has `count` people arrive one after the other on each of some connections; all are to wait.
pub async fn queue(
    address: &str,
    count: usize,
    connections: usize,
) -> Result<Vec<Person>, Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (next, mut connection) = (Arc::clone(&next), Connection::new(address));
        tasks.spawn(async move {
            let mut people = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(people);
                }
                let mut person = Person {
                    from: home(number),
                    token: String::new(),
                };
                if arrive(&mut connection, &mut person).await? {
                    return Err("somebody is in who was to wait".to_owned());
                }
                people.push(person);
            }
        });
    }
    let mut people = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        let some = ended.map_err(|e| Failure::operation(format!("arrivals ended badly: {e}")))?;
        people.extend(some.map_err(|why| Failure::operation(format!("an arrival: {why}")))?);
    }
    Ok(people)
}

/// The address of a person, by number: out of 10.0.0.0/8.
pub const fn home(number: usize) -> u32 {
    0x0A00_0000 | (number as u32 & 0x00FF_FFFF)
}

/// How often something is asked.
#[derive(Debug, Clone, Copy)]
pub enum Rate {
    /// As they come in all, each at its time. Where the one before is not answered by then, the next counts from when it
    /// was due.
    Each(Arrivals),
    /// As soon as the one before is answered.
    Full,
}

/// Something to ask: by turns of one connection.
pub trait Asker: Send + 'static {
    /// Asks once.
    fn ask(
        &mut self,
        connection: &mut Connection,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// Who has a processor first, where there are not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Whose answers are timed: the thread is as good as any other.
    Timed,
    /// Whoever is elsewhere in earnest, with processors of their own: everybody else goes before the thread.
    Elsewhere,
}

/// Has askers, each by a connection of its own, ask for as long as `time`, on a thread of their own.
pub async fn work<A: Asker>(
    address: &str,
    askers: Vec<A>,
    rate: Rate,
    time: Duration,
    rank: Rank,
) -> Result<(Vec<A>, Figures), Failure> {
    let (address, (sender, done)) = (address.to_owned(), tokio::sync::oneshot::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || {
                if rank == Rank::Elsewhere {
                    // Where it can't be set, the load takes more from who is measured.
                    let _ = setpriority_process(Some(gettid()), LAST);
                }
            })
            .enable_all()
            .build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(all(&address, askers, rate, time)),
            Err(error) => Err(Failure::operation(format!("can't start the load: {error}"))),
        };
        // Nobody listens any more where the run was broken off.
        let _ = sender.send(ended);
    });
    done.await
        .map_err(|_| Failure::operation("the load ended badly"))?
}

async fn all<A: Asker>(
    address: &str,
    askers: Vec<A>,
    rate: Rate,
    time: Duration,
) -> Result<(Vec<A>, Figures), Failure> {
    let paces = paces(rate, askers.len())
        .map_err(|error| Failure::operation(format!("can't time the load: {error}")))?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut asker, mut pace) in askers.into_iter().zip(paces) {
        let mut connection = Connection::new(address);
        tasks.spawn(async move {
            let (mut latencies, mut errors) = (Latencies::default(), BTreeMap::new());
            let mut due = pace.after(began);
            while due.duration_since(began) < time {
                let asked = async {
                    let sent = pace.wait(due).await?;
                    asker.ask(&mut connection).await?;
                    Ok::<_, String>(sent.elapsed())
                };
                match asked.await {
                    Ok(took) => latencies.add(micros(took)),
                    Err(error) => {
                        *errors.entry(error).or_insert(0) += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                due = pace.after(due);
            }
            (asker, latencies, errors)
        });
    }
    let mut askers = Vec::with_capacity(tasks.len());
    let (mut latencies, mut errors) = (Latencies::default(), BTreeMap::new());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(|e| Failure::operation(format!("the load ended badly: {e}")))?;
        let (asker, some, failed): (A, Latencies, BTreeMap<String, u64>) = ended;
        askers.push(asker);
        latencies.append(some);
        for (error, times) in failed {
            *errors.entry(error).or_default() += times;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let figures = latencies.figures(seconds, latencies.len() as u64, errors)?;
    Ok((askers, figures))
}

/// When one asker asks.
enum Pace {
    Each { gaps: Gaps, alarm: Alarm },
    Full,
}

fn paces(rate: Rate, askers: usize) -> io::Result<Vec<Pace>> {
    let Rate::Each(arrivals) = rate else {
        return Ok((0..askers).map(|_| Pace::Full).collect());
    };
    let each = |gaps| {
        Ok(Pace::Each {
            gaps,
            alarm: Alarm::new()?,
        })
    };
    arrivals.share(askers).map(each).collect()
}

impl Pace {
    /// When the next is due, after one that was due then.
    fn after(&mut self, due: Instant) -> Instant {
        match self {
            Self::Each { gaps, .. } => due + gaps.next(),
            Self::Full => Instant::now(),
        }
    }

    /// Until it is due; and since when it counts.
    async fn wait(&mut self, due: Instant) -> Result<Instant, String> {
        match self {
            // That it is woken late is no fault of who is asked.
            Self::Each { alarm, .. } if Instant::now() < due => {
                let waited = alarm.wait(due).await;
                waited.map_err(|error| format!("the load's timer: {error}"))?;
                Ok(Instant::now())
            }
            Self::Each { .. } | Self::Full => Ok(due),
        }
    }
}

/// People who wait, and whose page asks how they stand, in turns.
pub struct Waiting {
    pub people: Vec<Person>,
    next: usize,
}

impl Waiting {
    /// Shared out over as many askers.
    pub fn share(people: Vec<Person>, askers: usize) -> Vec<Self> {
        let mut all: Vec<Self> = (0..askers)
            .map(|_| Self {
                people: Vec::new(),
                next: 0,
            })
            .collect();
        for (number, person) in people.into_iter().enumerate() {
            all[number % askers].people.push(person);
        }
        all
    }
}

impl Asker for Waiting {
    async fn ask(&mut self, connection: &mut Connection) -> Result<(), String> {
        let at = self.next % self.people.len().max(1);
        self.next += 1;
        let Some(person) = self.people.get_mut(at) else {
            return Err("nobody waits".into());
        };
        let cookie = format!("{}={}", super::COOKIE, person.token);
        let ask = Ask {
            method: "GET",
            path: "/preau/turn",
            from: person.from,
            header: Some(("Cookie", &cookie)),
        };
        let answer = expect(connection.ask(ask).await, &[200])?;
        if !answer.body.starts_with(br#"{"state":"waiting""#) {
            let said: String = String::from_utf8_lossy(&answer.body)
                .chars()
                .take(40)
                .collect();
            return Err(format!("whoever waits is told {said}"));
        }
        if let Some(token) = answer.cookie {
            person.token = token;
        }
        Ok(())
    }
}

/// Somebody who is in, and goes through to the portal.
pub struct Seated {
    pub person: Person,
    pub path: &'static str,
    /// What whoever is let through is answered.
    pub status: u16,
}

impl Asker for Seated {
    async fn ask(&mut self, connection: &mut Connection) -> Result<(), String> {
        let cookie = format!("{}={}", super::COOKIE, self.person.token);
        let ask = Ask {
            method: "GET",
            path: self.path,
            from: self.person.from,
            header: Some(("Cookie", &cookie)),
        };
        let answer = expect(connection.ask(ask).await, &[self.status])?;
        if let Some(token) = answer.cookie {
            self.person.token = token;
        }
        Ok(())
    }
}

/// Strangers from a hundred addresses who ask for whatever costs the gate something, with no token or a forged one.
pub struct Strangers {
    pub number: u32,
    pub forged: String,
}

impl Strangers {
    const FIRST: u32 = 0xC612_0000; // 198.18.0.0/15
    const ADDRESSES: u32 = 100;
}

impl Asker for Strangers {
    async fn ask(&mut self, connection: &mut Connection) -> Result<(), String> {
        self.number = self.number.wrapping_add(1);
        let from = Self::FIRST + self.number % Self::ADDRESSES;
        let (path, header) = match self.number % 4 {
            0 => ("/preau/auth", None),
            1 => ("/preau/enter?to=/", None),
            2 => ("/preau/turn", None),
            _ => ("/preau/auth", Some(("Cookie", self.forged.as_str()))),
        };
        let ask = Ask {
            method: "GET",
            path,
            from,
            header,
        };
        expect(connection.ask(ask).await, &[200, 401, 429, 503]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_is_somebodys_to_ask_for() {
        let person = |number| Person {
            from: home(number),
            token: String::new(),
        };
        let shared = Waiting::share((0..10).map(person).collect(), 3);
        let mut all: Vec<u32> = shared
            .iter()
            .flat_map(|w| &w.people)
            .map(|p| p.from)
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).map(home).collect::<Vec<_>>());
        assert_eq!(home(0x0100_0001), 0x0A00_0001);
    }
}
