//! Makes faults, and undoes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use check::history::{Record, Started};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::{Cluster, status};
use crate::faults::Kind;
use crate::network::{LOAD, Network};
use crate::record::Recorder;
use crate::repair;
use crate::watcher::Watcher;

const DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(100));
const LOSS_PERCENT: u32 = 30;
/// How long writes hang, and go on between, in milliseconds.
const HANGS_MS: std::ops::Range<u64> = 50..1_500;
const GOES_ON_MS: std::ops::Range<u64> = 20..200;
/// What wall clocks are put off by, in seconds.
const JUMPS: [i64; 7] = [-86_400, -18_000, -600, 0, 600, 18_000, 86_400];
/// How long a node may take to see that its files are damaged.
const START: Duration = Duration::from_secs(15);

/// Makes faults on a cluster, by lot.
pub struct Nemesis {
    pub cluster: Cluster,
    pub recorder: Arc<Recorder>,
    pub watcher: Arc<Watcher>,
    pub rng: fastrand::Rng,
    /// What nodes did that they must not, apart from what the history shows.
    pub wrong: Vec<String>,
    /// How many damaged nodes refused to start, and how many started with nothing lost.
    pub refused: u64,
    pub unharmed: u64,
}

/// A fault that is on.
pub struct Made {
    kind: Kind,
    pub what: String,
    undo: Undo,
}

enum Undo {
    Nothing,
    Start(Vec<u64>),
    Resume(Vec<u64>),
    Network,
    Clocks(Arc<AtomicBool>, JoinHandle<()>),
    Disk(u64),
    Thaw(Arc<AtomicBool>, JoinHandle<()>),
    Broken(u64),
    Replace(u64),
}

impl Made {
    /// Whether it is undone by changes of the membership.
    pub fn needs_service(&self) -> bool {
        matches!(self.undo, Undo::Replace(_))
    }

    /// The node that may end because of it.
    fn may_end(&self) -> Option<u64> {
        match self.undo {
            Undo::Disk(id) | Undo::Broken(id) | Undo::Replace(id) => Some(id),
            _ => None,
        }
    }
}

impl Nemesis {
    /// Makes a fault; those that come to an end by themselves are over with this.
    pub async fn make(&mut self, kind: Kind) -> Result<Made, String> {
        let (what, undo) = match kind {
            Kind::Kill => self.kill()?,
            Kind::Pause => self.pause()?,
            Kind::IsolateLeader
            | Kind::Split
            | Kind::Bridge
            | Kind::Ring
            | Kind::OneWay
            | Kind::Delay
            | Kind::Loss => (self.network(kind)?, Undo::Network),
            Kind::Clock => self.clocks(),
            Kind::DiskFull => {
                let id = self.any();
                self.cluster.disk(id)?.fill();
                (format!("of node {id}"), Undo::Disk(id))
            }
            Kind::SlowDisk => self.slow_disk()?,
            Kind::IoError => {
                let id = self.any();
                self.cluster.disk(id)?.break_down()?;
                (format!("on node {id}"), Undo::Broken(id))
            }
            Kind::Truncate | Kind::BitFlip => return self.damage(kind).await,
            Kind::Churn | Kind::Transfer | Kind::RollingRestart | Kind::Upgrade => {
                let what = self.begins(kind, "");
                self.moves(kind).await?;
                (what, Undo::Nothing)
            }
        };
        if !matches!(undo, Undo::Nothing) {
            self.begins(kind, &what);
        }
        Ok(Made { kind, what, undo })
    }

    fn begins(&self, kind: Kind, what: &str) -> String {
        self.recorder.fault(&kind.name(), what, true);
        what.to_owned()
    }

    /// Undoes a fault.
    pub async fn undo(&mut self, made: Made) -> Result<(), String> {
        match made.undo {
            Undo::Nothing => {}
            Undo::Start(ids) => {
                for id in ids {
                    self.cluster.spawn(id)?;
                }
            }
            Undo::Resume(ids) => {
                for id in ids {
                    self.cluster.resume(id)?;
                }
            }
            Undo::Network => {
                if let Some(network) = &self.cluster.ground.network {
                    network.heal();
                }
            }
            Undo::Clocks(stop, task) | Undo::Thaw(stop, task) => {
                stop.store(true, Ordering::Relaxed);
                task.await.map_err(|e| e.to_string())?;
            }
            Undo::Disk(id) => {
                self.cluster.disk(id)?.free()?;
                self.restart_ended(id, "make room on the disk")?;
            }
            Undo::Broken(id) => {
                self.restart_broken(id)?;
            }
            Undo::Replace(id) => {
                repair::leave(&mut self.cluster, id).await?;
                repair::join(&mut self.cluster).await?;
            }
        }
        self.recorder.fault(&made.kind.name(), &made.what, false);
        Ok(())
    }

