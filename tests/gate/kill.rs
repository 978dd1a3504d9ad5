//! Gates and nodes die while people are in and others wait.

use std::time::Duration;

use crowd::Crowd;
use tokio::time::sleep;

use crate::harness::eventually;
use crate::programs::Program;
use crate::site::{Site, check, crowd};

const CAPACITY: usize = 40;
const PEOPLE: usize = 280;
/// As long as it takes to elect a leader, or to ask of every ticket that a gate does not know any more.
const OVERTAKING_S: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn kill_the_gate_the_leader_and_all_nodes_and_nobody_loses_anything() {
    let mut site = Site::start(CAPACITY, 1).await;
    let coming = Crowd {
        rate: 40.0,
        stay: Duration::from_secs(1)..=Duration::from_secs(3),
        pages: 4,
        hurry: 8.0,
        ..crowd(site.gate(0).port, PEOPLE)
    };
    let coming = coming.start().unwrap();
    eventually("people wait", || async {
        let waiting = coming.tally().waiting;
        (waiting > 20)
            .then_some(())
            .ok_or(format!("{waiting} wait"))
    })
    .await;

    site.kill_gate(0);
    site.spawn_gate(0);
    site.ready(0).await;
    println!("the gate was killed: {}", coming.tally());
    sleep(Duration::from_secs(3)).await;

    let leader = site.cluster.leader().await;
    site.cluster.kill(leader);
    site.cluster.leader().await;
    site.cluster.spawn(leader);
    println!("the leader was killed: {}", coming.tally());
    sleep(Duration::from_secs(3)).await;

    for id in 1..=3 {
        site.cluster.kill(id);
    }
    for id in 1..=3 {
        site.cluster.spawn(id);
    }
    site.cluster.leader().await;
    println!("all nodes were killed: {}", coming.tally());

    let tally = coming.finish().await;
    check("killed", &site, &tally, CAPACITY, OVERTAKING_S);
    for state in ["lost", "over"] {
        assert_eq!(tally.refused.get(state), None, "{:?}", tally.refused);
    }
    assert_eq!(
        site.portal.seen().seats.len(),
        PEOPLE,
        "sessions begun twice"
    );
}

/// The time to live of the dead gate's lease, and until all is settled that it knew.
const UNTIL_SETTLED_S: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn kill_one_of_two_gates_for_good_and_people_go_on_at_the_other() {
    let Some(nginx) = Program::Nginx.find_or_skip().await else {
        return;
    };
    let mut site = Site::start(CAPACITY, 2).await;
    let running = Program::Nginx.start(&nginx, &site).await;
    let coming = Crowd {
        rate: 40.0,
        stay: Duration::from_secs(1)..=Duration::from_secs(3),
        pages: 4,
        hurry: 8.0,
        ..crowd(running.port, PEOPLE)
    };
    let coming = coming.start().unwrap();
    eventually("people wait", || async {
        let waiting = coming.tally().waiting;
        (waiting > 20)
            .then_some(())
            .ok_or(format!("{waiting} wait"))
    })
    .await;
    site.kill_gate(0);
    println!("one gate was killed: {}", coming.tally());
    let tally = coming.finish().await;
    check("gone", &site, &tally, CAPACITY, UNTIL_SETTLED_S);
    assert_eq!(tally.refused.get("lost"), None, "{:?}", tally.refused);
    assert_eq!(
        site.portal.seen().seats.len(),
        PEOPLE,
        "sessions begun twice"
    );
}
