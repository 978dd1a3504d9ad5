//! One Redis, and in it what many use for a semaphore: a sorted set of who has a slot until when.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use preau::parts::{Failure, Processes, free};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::{BATCH, TTL_S, count, make};
use crate::load::{Client, Phase, connections};

/// The program.
pub const PROGRAM: &str = "redis-server";
/// Its package.
pub const PACKAGE: &str = "redis-server";

/// The sorted set, and how many it may have: no bound on the load.
const KEY: &str = "bench";
const CAPACITY: u64 = 16_000_000;
/// Takes a slot where one is free, once those are gone whose time is over.
const TAKE: &str = "\
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
return redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])";
/// How long Redis may take to come up.
const START_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// When Redis syncs what it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it answers.
    Always,
    /// Once a second: up to so much is lost in a power cut.
    EverySecond,
}

impl Fsync {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Always, Self::EverySecond];

    /// As Redis calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
        }
    }

    /// Redis with it, in figures.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Always => "Redis, always",
            Self::EverySecond => "Redis, everysec",
        }
    }

    /// The same with many commands a call.
    pub const fn pipelined(self) -> &'static str {
        match self {
            Self::Always => "Redis, always, 64 a call",
            Self::EverySecond => "Redis, everysec, 64 a call",
        }
    }
}

/// A server.
pub struct Redis {
    pub processes: Processes,
    pub door: Door,
}

/// The way to it.
pub struct Door {
    client: redis::Client,
    script: String,
    generation: u32,
}

impl Redis {
    /// Starts one in `dir`.
    pub async fn start(dir: &Path, sync: Fsync) -> Result<Self, Failure> {
        let dir = make(dir)?;
        let [address] = free::<1>()?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["--bind", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()])
            .arg("--dir")
            .arg(&dir)
            .args(["--appendonly", "yes", "--appendfsync", sync.name()])
            // What is appended is all that is wanted on disk.
            .args(["--save", ""]);
        let mut processes = Processes::default();
        processes.start("redis-server", command, dir.join("redis.log"))?;
        let client = redis::Client::open(format!("redis://{address}/")).map_err(failed)?;
        let script = tokio::select! {
            script = load_script(&client) => script?,
            failure = processes.ended() => return Err(failure),
        };
        let door = Door {
            client,
            script,
            generation: 0,
        };
        Ok(Self { processes, door })
    }
}

fn failed(error: redis::RedisError) -> Failure {
    Failure::operation(format!("redis: {error}"))
}

