//! A gate starts again while others wait for the slots of those who are in.

use std::time::Duration;

use tokio::time::sleep;

use crate::probe::{BROWSER, Visitor};
use crate::site::Site;

const CAPACITY: usize = 4;
/// How long those who wait have the gate to themselves.
const AWAY: Duration = Duration::from_secs(6);
const ASK_EVERY: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_in_keeps_the_slot_though_those_who_wait_come_first() {
    let mut site = Site::start(CAPACITY, 1).await;
    let port = site.gate(0).port;
    let mut seated: Vec<_> = (0..CAPACITY).map(|_| Visitor::new(port)).collect();
    let mut waiting = seated.clone();
    for visitor in &mut seated {
        visitor.get_in().await;
    }
    for visitor in &mut waiting {
        visitor.get("/", BROWSER).await.unwrap();
        let answer = visitor.get("/preau/enter?to=/", BROWSER).await.unwrap();
        assert_eq!(answer.status, 503);
    }
    for nth in ["once", "twice"] {
        // The coordinator hears once a second who is in.
        sleep(Duration::from_secs(2)).await;
        site.kill_gate(0);
        site.spawn_gate(0);
        site.ready(0).await;
        let mut passed = Duration::ZERO;
        while passed < AWAY {
            for visitor in &mut waiting {
                let state = visitor.state().await;
                assert!(
                    ["waiting", "checking", "unreachable"].contains(&state.as_str()),
                    "somebody who waited is {state} after the gate was killed {nth}"
                );
            }
            sleep(ASK_EVERY).await;
            passed += ASK_EVERY;
        }
        for visitor in &mut seated {
            let answer = visitor.get("/", BROWSER).await.unwrap();
            assert_eq!(answer.status, 200, "killed {nth}");
        }
        for visitor in &mut waiting {
            assert_eq!(visitor.state().await, "waiting", "killed {nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_name_another_has_taken_is_not_ready_any_more() {
    let mut site = Site::start(CAPACITY, 2).await;
    site.kill_gate(1);
    site.rename_gate(1, 0);
    site.spawn_gate(1);
    site.ready(1).await;
    site.says(0, 503).await;
}
