//! What a process really did to its files, as strace saw it.

use std::path::Path;
use std::process::Command;

/// All calls that change a file, a name or what a descriptor stands for.
const CALLS: &str = "open,openat,creat,close,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,\
    ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,dup,dup2,dup3,\
    fcntl,link,linkat,symlink,symlinkat,copy_file_range,sendfile,sync,syncfs,msync";

/// Whether strace works here; says so where it does not.
pub fn available() -> bool {
    let works = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace is not installed or may not trace; no power cut was tried");
    }
    works
}

/// The command that runs another one and records it.
pub fn command(to: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-xx",
        "-s",
        "100000000",
        "--seccomp-bpf",
        "-e",
        "signal=none",
        "-e",
    ]);
    command.arg(format!("trace={CALLS}")).arg("-o").arg(to);
    command
}

/// Something seen, in order.
#[derive(Debug)]
pub enum Event {
    /// A call begins.
    Begin {
        thread: u32,
        name: String,
        args: String,
    },
    /// It ends, with what it returned; a failed one is -1.
    End { thread: u32, result: i64 },
}

/// Reads what strace recorded.
pub fn read(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut events = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let (thread, rest) = (thread.parse().unwrap(), rest.trim_start());
        let result = |rest: &str| {
            let (_, result) = rest.rsplit_once(" = ").unwrap_or(("", "-1"));
            let number = result.split_whitespace().next().unwrap();
            number.parse().unwrap_or(0)
        };
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if rest.starts_with("<...") {
            events.push(Event::End {
                thread,
                result: result(rest),
            });
            continue;
        }
        let (name, args) = rest.split_once('(').unwrap();
        let unfinished = args.strip_suffix(" <unfinished ...>");
        let whole = || args.rsplit_once(" = ").map_or(args, |(args, _)| args);
        events.push(Event::Begin {
            thread,
            name: name.into(),
            args: unfinished
                .unwrap_or_else(whole)
                .trim_end()
                .trim_end_matches(')')
                .into(),
        });
        if unfinished.is_none() {
            events.push(Event::End {
                thread,
                result: result(rest),
            });
        }
    }
    events
}
