//! The nodes: processes of `preau serve`, each with a network and a disk of its own where they can be had.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::cluster_service_client::ClusterServiceClient;
use client::Nodes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;
use tonic::Status;

use crate::disk::Disk;
use crate::doors::{Doors, request, within};
use crate::network::{self, Network, Place, Weather};

const WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So that snapshots are made, sent and relied on all the time.
const FLAGS: [&str; 4] = [
    "--raft-snapshot-every",
    "2000",
    "--raft-keep-entries",
    "500",
];

/// What the nodes stand on.
pub struct Ground {
    pub dir: PathBuf,
    /// Where the nodes' logs go.
    pub logs: PathBuf,
    /// Or why there is none.
    pub network: Result<Network, String>,
    /// Whether every node has a disk of its own; or why not.
    pub disks: Result<(), String>,
    /// libfaketime, and the file that says what time it is.
    pub clock: Option<PathBuf>,
    /// The first of the nodes' ports on loopback.
    pub port: u16,
    /// A program, with arguments, that has the next one end with this.
    pub leash: &'static [&'static str],
}

/// The cluster. Every process is killed when it is dropped.
pub struct Cluster {
    pub ground: Ground,
    pub doors: Arc<Doors>,
    /// What a node that is started runs.
    pub binary: PathBuf,
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

struct Node {
    // Ends before its disk is unmounted.
    process: Option<Child>,
    paused: bool,
    disk: Option<Disk>,
    dir: PathBuf,
    place: Place,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // One that has ended already can't be killed, and is waited for all the same.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Cluster {
    pub fn new(ground: Ground, doors: Arc<Doors>, binary: PathBuf) -> Self {
        Self {
            ground,
            doors,
            binary,
            nodes: BTreeMap::new(),
            next: 1,
        }
    }

    /// So many nodes that are a cluster.
    pub async fn start(&mut self, nodes: u64) -> Result<(), String> {
        for _ in 0..nodes {
            self.add()?;
        }
        for id in self.ids() {
            self.wait_up(id).await?;
        }
        let member = |(id, node): (&u64, &Node)| v1::MemberAddress {
            node_id: *id,
            address: node.place.address.clone(),
        };
        let members = self.nodes.iter().map(member).collect();
        let message = v1::InitRequest { members };
        let channel = self.doors.to(1).ok_or("no node 1")?;
        let init = ClusterServiceClient::new(channel).init(message).await;
        init.map(drop).map_err(|e| format!("init: {e}"))
    }

    /// Starts one more process, which belongs to no cluster yet, and gives its id: never one that was there.
    pub fn add(&mut self) -> Result<u64, String> {
        let id = self.next;
        if id >= network::LOAD {
            return Err(format!("more than {} nodes in one run", network::LOAD - 1));
        }
        self.next += 1;
        let dir = self.ground.dir.join(format!("node-{id}"));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let place = match &self.ground.network {
            Ok(network) => network.add(id)?,
            Err(_) => Place::direct(network::loopback(self.ground.port, id)),
        };
        let disk = match self.ground.disks {
            Ok(()) => Some(Disk::new(&dir)?),
            Err(_) => None,
        };
        self.doors.add(id, &place.address)?;
        let node = Node {
            process: None,
            paused: false,
            disk,
            dir,
            place,
        };
        self.nodes.insert(id, node);
        self.set_clock(id, 0)?;
        self.spawn(id)?;
        Ok(id)
    }