/// Loads the script once the server is up, and gives its name there.
async fn load_script(client: &redis::Client) -> Result<String, Failure> {
    let end = Instant::now() + START_WITHIN;
    loop {
        let loaded = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(TAKE);
            load.query_async(&mut connection).await
        };
        match loaded.await {
            Ok(script) => return Ok(script),
            Err(error) if Instant::now() > end => return Err(failed(error)),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

impl Door {
    /// Clients without slots that send one command at a time. They share as many connections as those of others:
    /// what several have to say goes out together, which is the fastest way with Redis.
    pub async fn clients(&mut self, count: usize) -> Result<Vec<Holder>, Failure> {
        let doors = self.connect(count).await?.into_iter().cycle();
        let holder = |(held, connection)| Holder { connection, held };
        Ok(self.held(count).zip(doors).map(holder).collect())
    }

    /// Clients without slots that send [`BATCH`] commands at a time, as a pipeline.
    pub async fn pipeliners(&mut self, count: usize) -> Result<Vec<Pipeliner>, Failure> {
        let doors = self.connect(count).await?.into_iter().cycle();
        let pipeliner = |(held, connection)| Pipeliner { connection, held };
        Ok(self.held(count).zip(doors).map(pipeliner).collect())
    }

    async fn connect(&self, count: usize) -> Result<Vec<MultiplexedConnection>, Failure> {
        let config = AsyncConnectionConfig::new()
            // The load waits only so long for a call, whoever answers it.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(count.max(50));
        let mut all = Vec::new();
        for _ in 0..connections(count) {
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            all.push(connection.await.map_err(failed)?);
        }
        Ok(all)
    }

    /// The slots of so many clients: none yet.
    fn held(&mut self, count: usize) -> impl Iterator<Item = Held> + use<> {
        self.generation += 1;
        let (generation, script) = (self.generation, self.script.clone());
        (0..count).map(move |number| Held {
            script: script.clone(),
            name: format!("{generation}-{number}"),
            taken: 0,
            slots: Vec::new(),
            turn: 0,
        })
    }
}

/// The slots of a client, by the names under which it has them, and what to ask next of them.
struct Held {
    script: String,
    name: String,
    taken: u64,
    slots: Vec<String>,
    turn: usize,
}

/// A command, and the name of the slot that it takes where it does.
type Asked = (redis::Cmd, Option<String>);

impl Held {
    /// The next command of a phase; none where there are no slots left for it.
    fn ask(&mut self, phase: Phase) -> Option<Asked> {
        match phase {
            Phase::Grant => Some(self.take()),
            Phase::Keep => Some((self.keep()?, None)),
            Phase::Revoke => Some((self.give_back()?, None)),
        }
    }

    /// Takes in what that was answered: how many slots it had an effect on. A slot that is kept was there before.
    fn settle(&mut self, phase: Phase, taken: Option<String>, answer: u64) -> Result<(), String> {
        if answer != 1 && phase != Phase::Keep {
            return Err("it had no effect".into());
        }
        self.slots.extend(taken);
        Ok(())
    }

    fn take(&mut self) -> Asked {
        self.taken += 1;
        let name = format!("{}-{}", self.name, self.taken);
        let mut take = redis::cmd("EVALSHA");
        take.arg(&self.script).arg(1).arg(KEY);
        take.arg(CAPACITY).arg(TTL_S * 1_000).arg(&name);
        (take, Some(name))
    }

    fn keep(&mut self) -> Option<redis::Cmd> {
        self.turn = (self.turn + 1).checked_rem(self.slots.len())?;
        let until = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_micros() as u64 / 1_000)
            + TTL_S * 1_000;
        let mut keep = redis::cmd("ZADD");
        keep.arg(KEY)
            .arg("XX")
            .arg(until)
            .arg(&self.slots[self.turn]);
        Some(keep)
    }

    fn give_back(&mut self) -> Option<redis::Cmd> {
        let name = self.slots.pop()?;
        let mut give_back = redis::cmd("ZREM");
        give_back.arg(KEY).arg(&name);
        Some(give_back)
    }
}

/// A client that sends a command by itself for each slot.
pub struct Holder {
    connection: MultiplexedConnection,
    held: Held,
}

impl Client for Holder {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        let Some((command, taken)) = self.held.ask(phase) else {
            return Ok(0);
        };
        let answer = command.query_async(&mut self.connection).await;
        let answer = answer.map_err(|e| e.to_string())?;
        self.held.settle(phase, taken, answer).map(|()| 1)
    }
}

/// A client that sends many commands at a time.
pub struct Pipeliner {
    connection: MultiplexedConnection,
    held: Held,
}

impl Client for Pipeliner {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        let most = match phase {
            Phase::Keep => self.held.slots.len().min(BATCH),
            Phase::Grant | Phase::Revoke => BATCH,
        };
        let mut pipeline = redis::Pipeline::with_capacity(most);
        let mut asked = Vec::with_capacity(most);
        for (command, taken) in (0..most).map_while(|_| self.held.ask(phase)) {
            pipeline.add_command(command);
            asked.push(taken);
        }
        if asked.is_empty() {
            return Ok(0);
        }
        let answers = pipeline.query_async(&mut self.connection).await;
        let answers: Vec<u64> = answers.map_err(|e| e.to_string())?;
        if answers.len() != asked.len() {
            return Err(format!("{} answers to {}", answers.len(), asked.len()));
        }
        let answered = asked.into_iter().zip(answers);
        count(answered.map(|(taken, answer)| self.held.settle(phase, taken, answer)))
    }
}
