//! What disk, network and Raft allow, one layer on the other, and what each adds to a grant's time.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use preau::parts::Failure;

use crate::figures::{Figures, Rows, ratio};
use crate::ground::{Args, Ground, progress};
use crate::load::{Client as _, Phase, alone};
use crate::machine::busy_percent;
use crate::report::{Goal, Layer, Report};
use crate::stand_in::{APPEND, Pair, append};
use crate::targets::nodes::{FLAGS, Nodes};

const APPENDED: (&str, &str) = ("disk", "append, fdatasync");
const IN_PLACE: (&str, &str) = ("disk", "overwrite, fdatasync");
const EMPTY: (&str, &str) = ("gRPC", "empty call");
const IDEAL: (&str, &str) = ("two processes", "both append, fdatasync");
const PROPOSAL: (&str, &str) = ("Préau", "command without effect");
const GRANT: (&str, &str) = ("Préau", "grant");
const ALL: [(&str, &str); 6] = [APPENDED, IN_PLACE, EMPTY, IDEAL, PROPOSAL, GRANT];

/// Bytes of the file that is written in place.
const FILE: u64 = 1 << 20;

/// Measures all, one after the other, as often as there are runs.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(&args.place, Vec::new())?;
    let mut report = Report::new("ceiling", "Where the time of a grant goes", &ground.machine);
    let bar = progress(ALL.len() * args.runs as usize);
    for _ in 0..args.runs {
        report.busy_before_percent.push(busy_percent().await);
        let mut note = |(target, what): (&'static str, &'static str), figures: Figures| {
            bar.set_message(what);
            report.rows.add((target, 1), what, 1, figures);
            bar.inc(1);
        };
        let dir = ground.dir()?;
        let mut file = file(&dir.path().join("appended"))?;
        let appended = alone(args.time(), async || {
            append(&mut file).map_err(|e| e.to_string())
        });
        note(APPENDED, appended.await?);
        note(IN_PLACE, in_place(args, dir.path()).await?);

        let Pair {
            mut processes,
            mut door,
        } = Pair::start(dir.path()).await?;
        let empty = alone(args.time(), async || door.empty().await);
        note(EMPTY, empty.await?);
        let ideal = alone(args.time(), async || door.sync().await);
        note(
            IDEAL,
            tokio::select! {
                ideal = ideal => ideal?,
                failure = processes.ended() => return Err(failure),
            },
        );
        drop(processes);

        let nodes = Nodes::start(&ground.preau, dir.path(), &FLAGS);
        let Nodes { mut cluster, door } = nodes.await?;
        let mut callers = door.callers(1).await?;
        let Some(caller) = callers.first_mut() else {
            return Err(Failure::operation("there is no client"));
        };
        let proposal = alone(args.time(), async || caller.ask_nothing().await);
        note(PROPOSAL, proposal.await?);
        let grant = alone(args.time(), async || {
            caller.call(Phase::Grant).await.map(drop)
        });
        note(
            GRANT,
            tokio::select! {
                grant = grant => grant?,
                failure = cluster.children.ended() => return Err(failure),
            },
        );
    }
    bar.finish_and_clear();
    report.layers = layers(&report.rows);
    report.goals.extend(goal(&report.rows));
    report.notes = notes();
    report.finish(&ground.out)
}

fn file(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|e| Failure::operation(format!("can't make a file: {e}")))
}

/// Writes where the file has its bytes already, so that nothing but them has to reach the disk.
async fn in_place(args: &Args, dir: &Path) -> Result<Figures, Failure> {
    let file = file(&dir.join("in-place"))?;
    file.write_all_at(&vec![0; FILE as usize], 0)
        .and_then(|()| file.sync_all())
        .map_err(|e| Failure::operation(format!("can't write a file: {e}")))?;
    let mut at = 0;
    alone(args.time(), async || {
        at = (at + APPEND.len() as u64) % FILE;
        file.write_all_at(&APPEND, at)
            .and_then(|()| file.sync_data())
            .map_err(|e| e.to_string())
    })
    .await
}

fn p50((target, what): (&str, &str), rows: &Rows) -> f64 {
    rows.find(target, what, 1)
        .map_or(0.0, |row| row.spread(|run| run.p50_us as f64).median)
}

/// What each layer adds to the one below it; nothing where that is less than what was measured below.
fn layers(rows: &Rows) -> Vec<Layer> {
    let of = |measured| p50(measured, rows);
    let (disk, call) = (of(APPENDED), of(EMPTY));
    let (ideal, proposal, grant) = (of(IDEAL), of(PROPOSAL), of(GRANT));
    [
        ("the disk: one append and fdatasync", disk),
        ("gRPC: one empty call to another process", call),
        (
            "a second disk at the same time, and the call to it",
            ideal - disk - call,
        ),
        (
            "Raft and its log: what a command costs beyond that",
            proposal - ideal,
        ),
        ("the rules, and the answer", grant - proposal),
    ]
    .map(|(what, us)| Layer {
        what: what.into(),
        us: us.max(0.0),
    })
    .into()
}

fn goal(rows: &Rows) -> Option<Goal> {
    let find = |(target, what): (&str, &str)| rows.find(target, what, 1);
    let (grant, ideal) = (find(GRANT)?, find(IDEAL)?);
    let said = "p50 of one client's grants, to a sync on each of two nodes and two round trips";
    Goal::at_most(
        1.5,
        said.into(),
        ratio(grant, ideal, |run| run.p50_us as f64),
    )
}

fn notes() -> Vec<String> {
    vec![
        format!(
            "One client, one call at a time. Disk: {} bytes at the end of a file, then fdatasync; and the same in \
             a file that has its bytes already, as a log that is made in advance would be written.",
            APPEND.len()
        ),
        "An empty call goes to another process over loopback and comes back. Two processes: a call to the first, \
         which appends and syncs while the second does the same on its call, and which answers once both are \
         done. No replicated log can be faster whose leader answers when two nodes have an entry on disk."
            .into(),
        "A command without effect is the return of a lease that never was: gRPC, the leader's queue, openraft, \
         the logs of a majority on disk, and a state machine that refuses it. It is the nearest to an empty \
         proposal that can be had from outside, in the very processes that carry out the grants."
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;

    #[test]
    fn layers_add_up_and_none_is_below_nothing() {
        let mut rows = Rows::default();
        // Half of so many microseconds is the p50.
        for ((target, what), us) in [
            (APPENDED, 200),
            (EMPTY, 100),
            (IDEAL, 260),
            (PROPOSAL, 600),
            (GRANT, 640),
        ] {
            rows.add((target, 1), what, 1, figures(us, 1.0));
        }
        let us: Vec<f64> = layers(&rows).iter().map(|layer| layer.us).collect();
        assert_eq!(us, [100.0, 50.0, 0.0, 170.0, 20.0]);
        let goal = goal(&rows).unwrap();
        assert!(!goal.met, "{goal:?}");
        assert!((goal.reached.median - 320.0 / 130.0).abs() < 1e-9);
    }
}
