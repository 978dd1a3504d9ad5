//! People before a gate of a few lines, which does to them what a test wants.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use crowd::{Crowd, Tally};
use tokio::net::TcpListener;

/// Who holds what: cookies are `i` for an invitation, `t` for a ticket, `s` for a seat.
#[derive(Default)]
struct Gate {
    capacity: usize,
    inside: AtomicUsize,
    most: AtomicUsize,
    /// Paths that were asked for, with the cookie.
    asked: Mutex<Vec<(String, String)>>,
    /// The next who polls is told that the place is lost.
    loses_one: AtomicUsize,
    /// Answers to so many seated people's requests, from the tenth on, are that the session is over.
    ends: AtomicUsize,
}

async fn serve(gate: Arc<Gate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(gate);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn took(counter: &AtomicUsize) -> bool {
    let less = |count: usize| count.checked_sub(1);
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

fn turn(state: &str, cookie: &str) -> Response {
    let body = format!("{{\"state\":\"{state}\",\"ask_in_s\":1,\"left_s\":null}}");
    ([(SET_COOKIE, cookie.to_owned())], body).into_response()
}

async fn answer(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let cookies = request.headers().get(COOKIE);
    let cookies = cookies.map_or("", |value| value.to_str().unwrap());
    let held = cookies
        .split("; ")
        .find_map(|pair| pair.strip_prefix("preau-ent="));
    let held = held.unwrap_or_default().to_owned();
    gate.asked
        .lock()
        .unwrap()
        .push((path.clone(), held.clone()));
    let page = (
        StatusCode::SERVICE_UNAVAILABLE,
        [(RETRY_AFTER, "1")],
        "wait",
    )
        .into_response();
    let to = |place: &'static str, cookie: &'static str| {
        (
            StatusCode::SEE_OTHER,
            [(LOCATION, place), (SET_COOKIE, cookie)],
        )
            .into_response()
    };
    match (path.as_str(), held.as_str()) {
        ("/preau/enter", "i") => {
            ([(SET_COOKIE, "preau-ent=t; Path=/; HttpOnly")], page).into_response()
        }
        ("/preau/turn", "t") if took(&gate.loses_one) => turn("lost", "preau-ent=; Max-Age=0"),
        ("/preau/turn", "t") => {
            let room = |inside: usize| (inside < gate.capacity).then_some(inside + 1);
            match gate
                .inside
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, room)
            {
                Ok(before) => {
                    gate.most.fetch_max(before + 1, Ordering::SeqCst);
                    turn("seated", "preau-ent=s; Path=/")
                }
                Err(_) => turn("waiting", "preau-ent=t"),
            }
        }
        ("/preau/turn", _) => turn("over", "preau-ent=x; Max-Age=0"),
        ("/preau/leave", "s") => {
            assert_eq!(request.method(), Method::POST);
            gate.inside.fetch_sub(1, Ordering::SeqCst);
            to("/preau/session", "preau-ent=s; Max-Age=0")
        }
        ("/preau/again", _) => to("/preau/enter?to=/", "preau-ent=i"),
        (path, _) if path.starts_with("/preau/") => "the gate".into_response(),
        ("/page/1", "s") if took(&gate.ends) => {
            gate.inside.fetch_sub(1, Ordering::SeqCst);
            ([(SET_COOKIE, "preau-ent=o")], page).into_response()
        }
        (_, "s") => "the portal".into_response(),
        (_, "") => to("/preau/enter?to=/", "preau-ent=i; Path=/"),
        _ => page,
    }
}

fn quick(address: &str) -> Crowd {
    Crowd {
        people: 60,
        rate: 400.0,
        stay: Duration::from_millis(20)..=Duration::from_millis(60),
        leave: 1.0,
        hurry: 50.0,
        patience: Duration::from_secs(30),
        ..Crowd::at(address).unwrap()
    }
}

async fn sent(gate: &Arc<Gate>, change: impl FnOnce(&mut Crowd)) -> Tally {
    let address = serve(Arc::clone(gate)).await;
    let mut crowd = quick(&address);
    change(&mut crowd);
    crowd.start().unwrap().finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wait_and_are_let_in_and_leave() {
    let gate = Arc::new(Gate {
        capacity: 7,
        ..Gate::default()
    });
    let tally = sent(&gate, |crowd| crowd.pressers = 3).await;
    let counts = (tally.arrived, tally.seated, tally.left, tally.gone);
    assert_eq!(counts, (60, 60, 60, 0), "{tally}");
    assert_eq!((tally.waiting, tally.inside), (0, 0));
    assert_eq!((tally.thrown_out, tally.gave_up), (0, 0));
    assert!(
        tally.errors.is_empty() && tally.refused.is_empty(),
        "{tally}"
    );
    assert_eq!(tally.waited_us.len(), 60);
    assert_eq!(gate.most.load(Ordering::SeqCst), 7);
    assert!(tally.passages.iter().all(|one| one.arrived <= one.seated));
    // Each looked at all of the pages, and what is on them, once.
    let asked = gate.asked.lock().unwrap();
    let times = |wanted: &str| {
        asked
            .iter()
            .filter(|one| **one == (wanted.into(), "s".into()))
            .count()
    };
    assert_eq!(
        (
            times("/"),
            times("/page/2"),
            times("/asset/0/1"),
            times("/asset/2/0")
        ),
        (60, 60, 60, 60)
    );
    // Whoever presses keeps nothing.
    assert!(
        tally
            .presses
            .keys()
            .all(|status| *status == 303 || *status == 503 || *status == 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_that_the_place_is_lost_comes_anew() {
    let gate = Arc::new(Gate {
        capacity: 100,
        loses_one: 2.into(),
        ..Gate::default()
    });
    let tally = sent(&gate, |_| ()).await;
    assert_eq!(
        (tally.seated, tally.refused.get("lost")),
        (60, Some(&2)),
        "{tally}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_session_is_over_too_soon_is_thrown_out() {
    let gate = Arc::new(Gate {
        capacity: 100,
        ends: 4.into(),
        ..Gate::default()
    });
    let tally = sent(&gate, |_| ()).await;
    assert_eq!(
        (tally.seated, tally.thrown_out, tally.left),
        (60, 4, 56),
        "{tally}"
    );
    assert_eq!(tally.refused.get("over in a session"), Some(&4));
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends() {
    let gate = Arc::new(Gate::default());
    let tally = sent(&gate, |crowd| crowd.patience = Duration::from_millis(300)).await;
    assert_eq!(
        (tally.seated, tally.gave_up, tally.waiting),
        (0, 60, 0),
        "{tally}"
    );
    assert!(tally.passages.iter().all(|one| one.seated.is_none()));
}

#[test]
fn an_address_is_http_with_a_host_and_no_more() {
    for bad in [
        "",
        "127.0.0.1:80",
        "https://a",
        "http://a/b",
        "ftp://a",
        "/",
    ] {
        assert!(Crowd::at(bad).is_err(), "{bad}");
    }
    assert!(Crowd::at("http://127.0.0.1:8090").is_ok());
}
