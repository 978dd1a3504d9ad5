//! What a run was made on: no figure means anything without it.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// Filesystems that are no disk.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
/// For how long it is looked at how busy the machine is.
const LOOK: Duration = Duration::from_secs(1);

/// A machine, and what is installed on it.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// Processors that may be used.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The kind of filesystem that the data is on.
    pub filesystem: String,
    /// Programs that take part, with their versions.
    pub versions: Vec<String>,
}

impl Machine {
    /// This one, with data in `data`.
    pub fn here(data: &Path, mut versions: Vec<String>) -> Self {
        versions.push(format!("load and nodes built by {}", env!("BUILT_BY")));
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        Self {
            cpu: cpu(&read("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(&read("/proc/meminfo")).unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(data).unwrap_or_else(|| "unknown".into()),
            versions,
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{} cores ({}), {:.0} GiB of memory, Linux {}, data on {}",
            self.cores,
            self.cpu,
            self.memory as f64 / f64::from(1 << 30),
            self.kernel,
            self.filesystem
        )
    }
}

/// The processor's model, out of /proc/cpuinfo.
fn cpu(text: &str) -> Option<String> {
    let model = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    })?;
    (!model.is_empty()).then_some(model)
}

/// All memory in bytes, out of /proc/meminfo.
fn memory(text: &str) -> Option<u64> {
    size(text, "MemTotal:")
}

/// A size in bytes, out of one of the kernel's files whose lines are a name and so many kB.
pub fn size(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// The kind of filesystem that a path is on.
fn filesystem(path: &Path) -> Option<String> {
    let mounts = read_to_string("/proc/mounts").ok()?;
    mounted(&mounts, &path.canonicalize().ok()?)
}

/// The kind of filesystem of a path, out of /proc/mounts: that which is mounted nearest above it, and last there.
fn mounted(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        // As the kernel writes a space there.
        let at = PathBuf::from(at.replace("\\040", " "));
        let depth = at.components().count();
        if path.starts_with(&at) && best.is_none_or(|(deepest, _)| depth >= deepest) {
            best = Some((depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// Whether what is written there never reaches a disk.
pub fn is_in_memory(path: &Path) -> bool {
    filesystem(path).is_some_and(|kind| IN_MEMORY.contains(&kind.as_str()))
}

/// How busy others keep the processors, in percent of all of them: looked at for a second in which we do nothing.
pub async fn busy_percent() -> f64 {
    let now = || {
        read_to_string("/proc/stat")
            .ok()
            .and_then(|text| times(&text))
    };
    let before = now();
    tokio::time::sleep(LOOK).await;
    match (before, now()) {
        (Some(before), Some(after)) => {
            let all = after.all.saturating_sub(before.all);
            let idle = after.idle.saturating_sub(before.idle).min(all);
            100.0 * (all - idle) as f64 / all.max(1) as f64
        }
        _ => 0.0,
    }
}

/// Time that all processors have spent, in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    all: u64,
    idle: u64,
}

/// The times out of /proc/stat: waiting for a disk is idle, and what a guest used is in the first figures already.
fn times(text: &str) -> Option<Times> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all = ticks.iter().sum();
    Some(Times { all, idle })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_the_kernel_writes_them() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel\t\t: 2\n";
        assert_eq!(cpu(text).as_deref(), Some("AMD EPYC"));
        assert_eq!(cpu("processor : 0\n"), None);
        let text = "MemTotal:       24617432 kB\nMemFree: 1 kB\n";
        assert_eq!(memory(text), Some(24_617_432 * 1_024));
        assert_eq!(memory("MemTotal: many kB"), None);
        let text = "cpu  10 1 20 400 30 0 2 1 7 0\ncpu0 1 1 1 1\n";
        let expected = Times {
            all: 464,
            idle: 430,
        };
        assert_eq!(times(text), Some(expected));
        assert_eq!(times("intr 1"), None);
    }

    #[test]
    fn the_nearest_mount_is_the_one() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/a\\040b xfs rw 0 0\n\
                      overlay /late ext4 rw 0 0\ntmpfs /late tmpfs rw 0 0\n";
        let on = |path: &str| mounted(mounts, Path::new(path)).unwrap();
        assert_eq!(on("/var/lib"), "ext4");
        assert_eq!(on("/tmpfoo"), "ext4");
        assert_eq!(on("/tmp/x"), "tmpfs");
        assert_eq!(on("/tmp/a b/c"), "xfs");
        assert_eq!(on("/late"), "tmpfs");
        assert_eq!(mounted("", Path::new("/")), None);
    }
}
