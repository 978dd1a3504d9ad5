//! Files that are damaged while their node is down.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use check::history::{Record, Started};
use tokio::time::sleep;

use super::{Made, Nemesis, Undo};
use crate::cluster::status;
use crate::faults::Kind;

/// How long a node may take to see that its files are damaged.
const START: Duration = Duration::from_secs(15);

impl Nemesis {
    /// Damages a file of a node that is down, and starts it, cut off from the others: so that what it has
    /// is what was on its disk.
    pub(super) async fn damage(&mut self, kind: Kind) -> Result<Made, String> {
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

        let weather = self.cluster.weather();
        if let Some(weather) = &weather {
            for other in self.cluster.ids().into_iter().filter(|other| *other != id) {
                weather.part(id, other);
            }
        }
        self.cluster.spawn(id)?;
        let end = Instant::now() + START;
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
            if Instant::now() > end {
                self.wrong
                    .push(format!("node {id} neither starts nor stops on damage"));
                break Undo::Replace(id);
            }
            sleep(Duration::from_millis(50)).await;
        };
        if let Some(weather) = &weather {
            weather.join(id);
        }
        Ok(made(undo))
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
