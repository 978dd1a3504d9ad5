//! What people have is theirs: whatever other sites ask in their name, whichever of their cookies, tabs and devices they
//! come by, and whoever sat there before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use bytes::Bytes;
use client::tokens::Kind;
use jsonwebtoken::{EncodingKey, Header, encode};

use crate::harness::eventually;
use crate::portal::id;
use crate::probe::{Answer, BROWSER, IMAGE, PROGRAM, Visitor};
use crate::site::{COOKIE_NAME, IDENTITY, POOL, SECRET, Site};

const FORM: &[(&str, &str)] = &[
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("content-type", "application/x-www-form-urlencoded"),
];
const FORM_FROM_ELSEWHERE: &[(&str, &str)] = &[
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "cross-site"),
    ("origin", "https://login.example"),
    ("content-type", "application/x-www-form-urlencoded"),
];

async fn post(visitor: &mut Visitor, path: &str, headers: &[(&str, &str)]) -> Answer {
    let asked = visitor.ask(Method::POST, path, headers, Bytes::new());
    asked.await.unwrap()
}

/// Takes a place, where all slots are taken.
async fn wait(visitor: &mut Visitor) {
    assert_eq!(visitor.get("/", BROWSER).await.unwrap().status, 303);
    assert_eq!(
        visitor
            .get("/preau/enter?to=/", BROWSER)
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(kind(visitor), Some(Kind::Ticket));
}

fn kind(visitor: &Visitor) -> Option<Kind> {
    visitor.token.as_deref().and_then(Kind::of)
}

/// How somebody stands, as their page is told.
async fn state(visitor: &Visitor, headers: &[(&str, &str)]) -> String {
    let answer = visitor
        .clone()
        .get("/preau/turn?look=1", headers)
        .await
        .unwrap();
    let turn: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    turn["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_kept_whatever_is_asked_without_it() {
    let site = Site::start(1, 1).await;
    let port = site.gate(0).port;
    let (mut seated, mut waiting) = (Visitor::new(port), Visitor::new(port));
    seated.get_in().await;
    wait(&mut waiting).await;

    // Another site's form comes without the cookie, and what it is answered must not take that one's place.
    let form = post(&mut Visitor::new(port), "/acs?a=b", FORM_FROM_ELSEWHERE).await;
    assert_eq!(
        (form.status.as_u16(), form.header("location")),
        (303, "/acs?a=b")
    );
    assert!(form.sets(COOKIE_NAME).is_empty());
    for (method, headers) in [(Method::GET, PROGRAM), (Method::POST, PROGRAM)] {
        let asked = Visitor::new(port)
            .ask(method, "/api", headers, Bytes::new())
            .await;
        let answer = asked.unwrap();
        assert_eq!(answer.status, 429);
        assert!(answer.sets(COOKIE_NAME).is_empty());
        let turn: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            turn["token"].as_str().and_then(Kind::of),
            Some(Kind::Invitation)
        );
    }
    let form = post(&mut waiting, "/send", FORM).await;
    assert_eq!(
        (form.status.as_u16(), form.header("location")),
        (303, "/preau/enter?to=%2Fsend")
    );

    for path in ["/preau/again", "/preau/leave"] {
        for visitor in [&mut seated, &mut waiting] {
            let before = visitor.token.clone();
            let answer = post(visitor, path, FORM_FROM_ELSEWHERE).await;
            assert_eq!((answer.status.as_u16(), &visitor.token), (403, &before));
        }
    }
    // In another tab, say: there is a place already.
    for (visitor, stands) in [(&mut seated, "seated"), (&mut waiting, "waiting")] {
        let before = id(visitor.token.as_deref().unwrap());
        let answer = post(visitor, "/preau/again", FORM).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/preau/enter?to=%2F")
        );
        assert_eq!(id(visitor.token.as_deref().unwrap()), before);
        assert_eq!(state(visitor, &[]).await, stands);
    }

    // A browser may keep several cookies of ours: whichever is good counts.
    let mut left = Visitor::new(port);
    wait(&mut left).await;
    let lost = left.token.clone().unwrap();
    let answer = post(&mut left, "/preau/leave", FORM).await;
    assert_eq!(answer.header("location"), "/preau/session?left=lost");
    assert_eq!(
        (answer.sets(COOKIE_NAME), &left.token),
        (vec![String::new()], &None)
    );
    left.token = Some(lost.clone());
    assert_eq!(state(&left, &[]).await, "lost");
    let mut both = waiting.clone();
    both.token = Some(format!(
        "{lost}; {COOKIE_NAME}={}",
        waiting.token.clone().unwrap()
    ));
    assert_eq!(state(&both, &[]).await, "waiting");

    // Who presses the button and has no place any more gets another.
    let answer = post(&mut left, "/preau/again", FORM).await;
    assert_eq!(
        (answer.status.as_u16(), kind(&left)),
        (303, Some(Kind::Invitation))
    );

    // By an invitation whose place was taken up meanwhile, that is given up.
    let mut taken = Visitor::new(port);
    taken.get("/", BROWSER).await.unwrap();
    let mut other_tab = taken.clone();
    assert_eq!(
        taken
            .get("/preau/enter?to=/", BROWSER)
            .await
            .unwrap()
            .status,
        503
    );
    post(&mut other_tab, "/preau/leave", FORM).await;
    assert_eq!(state(&taken, &[]).await, "lost");

    // A program whose session is over is told when to ask again.
    let over = seated.token.clone().unwrap();
    post(&mut seated, "/preau/leave", FORM).await;
    let shown = [
        ("accept", "application/json"),
        ("x-preau-ticket", over.as_str()),
    ];
    let answer = Visitor::new(port).get("/api", &shown).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "10")
    );

    // Caches keep images, and whatever cookie goes with them: whoever was called gets the seat with a page.
    let ticket = waiting.token.clone();
    eventually("the turn comes", || async {
        let answer = waiting.clone().get("/logo.png", IMAGE).await?;
        assert!(answer.sets(COOKIE_NAME).is_empty());
        (answer.status == 200)
            .then_some(())
            .ok_or(answer.status.to_string())
    })
    .await;
    assert_eq!(waiting.get("/", BROWSER).await.unwrap().status, 200);
    assert_eq!(
        (waiting.token != ticket, kind(&waiting)),
        (true, Some(Kind::Seat))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_gate_has_is_given_up_and_a_pause_is_called_one() {
    let mut site = Site::start(1, 2).await;
    let ports = [0, 1].map(|nth| site.gate(nth).port);
    let (mut seated, mut waiting) = (Visitor::new(ports[0]), Visitor::new(ports[0]));
    seated.get_in().await;
    wait(&mut waiting).await;
    let elsewhere = |visitor: &Visitor| {
        let mut there = Visitor::new(ports[1]);
        there.token = visitor.token.clone();
        there
    };
    let answer = eventually("it is given up", || async {
        let mut there = elsewhere(&waiting);
        let answer = post(&mut there, "/preau/leave", FORM).await;
        let to = answer.header("location").to_owned();
        // Or else they read how they stand, and keep the token.
        assert_eq!(there.token.is_none(), to.contains("left="), "{to}");
        to.contains("left=").then_some(to.clone()).ok_or(to)
    })
    .await;
    assert_eq!(answer, "/preau/session?left=lost");
    eventually("nobody waits any more", || async {
        let mut waiting = Vec::new();
        for port in ports {
            let answer = Visitor::new(port).get("/preau/v1/status", PROGRAM).await?;
            let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            waiting.push(status["waiting"].as_u64().unwrap());
        }
        (waiting == [0, 0])
            .then_some(())
            .ok_or(format!("{waiting:?}"))
    })
    .await;

    // The gate of a session is gone, and nobody is let in.
    site.cluster
        .run(&["pool", "pause", POOL, "--reason", "Un incident."]);
    site.kill_gate(0);
    let there = elsewhere(&seated);
    let turn = eventually("the pause is called one", || async {
        let answer = there.clone().get("/preau/turn", &[]).await?;
        let turn: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let is_paused = turn["state"] == "paused";
        is_paused.then_some(turn.clone()).ok_or(turn.to_string())
    })
    .await;
    assert!(
        turn["page"]["said"]
            .as_str()
            .unwrap()
            .contains("Un incident."),
        "{turn}"
    );
    // Before an opening the order is yet to be drawn: nobody is told a place, by which to choose whether to draw again.
    site.cluster
        .run(&["pool", "close", POOL, "--reason", "Avant l’heure."]);
    eventually("a place in the pre-queue", || async {
        let mut early = Visitor::new(ports[1]);
        early.get("/", BROWSER).await?;
        early.get("/preau/enter?to=/", BROWSER).await?;
        let bearer = format!("Bearer {}", early.token.clone().unwrap_or_default());
        let asked = Visitor::new(ports[1])
            .get("/preau/v1/ticket", &[("authorization", &bearer)])
            .await?;
        let turn: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let is_before = turn["state"] == "before" && turn.get("ahead").is_none();
        is_before.then_some(()).ok_or(turn.to_string())
    })
    .await;
    assert!(turn["ask_in_s"].as_u64().unwrap() >= 25, "{turn}");
}

/// As the portal's login says it.
fn identity(of: &str) -> String {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    let claims = serde_json::json!({ "sub": of, "exp": exp.as_secs() });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_one_place_and_it_is_nobody_elses() {
    let site = Site::start(2, 1).await;
    let port = site.gate(0).port;
    let [ada, ben, eve] = ["ada", "ben", "eve"].map(identity);
    let by = |who: &str| {
        let who = who.to_owned();
        move |visitor: Visitor, path: &'static str| {
            let who = who.clone();
            async move {
                let mut visitor = visitor;
                let headers = [&[(IDENTITY, who.as_str())], BROWSER].concat();
                let answer = visitor.get(path, &headers).await.unwrap();
                (visitor, answer)
            }
        }
    };
    let (ada, ben, eve) = (by(&ada), by(&ben), by(&eve));

    // Ada is in, at a computer where Ben logs in after her: he is not, and she still is.
    let mut school = Visitor::new(port);
    school.get_in().await;
    let adas = id(school.token.as_deref().unwrap());
    let (school, answer) = ada(school, "/").await;
    assert_eq!(answer.status, 200);
    let (after, answer) = ben(school.clone(), "/").await;
    assert_eq!(
        (answer.status.as_u16(), kind(&after)),
        (303, Some(Kind::Invitation))
    );
    let (_, answer) = ada(school.clone(), "/").await;
    assert_eq!(answer.status, 200);
    let (home, answer) = ada(Visitor::new(port), "/").await;
    assert_eq!(
        (answer.status.as_u16(), id(home.token.as_deref().unwrap())),
        (200, adas)
    );

    // Eve waits by her telephone, has come in by another browser before it is known that it is she, and stays in.
    let mut browser = Visitor::new(port);
    browser.get_in().await;
    let eves = id(browser.token.as_deref().unwrap());
    let (phone, _) = eve(Visitor::new(port), "/").await;
    let (phone, answer) = eve(phone, "/preau/enter?to=/").await;
    assert_eq!(
        (answer.status.as_u16(), kind(&phone)),
        (503, Some(Kind::Ticket))
    );
    let (browser, answer) = eve(browser, "/").await;
    assert_eq!(
        (
            answer.status.as_u16(),
            id(browser.token.as_deref().unwrap())
        ),
        (200, eves)
    );
    // The place of the telephone is given up, and it goes in by the same session.
    assert_eq!(state(&phone, &[]).await, "lost");
    let (phone, answer) = eve(phone, "/").await;
    assert_eq!(
        (answer.status.as_u16(), id(phone.token.as_deref().unwrap())),
        (200, eves)
    );
}