    /// Kills a node for good, and removes all that it had.
    pub fn remove(&mut self, id: u64) -> Result<(), String> {
        self.doors.remove(id);
        let Some(node) = self.nodes.remove(&id) else {
            return Ok(());
        };
        let dir = node.dir.clone();
        drop(node);
        if let Ok(network) = &self.ground.network {
            network.remove(id)?;
        }
        std::fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))
    }

    /// Starts a node's process.
    pub fn spawn(&mut self, id: u64) -> Result<(), String> {
        let log = self.log(id);
        let stderr = File::options().create(true).append(true).open(&log);
        let stderr = stderr.map_err(|e| format!("{}: {e}", log.display()))?;
        let mut words = match &self.ground.network {
            Ok(network) => network.enter(id),
            Err(_) => Vec::new(),
        };
        words.extend(self.ground.leash.iter().map(|word| (*word).into()));
        words.push(self.binary.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PREAU_") {
                command.env_remove(name);
            }
        }
        let data = self.data(id);
        let node = self.node(id)?;
        if let Some(library) = &self.ground.clock {
            // The wall clock alone: nodes count time by the monotonic one, which nobody can set.
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", node.dir.join("clock"))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("NO_FAKE_STAT", "1");
        }
        command
            .arg("serve")
            .args(["--node-id", &id.to_string()])
            .args(["--listen", &node.place.listen])
            .args(["--advertise", &node.place.address])
            .arg("--data-dir")
            .arg(data)
            .args(FLAGS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let process = command
            .spawn()
            .map_err(|e| format!("{}: {e}", words[0].display()))?;
        if let Ok(network) = &self.ground.network {
            network.started(id, process.id());
        }
        self.node_mut(id)?.process = Some(process);
        Ok(())
    }

    /// kill -9, also of one that is stopped or has ended.
    pub fn kill(&mut self, id: u64) -> Result<(), String> {
        let node = self.node_mut(id)?;
        node.paused = false;
        if let Some(mut process) = node.process.take() {
            // It may have ended already.
            let _ = process.kill();
            process.wait().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// SIGTERM, and until it has ended.
    pub async fn terminate(&mut self, id: u64) -> Result<(), String> {
        self.signal(id, Signal::TERM)?;
        if self.ended(id, WITHIN).await?.is_none() {
            return Err(format!(
                "node {id} was told to stop, and runs after {WITHIN:?}"
            ));
        }
        Ok(())
    }

    /// SIGSTOP.
    pub fn pause(&mut self, id: u64) -> Result<(), String> {
        self.signal(id, Signal::STOP)?;
        self.node_mut(id)?.paused = true;
        Ok(())
    }

    /// SIGCONT.
    pub fn resume(&mut self, id: u64) -> Result<(), String> {
        if self.node(id)?.paused {
            self.signal(id, Signal::CONT)?;
            self.node_mut(id)?.paused = false;
        }
        Ok(())
    }

    fn signal(&self, id: u64, signal: Signal) -> Result<(), String> {
        let process = self.node(id)?.process.as_ref();
        let pid = process.and_then(|process| Pid::from_raw(process.id().try_into().ok()?));
        let pid = pid.ok_or_else(|| format!("node {id} has no process"))?;
        kill_process(pid, signal).map_err(|e| format!("node {id} can't be told {signal:?}: {e}"))
    }

    /// Whether a process of the node was started and still runs.
    pub fn runs(&mut self, id: u64) -> bool {
        let process = self.nodes.get_mut(&id).and_then(|n| n.process.as_mut());
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// How the node's process ended; none where it still runs at the end of `within`.
    pub async fn ended(&mut self, id: u64, within: Duration) -> Result<Option<ExitStatus>, String> {
        let end = Instant::now() + within;
        loop {
            let node = self.node_mut(id)?;
            let Some(process) = &mut node.process else {
                return Err(format!("node {id} has no process"));
            };
            if let Some(status) = process.try_wait().map_err(|e| e.to_string())? {
                node.process = None;
                return Ok(Some(status));
            }
            if Instant::now() > end {
                return Ok(None);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a node answers.
    pub async fn wait_up(&mut self, id: u64) -> Result<v1::StatusResponse, String> {
        let end = Instant::now() + WITHIN;
        loop {
            let why = match status(&self.doors, id).await {
                Ok(status) => return Ok(status),
                Err(why) => why.message().to_owned(),
            };
            if !self.runs(id) {
                let said = self.said(id, 3);
                return Err(format!("node {id} has stopped: {said}"));
            }
            if Instant::now() > end {
                return Err(format!(
                    "node {id} does not answer within {WITHIN:?}: {why}"
                ));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The nodes' ids.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub fn address(&self, id: u64) -> String {
        let node = self.nodes.get(&id);
        node.map(|node| node.place.address.clone())
            .unwrap_or_default()
    }

    /// What passes between the nodes.
    pub fn weather(&self) -> Option<Weather> {
        let network = self.ground.network.as_ref().ok();
        network.map(|network| network.weather.clone())
    }

    /// The node's disk.
    pub fn disk(&self, id: u64) -> Result<&Disk, String> {
        let disk = self.node(id)?.disk.as_ref();
        disk.ok_or_else(|| format!("node {id} has no disk of its own"))
    }

    /// The node's data directory.
    pub fn data(&self, id: u64) -> PathBuf {
        let node = self.nodes.get(&id);
        let disk = node.and_then(|node| node.disk.as_ref()).map(Disk::path);
        let own = || node.map_or(Path::new(""), |node| &node.dir);
        disk.unwrap_or_else(own).join("data")
    }

    /// The last lines that the node's processes said.
    pub fn said(&self, id: u64, lines: usize) -> String {
        let said = std::fs::read_to_string(self.log(id)).unwrap_or_default();
        let all: Vec<&str> = said.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn log(&self, id: u64) -> PathBuf {
        self.ground.logs.join(format!("node-{id}.log"))
    }

    /// Puts the node's wall clock off by so many seconds.
    pub fn set_clock(&self, id: u64, seconds: i64) -> Result<(), String> {
        if self.ground.clock.is_none() {
            return Ok(());
        }
        let path = self.node(id)?.dir.join("clock");
        let new = path.with_extension("new");
        let written = std::fs::write(&new, format!("{seconds:+}\n"));
        written
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The way to all of the cluster that there is.
    pub fn way(&self) -> Result<Nodes, String> {
        Nodes::new(self.doors.addresses()).map_err(|e| e.to_string())
    }

    fn node(&self, id: u64) -> Result<&Node, String> {
        self.nodes.get(&id).ok_or_else(|| format!("no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> Result<&mut Node, String> {
        self.nodes
            .get_mut(&id)
            .ok_or_else(|| format!("no node {id}"))
    }
}

/// How a node stands.
pub async fn status(doors: &Doors, id: u64) -> Result<v1::StatusResponse, Status> {
    let channel = doors
        .to(id)
        .ok_or_else(|| Status::not_found(format!("no node {id}")))?;
    let mut cluster = ClusterServiceClient::new(channel);
    within(cluster.status(request(v1::StatusRequest {}))).await
}
