//! A front-end dies with users waiting: every one of them keeps the place at another.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{FrontEnd, Holder, Turn};
use tokio::time::sleep;

use crate::harness::Cluster;

/// Users who come to the front-end that dies, in each of three seconds, and then to the other one.
const GROUP: usize = 30;
/// Slots of the pool: one and a half groups.
const SEATS: usize = 45;
/// What the process of the front-end that dies is told by its environment.
const NODES: &str = "TEST_FRONT_END_NODES";
const KEYS: &str = "TEST_FRONT_END_KEYS";
const TICKET: &str = "ticket: ";

/// The longest that anything the test waits for may take.
const WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longer than a second, so that those who come after it are behind those who came before.
const A_SECOND: Duration = Duration::from_millis(1_200);

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_a_front_end_that_is_killed_keeps_the_place_at_another() {
    let cluster = Cluster::start(&[]).await;
    let seats = SEATS.to_string();
    cluster.run(&[
        "pool",
        "set",
        "ent",
        "--capacity",
        &seats,
        "--ttl-ms",
        "2000",
    ]);
    cluster.run(&["region", "set", "ent", "normandie", "--nominal", &seats]);
    let keys = cluster.file("tickets.keys");
    std::fs::write(&keys, cluster.preau(&["key", "new"]).stdout).unwrap();

    let door = open(&cluster.addresses(), "portal-1", &keys).await;
    let mut inside = Vec::new();
    while inside.len() < SEATS {
        match door.arrive("everyone").unwrap() {
            Turn::Seated { seat, .. } => inside.push(seat),
            // The slots are on their way. This user goes again.
            Turn::Waiting { ticket, .. } => {
                door.leave(&ticket).unwrap();
                sleep(LOOK_EVERY).await;
            }
            turn @ Turn::Checking => panic!("somebody without a token is checked: {turn:?}"),
        }
    }

    let mut doomed = Doomed::start(&cluster.addresses(), &keys);
    let mut line = doomed.tickets();
    doomed.kill();
    sleep(A_SECOND).await;
    line.extend((0..GROUP).map(|_| (3, wait(&door))));

    // Whoever was at the other one is known here as soon as its lease has run out.
    until(|| {
        let known = |(_, ticket): &&(usize, String)| {
            let turn = door.poll(ticket).expect("nobody's ticket is refused");
            matches!(turn, Turn::Waiting { .. })
        };
        let missing = line.len() - line.iter().filter(known).count();
        (missing == 0)
            .then_some(())
            .ok_or(format!("{missing} are not known"))
    })
    .await;

    // As slots come free, those go in who came first, at whichever front-end.
    let mut left = [GROUP; 4];
    while !line.is_empty() {
        for seat in inside.drain(..) {
            door.leave(&seat).unwrap();
        }
        let next = SEATS.min(line.len());
        until(|| {
            line.retain(|(group, ticket)| match door.poll(ticket).unwrap() {
                Turn::Seated { seat, .. } => {
                    inside.push(seat);
                    left[*group] -= 1;
                    false
                }
                _ => true,
            });
            let all = inside.len() == next;
            all.then_some(())
                .ok_or(format!("{} of {next} are in", inside.len()))
        })
        .await;
        let next_group = left.iter().position(|&group| group > 0).unwrap_or(3);
        assert!(
            left[next_group + 1..].iter().all(|&group| group == GROUP),
            "somebody went in before others who had come earlier: {left:?} wait"
        );
    }
    for seat in inside {
        door.leave(&seat).unwrap();
    }
    door.close().await;
}

/// The front-end that is killed: this program again, as a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it, with its environment"]
async fn a_front_end_to_be_killed() {
    let nodes: Vec<String> = std::env::var(NODES)
        .expect("what the test above sets")
        .split(',')
        .map(str::to_owned)
        .collect();
    let keys = std::env::var_os(KEYS).expect("what the test above sets");
    let door = open(&nodes, "portal-2", Path::new(&keys)).await;
    let mut stdout = std::io::stdout();
    for group in 0..3 {
        for _ in 0..GROUP {
            writeln!(stdout, "{TICKET}{group} {}", wait(&door)).unwrap();
        }
        // The cluster hears of these before the next ones come.
        sleep(A_SECOND).await;
    }
    writeln!(stdout, "{TICKET}").unwrap();
    sleep(Duration::from_secs(60)).await;
}

async fn open(nodes: &[String], name: &str, keys: &Path) -> FrontEnd {
    let door = Holder::connect(nodes)
        .pool("ent")
        .region("normandie")
        .name(name)
        .reserve(SEATS as u64)
        .keys(keys)
        .front_end();
    door.await.unwrap()
}

/// A user comes, and has to wait.
fn wait(door: &FrontEnd) -> String {
    match door.arrive("everyone").unwrap() {
        Turn::Waiting { ticket, .. } => ticket,
        turn => panic!("not told to wait, though every slot is in use: {turn:?}"),
    }
}

async fn until(mut holds: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + WITHIN;
    while let Err(why) = holds() {
        assert!(Instant::now() < end, "{why}");
        sleep(LOOK_EVERY).await;
    }
}

struct Doomed(Child);

impl Doomed {
    fn start(nodes: &[String], keys: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("front_ends::a_front_end_to_be_killed")
            .env(NODES, nodes.join(","))
            .env(KEYS, keys)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// The tickets that it has given out, each with the group of its user.
    fn tickets(&mut self) -> Vec<(usize, String)> {
        let mut tickets = Vec::new();
        for line in BufReader::new(self.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((_, ticket)) = line.split_once(TICKET) else {
                continue;
            };
            let Some((group, ticket)) = ticket.split_once(' ') else {
                break;
            };
            tickets.push((group.parse().unwrap(), ticket.to_owned()));
        }
        assert_eq!(tickets.len(), 3 * GROUP, "its process ended early");
        tickets
    }

    /// kill -9.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // One that has ended already can't be killed, and is waited for all the same.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