    /// A node that has ended of itself with no reason to is wrong; it is started again all the same.
    pub fn look_for_dead(&mut self, made: &[Made]) -> Result<(), String> {
        for id in self.cluster.ids() {
            let down = made.iter().any(|made| {
                made.may_end() == Some(id)
                    || matches!(&made.undo, Undo::Start(ids) if ids.contains(&id))
            });
            if !down && !self.cluster.runs(id) {
                let said = self.cluster.said(id, 4);
                self.wrong
                    .push(format!("node {id} ended by itself, and said:\n{said}"));
                self.cluster.kill(id)?;
                self.cluster.spawn(id)?;
            }
        }
        Ok(())
    }

    /// Starts a node that has ended because of its disk, and looks whether it said what to do.
    fn restart_ended(&mut self, id: u64, advice: &str) -> Result<(), String> {
        if !self.cluster.runs(id) {
            let said = self.cluster.said(id, 4);
            if !said.contains(advice) {
                self.wrong.push(format!(
                    "node {id} ended and did not say to {advice:?}:\n{said}"
                ));
            }
            self.cluster.kill(id)?;
            self.cluster.spawn(id)?;
        }
        Ok(())
    }

    fn restart_broken(&mut self, id: u64) -> Result<(), String> {
        if !self.cluster.runs(id) {
            let said = self.cluster.said(id, 4);
            if !said.contains("start the node again") {
                self.wrong.push(format!(
                    "node {id} ended and did not say what to do:\n{said}"
                ));
            }
        }
        self.cluster.kill(id)?;
        self.cluster.disk(id)?.repair()?;
        self.cluster.spawn(id)
    }

    fn kill(&mut self) -> Result<(String, Undo), String> {
        let mut ids = self.shuffled();
        let most = ids.len();
        // One as often as any other number.
        let count = if self.rng.bool() {
            1
        } else {
            self.rng.usize(1..=most)
        };
        ids.truncate(count);
        for id in &ids {
            self.cluster.kill(*id)?;
        }
        Ok((format!("of nodes {ids:?}"), Undo::Start(ids)))
    }

    fn pause(&mut self) -> Result<(String, Undo), String> {
        let mut ids = self.shuffled();
        // As often the leader, who may believe that it leads when it wakes.
        if let Some(leader) = self.leader().filter(|_| self.rng.bool()) {
            ids = vec![leader];
        }
        let most = ids.len().min(2);
        ids.truncate(self.rng.usize(1..=most));
        ids.retain(|id| self.cluster.runs(*id));
        for id in &ids {
            self.cluster.pause(*id)?;
        }
        Ok((format!("of nodes {ids:?}"), Undo::Resume(ids)))
    }

    fn network(&mut self, kind: Kind) -> Result<String, String> {
        let network = self.cluster.ground.network.clone();
        let network = network.ok_or("there is no network")?;
        let ids = self.shuffled();
        Ok(match kind {
            Kind::IsolateLeader => {
                let leader = self.leader().unwrap_or(ids[0]);
                part(&network, &[leader], &ids);
                let also = self.rng.bool();
                if also {
                    network.part(leader, LOAD);
                }
                let from = if also {
                    "nodes and front-ends"
                } else {
                    "nodes"
                };
                format!("node {leader} from {from}")
            }
            Kind::Split => {
                let (few, many) = ids.split_at(ids.len() / 2);
                part(&network, few, many);
                format!("{few:?} | {many:?}")
            }
            Kind::Bridge => {
                let (bridge, others) = ids.split_at(1);
                let (one, other) = others.split_at(others.len() / 2);
                part(&network, one, other);
                format!("{one:?} - {bridge:?} - {other:?}")
            }
            Kind::Ring => {
                let count = ids.len();
                for (at, one) in ids.iter().enumerate() {
                    for (to, other) in ids.iter().enumerate() {
                        let apart = at.abs_diff(to);
                        if apart > 1 && apart < count - 1 {
                            network.cut(*one, *other);
                        }
                    }
                }
                format!("of {ids:?}")
            }
            Kind::OneWay => {
                let silent = &ids[..self.rng.usize(1..=ids.len() / 2)];
                for one in silent {
                    for other in ids.iter().filter(|other| *other != one) {
                        network.cut(*one, *other);
                    }
                }
                format!("from nodes {silent:?}")
            }
            Kind::Delay => {
                network.delay(DELAY.0, DELAY.1);
                format!("of {:?} and up to {:?} more", DELAY.0, DELAY.1)
            }
            _ => {
                network.lose(LOSS_PERCENT);
                format!("of {LOSS_PERCENT} %")
            }
        })
    }

