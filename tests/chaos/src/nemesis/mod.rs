//! Makes faults, and undoes them.

mod cuts;
mod damage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::faults::Kind;
use crate::record::Recorder;
use crate::repair;
use crate::watcher::Watcher;

/// How long writes hang, and go on between, in milliseconds.
const HANGS_MS: std::ops::Range<u64> = 50..1_500;
const GOES_ON_MS: std::ops::Range<u64> = 20..200;
/// What wall clocks are put off by, in seconds.
const JUMPS: [i64; 7] = [-86_400, -18_000, -600, 0, 600, 18_000, 86_400];

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
                let what = self.begins(kind, "step by step");
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
