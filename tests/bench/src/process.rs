//! What a process takes, as the kernel counts it.

use std::fs::read_to_string;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use preau::parts::Failure;

use crate::machine::size;

/// What a process has taken so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// Time on processors, its own and the kernel's for it, in seconds.
    pub cpu_s: f64,
    /// Memory that it has now, in bytes.
    pub resident: u64,
}

/// What a process has taken until now.
///
/// # Errors
/// Where it does not run, or the kernel tells nothing of it.
pub fn taken(pid: u32) -> Result<Taken, Failure> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        read_to_string(&path).map_err(|e| Failure::operation(format!("{path}: {e}")))
    };
    let ticks = ticks(&read("stat")?);
    let resident = size(&read("status")?, "VmRSS:");
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    match (ticks, resident) {
        (Some(ticks), Some(resident)) => Ok(Taken {
            cpu_s: ticks as f64 / per_second,
            resident,
        }),
        _ => Err(Failure::operation(format!(
            "/proc/{pid} does not say what the process takes"
        ))),
    }
}

/// Ticks on processors, in user mode and in the kernel, out of /proc/PID/stat. The second field is the program's
/// name, in parentheses, which may have some of its own.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    // The 14th and 15th fields in all.
    let mut fields = after.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

/// Bytes that a directory takes on its disk, with all that is below. What goes away meanwhile counts as nothing.
pub fn disk(dir: &Path) -> u64 {
    /// What the kernel counts a file's blocks by.
    const BLOCK: u64 = 512;
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk(&entry.path()),
        Ok(data) => data.blocks() * BLOCK,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = |name: &str| {
            format!(
                "4242 ({name}) S 1 4242 4242 0 -1 4194560 1203 0 0 0 731 269 5 6 20 0 8 0 99 1 2"
            )
        };
        for name in ["preau", "a b", "x) S 1 (y"] {
            assert_eq!(ticks(&stat(name)), Some(1_000), "{name}");
        }
        for cut in [
            "",
            "4242 (preau",
            "4242 (preau) S 1 2",
            "4242 (preau) S 1 2 3 4 5 6 7 8 9 10 a b",
        ] {
            assert_eq!(ticks(cut), None, "{cut}");
        }
    }

    #[test]
    fn this_process_takes_something() {
        let taken = taken(std::process::id()).unwrap();
        assert!(taken.resident > 0 && taken.cpu_s >= 0.0, "{taken:?}");
        assert!(super::taken(u32::MAX).is_err());
    }

    #[test]
    fn a_directory_takes_what_is_below_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk(dir.path()), 0);
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let file = std::fs::File::create(below.join("file")).unwrap();
        std::io::Write::write_all(&mut &file, &[7; 100_000]).unwrap();
        file.sync_all().unwrap();
        assert!(disk(dir.path()) >= 100_000);
        assert_eq!(disk(&dir.path().join("nothing")), 0);
    }
}
