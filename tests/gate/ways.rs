//! Each program before the portal, by its configuration in `deploy`, with a crowd that wants in.

use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use client::tokens::Kind;
use crowd::Crowd;
use tokio::time::sleep;

use crate::harness::eventually;
use crate::portal::{PIECE, PIECES, UNGATED, id};
use crate::probe::{Answer, BROWSER, IMAGE, PROGRAM, Visitor};
use crate::programs::Program;
use crate::site::{COOKIE_NAME, Site, check, crowd};

/// Whoever is called sits down when they ask next; and a second is a second of arrival.
const OVERTAKING_S: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn by_nginx() {
    through(Program::Nginx, 2_000, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_haproxy() {
    through(Program::Haproxy, 300, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_caddy() {
    through(Program::Caddy, 300, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_envoy() {
    through(Program::Envoy, 300, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_traefik() {
    through(Program::Traefik, 300, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_apache() {
    through(Program::Apache, 300, 50).await;
}

async fn through(program: Program, people: usize, capacity: usize) {
    let Some(binary) = program.find_or_skip().await else {
        return;
    };
    let mut site = Site::start(capacity, 1).await;
    let running = program.start(&binary, &site).await;
    let port = running.port;

    strangers_are_told(port).await;
    assert_eq!(site.portal.seen().requests, 0, "somebody got through");
    let mut seated = Visitor::new(port);
    seated.get_in().await;
    the_portal_is_itself(program, &mut seated).await;
    let mut socket = seated.socket().await.unwrap();
    socket.echoes("before").await;
    let mut download = seated.clone();
    let download = tokio::spawn(async move { download.get("/download", BROWSER).await });

    let coming = Crowd {
        pressers: 20,
        ..crowd(port, people)
    };
    let coming = coming.start().unwrap();
    eventually("people wait", || async {
        let waiting = coming.tally().waiting;
        (waiting > 2 * capacity as u64)
            .then_some(())
            .ok_or(format!("{waiting} wait"))
    })
    .await;
    let page = the_turn_comes(port).await;
    if program == Program::Apache {
        // Behind it the gate is the proxy, and no cache that many share may keep what has somebody's seat.
        assert_eq!(page.header("cache-control"), "max-age=60, private");
    }
    assert!(site.portal.seen().called > 0);
    let tally = coming.finish().await;
    check(
        &format!("{program:?}"),
        &site,
        &tally,
        capacity,
        OVERTAKING_S,
    );
    let whole = download.await.unwrap().unwrap().body.len();
    assert_eq!(whole, PIECES * PIECE, "the download was cut off");
    socket.echoes("after").await;

    the_gate_goes(program, &mut site, &mut seated).await;
}

/// Whoever has no seat, and is no browser.
async fn strangers_are_told(port: u16) {
    let told = |answer: &Answer| {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
    };
    let mut program = Visitor::new(port);
    told(&program.get("/api/marks?of=me", PROGRAM).await.unwrap());
    let body = Bytes::from(vec![b'.'; 300_000]);
    let upload = Visitor::new(port)
        .ask(Method::POST, "/upload", PROGRAM, body)
        .await;
    told(&upload.unwrap());
    assert!(Visitor::new(port).socket().await.is_err());
    let sent = Visitor::new(port).by_address("/news?of=today").await;
    let back = "\nlocation: /preau/enter?to=%2fnews%3fof%3dtoday\r";
    assert!(sent.contains(back), "{sent}");
    // What other sites send forms to.
    let body = Bytes::from_static(b"a form");
    let form = Visitor::new(port)
        .ask(Method::POST, UNGATED, BROWSER, body)
        .await;
    assert_eq!(&form.unwrap().body[..], b"6");
}

/// Whoever is seated finds the portal as it is without a gate.
async fn the_portal_is_itself(program: Program, seated: &mut Visitor) {
    let page = seated.get("/any/page?a=b", BROWSER).await.unwrap();
    assert_eq!(
        (page.status.as_u16(), &page.body[..]),
        (200, &b"the portal"[..])
    );
    assert_eq!(page.sets("portal"), ["1"]);
    for code in [401, 403, 404, 500, 503] {
        let answer = seated
            .get(&format!("/status/{code}"), BROWSER)
            .await
            .unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (code, 0));
    }
    let body = Bytes::from(vec![b'.'; 300_000]);
    let answer = seated
        .ask(Method::POST, "/upload", BROWSER, body)
        .await
        .unwrap();
    assert_eq!(&answer.body[..], b"300000");
    for path in ["/told", UNGATED] {
        no_tunnel(seated, path).await;
        // Apache can leave out no names by a pattern: where it asks the portal itself, those with `_` pass.
        let odd_names = program != Program::Apache || path != UNGATED;
        no_lies(seated, path, odd_names).await;
    }
}

/// Through a tunnel the portal would be asked, and the gate would not.
async fn no_tunnel(visitor: &Visitor, path: &str) {
    let ways: [&[&str]; 5] = [
        &["h2c"],
        &["h2c", "websocket"],
        &["websocket", "h2c"],
        &["h2c, websocket"],
        &["websocket, h2c"],
    ];
    for way in ways {
        let answer = visitor.tunnel(path, way).await;
        assert!(
            !answer.starts_with("http/1.1 101"),
            "{path}, {way:?}: {answer}"
        );
    }
}

/// The portal is told where a request comes from by the proxy, and by nobody else.
async fn no_lies(visitor: &mut Visitor, path: &str, odd_names: bool) {
    let mut lies = vec![
        ("x-forwarded-for", "198.51.100.9"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "evil.example"),
        ("x-forwarded-prefix", "/evil.example"),
        ("x-forwarded-scheme", "evil.example"),
        ("x-forwarded-server", "evil.example"),
        ("x-forwarded-ssl", "evil.example"),
        ("x-real-ip", "198.51.100.9"),
        ("x_forwarded_for", "198.51.100.9"),
        ("x-forwarded_host", "evil.example"),
        ("x_real_ip", "198.51.100.9"),
        ("forwarded", "for=198.51.100.9;host=evil.example"),
    ];
    lies.retain(|(name, _)| odd_names || !name.contains('_'));
    let told = visitor.get(path, &lies).await.unwrap();
    let told = String::from_utf8_lossy(&told.body).into_owned();
    assert!(told.contains("x-forwarded-for"), "{path}: {told}");
    for lie in ["198.51.100.9", "evil.example"] {
        assert!(!told.contains(lie), "{path}: {told}");
    }
}

/// Somebody comes when others wait, reloads the page without its script, and is let in by and by.
async fn the_turn_comes(port: u16) -> Answer {
    let mut visitor = Visitor::new(port);
    let first = visitor.get("/news", BROWSER).await.unwrap();
    assert_eq!(
        (first.status.as_u16(), first.header("location")),
        (303, "/preau/enter?to=%2Fnews")
    );
    assert_eq!(
        visitor.token.as_deref().and_then(Kind::of),
        Some(Kind::Invitation)
    );
    let mut page = visitor
        .get(first.header("location"), BROWSER)
        .await
        .unwrap();
    assert_eq!(
        visitor.token.as_deref().and_then(Kind::of),
        Some(Kind::Ticket)
    );
    loop {
        assert_eq!(page.status, 503);
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(page.header("content-type").starts_with("text/html"));
        let pause: u64 = page.header("retry-after").parse().unwrap();
        sleep(Duration::from_secs(pause.min(2))).await;
        let ticket = visitor.token.clone();
        // With a part of a page comes no cookie: it may be kept on the way.
        let image = visitor.get("/logo.png", IMAGE).await.unwrap();
        assert!(image.sets(COOKIE_NAME).is_empty());
        page = visitor.get("/news", BROWSER).await.unwrap();
        // Where the turn comes between two questions of the proxy's, the seat comes with the way back.
        let seat = page.sets(COOKIE_NAME).len();
        if page.status == 307 {
            assert_eq!(page.header("location"), "/news");
            page = visitor.get("/news", BROWSER).await.unwrap();
        }
        if page.status == 200 {
            assert_ne!(visitor.token, ticket);
            assert_eq!(seat, 1);
            break;
        }
    }
    // Else with the portal's own page.
    assert_eq!(&page.body[..], b"the portal");
    assert_eq!(page.sets("portal"), ["1"]);
    assert_eq!(
        visitor.token.as_deref().and_then(Kind::of),
        Some(Kind::Seat)
    );
    visitor
        .ask(Method::POST, "/preau/leave", BROWSER, Bytes::new())
        .await
        .unwrap();
    page
}

/// Without the gate nobody gets through, and it is told honestly; and then all is as before.
async fn the_gate_goes(program: Program, site: &mut Site, seated: &mut Visitor) {
    site.kill_gate(0);
    let before = site.portal.seen().requests;
    let answer = seated.get("/", BROWSER).await.unwrap();
    if program == Program::Traefik {
        // It has no words of its own.
        assert_eq!(answer.status, 500);
    } else {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("cache-control"), "no-store");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("waiting room does not answer"), "{text}");
    }
    assert_eq!(site.portal.seen().requests, before, "somebody got through");

    site.spawn_gate(0);
    site.ready(0).await;
    let token = seated.token.clone();
    let after = eventually("the seat is good again", || async {
        let mut again = seated.clone();
        let answer = again.get("/", BROWSER).await?;
        let status = answer.status.as_u16();
        (status == 200)
            .then_some(again.token)
            .ok_or(status.to_string())
    })
    .await;
    let ids = [after, token].map(|token| id(&token.unwrap()));
    assert_eq!(ids[0], ids[1], "another session");
}
