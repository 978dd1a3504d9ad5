//! Makes faults, and undoes them.

mod cuts;
mod damage;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::disk::Hanging;
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
    Disk(u64),
    Stop(Again),
    Broken(u64),
    Replace(u64),
}

/// Something that is done again and again until it is told to stop; then it says whether all of it could be.
struct Again {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<(), String>>,
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
                self.cluster.disk(id)?.fill()?;
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
                if let Some(weather) = self.cluster.weather() {
                    weather.heal();
                }
            }
            Undo::Stop(again) => {
                again.stop.store(true, Ordering::Relaxed);
                let done = again.task.await.map_err(|e| e.to_string())?;
                done.map_err(|why| format!("{} could not be made: {why}", made.kind.name()))?;
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
        if ids.is_empty() {
            return Err("none of the nodes to be paused runs".into());
        }
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
        let mut rng = self.rng.fork();
        let again = Again::new(|stopped| async move {
            while !stopped.load(Ordering::Relaxed) {
                if let (Some(file), Some(jump)) = (rng.choice(&files), rng.choice(JUMPS)) {
                    put_off(file, jump)?;
                }
                sleep(Duration::from_millis(700)).await;
            }
            files.iter().try_for_each(|file| put_off(file, 0))
        });
        let what = "by up to a day, on all nodes".to_owned();
        (what, Undo::Stop(again))
    }

    fn slow_disk(&mut self) -> Result<(String, Undo), String> {
        let id = self.leader().filter(|_| self.rng.bool());
        let id = id.unwrap_or_else(|| self.any());
        let disk = Hanging::new(self.cluster.disk(id)?.path())?;
        let mut rng = self.rng.fork();
        let again = Again::new(|stopped| async move {
            while !stopped.load(Ordering::Relaxed) {
                disk.hang(Duration::from_millis(rng.u64(HANGS_MS))).await?;
                sleep(Duration::from_millis(rng.u64(GOES_ON_MS))).await;
            }
            Ok(())
        });
        Ok((format!("of node {id}"), Undo::Stop(again)))
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
                let mut ended = Vec::new();
                for _ in 0..5 {
                    let to = self.any();
                    // To one that can't lead now it is refused.
                    ended.push(repair::transfer(&self.cluster, to).await);
                    sleep(Duration::from_millis(self.rng.u64(200..1_500))).await;
                }
                let refused: Vec<_> = ended.iter().filter_map(|one| one.as_ref().err()).collect();
                if refused.len() == ended.len() {
                    return Err(format!("leadership was never handed over: {refused:?}"));
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

impl Again {
    fn new<F>(course: impl FnOnce(Arc<AtomicBool>) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(course(Arc::clone(&stop)));
        Self { stop, task }
    }
}

/// Puts the clock of which the file tells off by so many seconds. That of a node that is gone is nobody's.
fn put_off(file: &Path, seconds: i64) -> Result<(), String> {
    match std::fs::write(file, format!("{seconds:+}\n")) {
        Err(error) if file.parent().is_some_and(Path::exists) => {
            Err(format!("{}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_fails_later_is_told_at_the_end() {
        let again = Again::new(|_| async { Err("fsfreeze: not permitted".to_owned()) });
        assert!(again.task.await.unwrap().is_err());
        let again = Again::new(|stopped| async move {
            while !stopped.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        again.stop.store(true, Ordering::Relaxed);
        assert_eq!(again.task.await.unwrap(), Ok(()));
    }

    #[test]
    fn a_clock_that_cannot_be_set_is_an_error_unless_its_node_is_gone() {
        let node = tempfile::tempdir().unwrap();
        let clock = node.path().join("clock");
        put_off(&clock, -600).unwrap();
        assert_eq!(std::fs::read_to_string(&clock).unwrap(), "-600\n");
        std::fs::remove_file(&clock).unwrap();
        std::fs::create_dir(&clock).unwrap();
        assert!(put_off(&clock, 0).unwrap_err().contains("clock"));
        std::fs::remove_dir_all(node.path()).unwrap();
        put_off(&clock, 0).unwrap();
    }
}
