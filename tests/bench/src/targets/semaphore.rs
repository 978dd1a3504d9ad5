//! One Redis, and in it what many use for a semaphore: a sorted set of who has a slot until when.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use preau::parts::{Failure, Processes, free};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::{TTL_S, make};
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
/// How long Redis may take to come up, and to answer.
const START_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
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
    /// Clients without slots. They share as many connections as those of others: what several have to say goes
    /// out together, which is the fastest way with Redis.
    pub async fn clients(&mut self, count: usize) -> Result<Vec<Holder>, Failure> {
        self.generation += 1;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_pipeline_buffer_size(count.max(50));
        let mut all = Vec::new();
        for _ in 0..connections(count) {
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            all.push(connection.await.map_err(failed)?);
        }
        let holder = |number: usize| Holder {
            connection: all[number % all.len()].clone(),
            script: self.script.clone(),
            name: format!("{}-{number}", self.generation),
            taken: 0,
            slots: Vec::new(),
            turn: 0,
        };
        Ok((0..count).map(holder).collect())
    }
}

/// A client, and its slots by the names under which it has them.
pub struct Holder {
    connection: MultiplexedConnection,
    script: String,
    name: String,
    taken: u64,
    slots: Vec<String>,
    turn: usize,
}

impl Holder {
    async fn take(&mut self) -> Result<u64, String> {
        self.taken += 1;
        let name = format!("{}-{}", self.name, self.taken);
        let mut take = redis::cmd("EVALSHA");
        take.arg(&self.script).arg(1).arg(KEY);
        take.arg(CAPACITY).arg(TTL_S * 1_000).arg(&name);
        self.ask(&take).await?;
        self.slots.push(name);
        Ok(1)
    }

    async fn keep(&mut self) -> Result<u64, String> {
        if self.slots.is_empty() {
            return Ok(0);
        }
        self.turn = (self.turn + 1) % self.slots.len();
        let until = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_micros() as u64 / 1_000)
            + TTL_S * 1_000;
        let mut keep = redis::cmd("ZADD");
        keep.arg(KEY)
            .arg("XX")
            .arg(until)
            .arg(&self.slots[self.turn]);
        // How many were added: none.
        let answer: redis::RedisResult<u64> = keep.query_async(&mut self.connection).await;
        answer.map(|_| 1).map_err(|e| e.to_string())
    }

    async fn give_back(&mut self) -> Result<u64, String> {
        let Some(name) = self.slots.pop() else {
            return Ok(0);
        };
        let mut give_back = redis::cmd("ZREM");
        give_back.arg(KEY).arg(&name);
        self.ask(&give_back).await
    }

    /// Sends a command that must have an effect on one slot.
    async fn ask(&mut self, command: &redis::Cmd) -> Result<u64, String> {
        let answer: redis::RedisResult<u64> = command.query_async(&mut self.connection).await;
        match answer {
            Ok(1) => Ok(1),
            Ok(_) => Err("it had no effect".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Client for Holder {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        match phase {
            Phase::Grant => self.take().await,
            Phase::Keep => self.keep().await,
            Phase::Revoke => self.give_back().await,
        }
    }
}