    fn clocks(&mut self) -> (String, Undo) {
        let files: Vec<PathBuf> = self
            .cluster
            .ids()
            .into_iter()
            .map(|id| self.cluster.ground.dir.join(format!("node-{id}/clock")))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut rng) = (Arc::clone(&stop), self.rng.fork());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                if let (Some(file), Some(jump)) = (rng.choice(&files), rng.choice(JUMPS)) {
                    // That of a node that is gone meanwhile is nobody's.
                    let _ = std::fs::write(file, format!("{jump:+}\n"));
                }
                sleep(Duration::from_millis(700)).await;
            }
            for file in files.iter().filter(|file| file.exists()) {
                let _ = std::fs::write(file, "+0\n");
            }
        });
        let what = "by up to a day, on all nodes".to_owned();
        (what, Undo::Clocks(stop, task))
    }

    fn slow_disk(&mut self) -> Result<(String, Undo), String> {
        let id = self.leader().filter(|_| self.rng.bool());
        let id = id.unwrap_or_else(|| self.any());
        let mount = self.cluster.disk(id)?.path().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut rng) = (Arc::clone(&stop), self.rng.fork());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let hangs = Duration::from_millis(rng.u64(HANGS_MS));
                if let Err(why) = crate::disk::hang(&mount, hangs).await {
                    eprintln!("{why}");
                }
                sleep(Duration::from_millis(rng.u64(GOES_ON_MS))).await;
            }
        });
        Ok((format!("of node {id}"), Undo::Thaw(stop, task)))
    }

    /// Damages a file of a node that is down, and starts it, cut off from the others: so that what it has
    /// is what was on its disk.
    async fn damage(&mut self, kind: Kind) -> Result<Made, String> {
        let id = self.any();
        let held = self.watcher.stored(id);
        self.cluster.kill(id)?;
        let mut files = Vec::new();
        files_below(&self.cluster.data(id), &mut files);
        files.sort();
        let file = self.rng.choice(&files).ok_or("a node without files")?;
        let mut bytes = std::fs::read(file).map_err(|e| e.to_string())?;
        let at = self.rng.usize(0..bytes.len());
        if kind == Kind::Truncate {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << self.rng.u32(0..8);
        }
        std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(self.cluster.data(id));
        let what = format!("node {id}: {} at byte {at}", name.unwrap_or(file).display());
        self.begins(kind, &what);
        let made = |undo| Made { kind, what, undo };

        let network = self.cluster.ground.network.clone();
        if let Some(network) = &network {
            for other in self.cluster.ids().into_iter().filter(|other| *other != id) {
                network.part(id, other);
            }
        }
        self.cluster.spawn(id)?;
        let end = tokio::time::Instant::now() + START;
        let undo = loop {
            if let Ok(status) = status(&self.cluster.doors, id).await {
                self.unharmed += 1;
                let index = status.last_log_index.max(status.snapshot_index);
                if index < held {
                    self.wrong.push(format!(
                        "node {id} held entry {held}, and started with {index} after damage: {}",
                        self.cluster.said(id, 2)
                    ));
                }
                self.recorder.push(Record::Started(Started {
                    at_ns: self.recorder.now(),
                    node: id,
                    index,
                    term: 0,
                    vote: 0,
                }));
                break Undo::Nothing;
            }
            if !self.cluster.runs(id) {
                self.refused += 1;
                let said = self.cluster.said(id, 1);
                if !said.contains("under a new node id") {
                    self.wrong.push(format!(
                        "node {id} stopped on damage to {} without saying what to do: {said}",
                        file.display()
                    ));
                }
                break Undo::Replace(id);
            }
            if tokio::time::Instant::now() > end {
                self.wrong
                    .push(format!("node {id} neither starts nor stops on damage"));
                break Undo::Replace(id);
            }
            sleep(Duration::from_millis(50)).await;
        };
        if let Some(network) = &network {
            network.join(id);
        }
        Ok(made(undo))
    }

    /// Faults that are a course of steps.
    async fn moves(&mut self, kind: Kind) -> Result<(), String> {
        match kind {
            Kind::Churn => {
                let leaves = self.any();
                repair::join(&mut self.cluster).await?;
                repair::leave(&mut self.cluster, leaves).await?;
            }
            Kind::Transfer => {
                for _ in 0..5 {
                    let to = self.any();
                    // To one that can't lead now it is refused, and that is all.
                    let _ = repair::transfer(&self.cluster, to).await;
                    sleep(Duration::from_millis(self.rng.u64(200..1_500))).await;
                }
            }
            _ => {
                for id in self.shuffled() {
                    self.cluster.terminate(id).await?;
                    self.cluster.spawn(id)?;
                    self.cluster.wait_up(id).await?;
                    repair::whole(&self.cluster).await?;
                }
            }
        }
        Ok(())
    }

    fn leader(&self) -> Option<u64> {
        let leader = self.watcher.leader();
        leader.filter(|leader| self.cluster.ids().contains(leader))
    }

    fn any(&mut self) -> u64 {
        self.rng.choice(self.cluster.ids()).unwrap_or(1)
    }

    fn shuffled(&mut self) -> Vec<u64> {
        let mut ids = self.cluster.ids();
        self.rng.shuffle(&mut ids);
        ids
    }
}

fn part(network: &Network, some: &[u64], others: &[u64]) {
    for one in some {
        for other in others.iter().filter(|other| *other != one) {
            network.part(*one, *other);
        }
    }
}

/// All files with anything in them.
fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => files_below(&path, found),
            Ok(meta) if meta.len() > 0 => found.push(path),
            _ => {}
        }
    }
}
