//! Processes that are started here and end with whoever started them.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;

/// How long a process may take to end by itself once it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked whether one that was told to end has.
const LOOK_OFTEN: Duration = Duration::from_millis(1);
/// Lines of a log that are shown where its process ended too soon.
const LAST_LINES: usize = 10;

/// Processes that belong together. They are stopped when this is dropped.
#[derive(Debug, Default)]
pub struct Processes(Vec<Process>);

#[derive(Debug)]
struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Processes {
    /// Starts one more, called `name` where something is said of it; what it says goes to `log`.
    pub fn start(
        &mut self,
        name: impl Into<String>,
        mut command: Command,
        log: PathBuf,
    ) -> Result<(), Failure> {
        let name = name.into();
        let no_start = |e| Failure::operation(format!("can't start {name}: {e}"));
        let stderr = File::create(&log).map_err(no_start)?;
        command
            .stdin(Stdio::null())
            .stdout(stderr.try_clone().map_err(no_start)?)
            .stderr(stderr)
            // A group of its own: Ctrl-C is for us, who then stop them.
            .process_group(0);
        let child = command.spawn().map_err(no_start)?;
        self.0.push(Process { name, log, child });
        Ok(())
    }

    /// Resolves when one has ended that should run.
    pub async fn ended(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.check() {
                return failure;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether all run that should.
    ///
    /// # Errors
    /// Where one has ended: how, and what it said last.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(Process::check)
    }

    /// The id of the process of this name, where it runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let process = self.0.iter().find(|process| process.name == name)?;
        Some(process.child.id())
    }

    /// Asks the one of this name to end, and waits until it has.
    ///
    /// # Errors
    /// Where there is none, or it takes too long.
    pub async fn stop(&mut self, name: &str) -> Result<(), Failure> {
        self.end(name, Signal::TERM).await
    }

    /// Ends the one of this name at once, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// As [`Processes::stop`].
    pub async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        self.end(name, Signal::KILL).await
    }

    async fn end(&mut self, name: &str, signal: Signal) -> Result<(), Failure> {
        let failed = |why: String| Failure::operation(format!("can't end {name}: {why}"));
        let at = self.0.iter().position(|process| process.name == name);
        let at = at.ok_or_else(|| failed("it does not run".into()))?;
        self.0[at].signal(signal);
        let end = Instant::now() + STOP_WITHIN;
        while matches!(self.0[at].child.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                return Err(failed(format!("it runs on after {STOP_WITHIN:.0?}")));
            }
            tokio::time::sleep(LOOK_OFTEN).await;
        }
        // It is to be missed by nobody.
        self.0.remove(at);
        Ok(())
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that has ended already is not there to be asked. It is still ours: its id is not given to
            // another process before we have waited for it.
            let _ = kill_process(pid, signal);
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        let how = match self.child.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => format!("ended with {status}"),
            Err(error) => format!("can't be watched: {error}"),
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        let name = &self.name;
        Err(Failure::operation(format!("{name} {how}:\n  {last}")))
    }
}

impl Drop for Processes {
    /// Asks all of them to end, waits, and ends whoever takes too long.
    fn drop(&mut self) {
        for process in &self.0 {
            process.signal(Signal::TERM);
        }
        let end = Instant::now() + STOP_WITHIN;
        for process in &mut self.0 {
            while matches!(process.child.try_wait(), Ok(None)) {
                if Instant::now() >= end {
                    tracing::warn!(process.name, "does not end by itself; killed");
                    let _ = process.child.kill();
                    let _ = process.child.wait();
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}
