//! The simulator and a real cluster, given the same small scripted morning, end with the same seatings.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::{FrontEnd, Holder, Turn};
use sim::{Morning, Scenario, Visit, Way};
use tokio::time::sleep;

use crate::harness::Cluster;

const SEATS: usize = 6;
const CLASSES: [&str; 3] = ["teachers", "exam", "everyone"];

/// Six come first and are seated; their sessions end two by two. The others come meanwhile, at two
/// front-ends, each group in a second of its own: who is next is the rules' to say.
fn script() -> Vec<Visit> {
    let visit = |at_ms, class, front_end, stays_ms| Visit {
        at_ms,
        class,
        front_end,
        stays_ms,
    };
    let long = 60_000;
    let mut script: Vec<Visit> = [5_000, 5_000, 8_500, 8_500, 12_000, 12_000]
        .map(|stays_ms| visit(2_000, 2, 0, stays_ms))
        .to_vec();
    script.extend([visit(3_500, 2, 1, long); 3]);
    script.extend([visit(4_500, 1, 0, long); 2]);
    script.push(visit(5_500, 0, 1, long));
    script.extend([visit(6_500, 2, 0, long); 3]);
    script
}

const SCENARIO: &str = r#"
name = "Scripted"
users = 15
capacity = 6
from = "09:00:00"
to = "09:00:20"
utc_offset = "+02:00"
arrivals = { opens = "09:00:10", shape = "uniform", spread_s = 1.0, stagger_s = 0.0, strays = 0.0 }
sessions = { mean_s = 60.0, shortest_s = 1.0, longest_s = 60.0 }
patience = { mean_s = 60.0, shortest_s = 1.0, says_so = 1.0 }
retry = { mean_s = 60.0, shortest_s = 5.0 }
overload = { exponent = 1.0, falls_over_at = 2.0, after_s = 60, back_after_s = 300 }

[front_ends]
count = 2
ttl_ms = 10_000
report_ms = 1_000
delay_ms = 1.0
jitter_ms = 1.0
loss = 0.0
timeout_ms = 500
silence_s = 60

[[class]]
name = "teachers"
share = 0.1
weight = 1
first = true

[[class]]
name = "exam"
share = 0.1
weight = 2

[[class]]
name = "everyone"
share = 0.8
weight = 1

[[region]]
name = "normandie"
population = 1
nominal = 6
portal = 6
weight = 1
"#;

/// The same pool for the cluster.
const BUDGET: &str = r#"
[[pool]]
name = "ent"
capacity = 6

[[pool.class]]
name = "teachers"
first = true

[[pool.class]]
name = "exam"
weight = 2

[[pool.class]]
name = "everyone"

[[pool.region]]
name = "normandie"
nominal = 6
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_and_a_cluster_end_with_the_same_seatings() {
    let script = script();
    let scenario = Scenario::parse(SCENARIO).unwrap();
    let simulated = Morning::scripted(scenario, 1, script.clone()).seatings(Way::Preau);
    let simulated: Vec<u32> = simulated.into_iter().map(|(user, _)| user).collect();

    let cluster = Cluster::start(&[]).await;
    let budget = cluster.file("budget.toml");
    std::fs::write(&budget, BUDGET).unwrap();
    cluster.run(&["apply", "-f", budget.to_str().unwrap()]);
    let doors = [
        open(&cluster, "normandie-1").await,
        open(&cluster, "normandie-2").await,
    ];
    let played = play(&doors, &script).await;

    // Two sessions end at a time, and so two are seated at a time, in whichever order.
    assert_eq!(waves(&played), waves(&simulated));
    assert_eq!(played.len(), 2 * SEATS, "{played:?}");
    let teacher = script.iter().position(|visit| visit.class == 0).unwrap();
    assert!(
        played[SEATS..SEATS + 2].contains(&(teacher as u32)),
        "{played:?}"
    );
    for door in doors {
        // Its lease runs out by itself: nobody waits for the sessions.
        drop(door);
    }
}

/// Who was seated first of all, and then two by two.
fn waves(seated: &[u32]) -> Vec<BTreeSet<u32>> {
    let (first, others) = seated.split_at(SEATS.min(seated.len()));
    std::iter::once(first)
        .chain(others.chunks(2))
        .map(|wave| wave.iter().copied().collect())
        .collect()
}

async fn open(cluster: &Cluster, name: &str) -> FrontEnd {
    let door = Holder::on(Ok(cluster.nodes()))
        .pool("ent")
        .region("normandie")
        .name(name)
        .front_end();
    door.await.unwrap()
}

/// A user of the script who has come.
struct User {
    token: String,
    /// When the session ends, once there is one.
    ends: Option<Instant>,
}

/// Plays the script in real time, until all sessions have ended that end in it. Who was seated, in order.
async fn play(doors: &[FrontEnd; 2], script: &[Visit]) -> Vec<u32> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(19);
    let mut users: Vec<Option<User>> = script.iter().map(|_| None).collect();
    let mut seated = Vec::new();
    while Instant::now() < end {
        for (i, (visit, user)) in script.iter().zip(&mut users).enumerate() {
            let door = &doors[usize::from(visit.front_end)];
            let come = begin.elapsed() >= Duration::from_millis(visit.at_ms.into());
            let turn = match user {
                None if come => door.arrive(CLASSES[usize::from(visit.class)]).unwrap(),
                Some(User { token, ends: None }) => door.poll(token).unwrap(),
                Some(User {
                    token,
                    ends: Some(ends),
                }) if Instant::now() >= *ends => {
                    door.leave(token).unwrap();
                    // Gone for good.
                    *ends += Duration::from_secs(3_600);
                    continue;
                }
                _ => continue,
            };
            *user = Some(match turn {
                Turn::Seated { seat, .. } => {
                    seated.push(i as u32);
                    User {
                        token: seat,
                        ends: Some(Instant::now() + Duration::from_millis(visit.stays_ms.into())),
                    }
                }
                Turn::Waiting { ticket, .. } => User {
                    token: ticket,
                    ends: None,
                },
                Turn::Checking => panic!("a front-end's own ticket is checked"),
            });
        }
        sleep(Duration::from_millis(20)).await;
    }
    seated
}
