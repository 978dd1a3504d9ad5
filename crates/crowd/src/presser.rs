//! Who presses reload and keeps no cookies.

use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderValue, Method};
use tokio::time::sleep;

use crate::Scene;
use crate::browser::{Mode, request};

/// What they press: the portal, the way in without an invitation, the page's own question, and a token made up.
const PRESSED: [(&str, Mode, Option<&str>); 5] = [
    ("/", Mode::Navigate, None),
    ("/page/1", Mode::Navigate, None),
    ("/preau/enter?to=/", Mode::Navigate, None),
    ("/asset/1", Mode::Part, None),
    (
        "/",
        Mode::Navigate,
        Some("preau-ent=EgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ),
];

/// Presses until it is stopped.
pub(crate) async fn press(scene: Arc<Scene>, nth: usize) {
    // Other dice than the people's.
    let mut dice = scene.dice(usize::MAX - nth);
    loop {
        let pause = 2.0 * dice.f64() / scene.crowd.presses.max(0.001);
        sleep(Duration::from_secs_f64(pause)).await;
        let (path, mode, cookie) = PRESSED[dice.usize(..PRESSED.len())];
        let Ok(mut request) = request(&scene.crowd.portal, &Method::GET, path, mode) else {
            return;
        };
        if let Some(cookie) = cookie {
            let cookie = HeaderValue::from_static(cookie);
            request.headers_mut().insert(COOKIE, cookie);
        }
        let asked = scene.http.ask(nth, request).await;
        let mut tally = scene.ledger.lock();
        match asked {
            Ok((answer, _)) => *tally.presses.entry(answer.status().as_u16()).or_default() += 1,
            Err(why) => *tally.errors.entry(why).or_default() += 1,
        }
    }
}
