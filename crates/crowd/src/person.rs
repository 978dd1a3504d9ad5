//! One person: comes, waits, is let in, looks at a few pages, and goes.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Scene;
use crate::browser::{Browser, Mode};
use crate::tally::micros;

/// Who is told nothing about when to come again comes after so many seconds.
const AGAIN_S: u32 = 5;

/// What the gate's page asks for again and again.
#[derive(Debug, Deserialize)]
struct Turn {
    state: String,
    #[serde(default)]
    ask_in_s: Option<u32>,
}

pub(crate) async fn live(scene: Arc<Scene>, nth: usize) {
    let mut person = Person {
        browser: Browser::new(Arc::clone(&scene), nth),
        dice: scene.dice(nth),
        patience_ends: Instant::now() + scene.crowd.patience,
        scene,
    };
    let came = person.scene.began.elapsed();
    {
        let mut tally = person.scene.ledger.lock();
        tally.arrived += 1;
        tally.waiting += 1;
        tally.passages[nth].arrived = Some(came);
    }
    let is_in = person.get_in().await;
    {
        let mut tally = person.scene.ledger.lock();
        tally.waiting -= 1;
        if !is_in {
            tally.gave_up += 1;
            return;
        }
        let seated = person.scene.began.elapsed();
        tally.seated += 1;
        tally.inside += 1;
        tally.passages[nth].seated = Some(seated);
        let waited = micros(seated.saturating_sub(came));
        tally.waited_us.saturating_record(waited);
    }
    let stayed = person.stay().await;
    let leaves = stayed && person.dice.f64() < person.scene.crowd.leave;
    let left = leaves && person.leave().await;
    let mut tally = person.scene.ledger.lock();
    tally.inside -= 1;
    match (stayed, left) {
        (false, _) => tally.thrown_out += 1,
        (true, true) => tally.left += 1,
        (true, false) => tally.gone += 1,
    }
}

struct Person {
    scene: Arc<Scene>,
    browser: Browser,
    dice: fastrand::Rng,
    patience_ends: Instant,
}

impl Person {
    /// To the portal's first page, however long it takes; false where patience ends before.
    async fn get_in(&mut self) -> bool {
        while Instant::now() < self.patience_ends {
            match self.browser.get("/", Mode::Navigate).await {
                Ok(answer) if answer.is_portals() => return true,
                // A page that says to wait, and asks by itself when the turn comes.
                Ok(answer) if answer.status == 503 => self.wait().await,
                Ok(answer) => {
                    let what = answer.status.as_str().to_owned();
                    self.scene.ledger.lock().refuse(&what);
                    self.pause(answer.retry_after_s).await;
                }
                Err(why) => self.fail(why).await,
            }
        }
        false
    }

    /// On the gate's page, until there is something else to be seen.
    async fn wait(&mut self) {
        while Instant::now() < self.patience_ends {
            let Some(turn) = self.turn().await else {
                continue;
            };
            match turn.state.as_str() {
                "seated" | "ending" => return,
                "waiting" | "before" | "paused" | "checking" | "unreachable" => {
                    self.pause(turn.ask_in_s).await;
                }
                // The place is to be taken by coming anew.
                "invited" => return self.pause(turn.ask_in_s).await,
                state => {
                    self.scene.ledger.lock().refuse(state);
                    if !matches!(state, "lost" | "over") {
                        return self.pause(turn.ask_in_s).await;
                    }
                    // The button on the page. What it leads to is looked at again anyway.
                    if let Err(why) = self.browser.post("/preau/again", "to=%2F").await {
                        self.fail(why).await;
                    }
                    return;
                }
            }
        }
    }

    /// What the page is told, if anything; else some time has passed.
    async fn turn(&mut self) -> Option<Turn> {
        match self.browser.get("/preau/turn", Mode::Part).await {
            Ok(answer) => {
                if let Ok(turn) = serde_json::from_slice(&answer.body) {
                    return Some(turn);
                }
                let what = format!("{} for a turn", answer.status.as_str());
                self.scene.ledger.lock().refuse(&what);
                self.pause(answer.retry_after_s).await;
            }
            Err(why) => self.fail(why).await,
        }
        None
    }

    /// In the portal; false where the session is gone before they go.
    async fn stay(&mut self) -> bool {
        let crowd = &self.scene.crowd;
        let (pages, assets) = (crowd.pages.max(1), crowd.assets);
        let (least, most) = (*crowd.stay.start(), *crowd.stay.end());
        let stay = least + most.saturating_sub(least).mul_f64(self.dice.f64());
        let began = Instant::now();
        for page in 0..pages {
            sleep_until(began + stay.mul_f64(f64::from(page) / f64::from(pages))).await;
            // The first page is there already.
            if page > 0 && !self.look(&format!("/page/{page}"), Mode::Navigate).await {
                return false;
            }
            for asset in 0..assets {
                if !self
                    .look(&format!("/asset/{page}/{asset}"), Mode::Part)
                    .await
                {
                    return false;
                }
            }
        }
        sleep_until(began + stay).await;
        true
    }

    /// Looks at something of the portal's; false where the session is gone. Where the gate has to ask about it, it is
    /// waited for, as its page does.
    async fn look(&mut self, path: &str, mode: Mode) -> bool {
        let mut since = None;
        while Instant::now() < self.patience_ends {
            match self.browser.get(path, mode).await {
                Ok(answer) if answer.is_portals() => {
                    if let Some(since) = since {
                        self.interrupted(since);
                    }
                    return true;
                }
                Ok(_) => {
                    since.get_or_insert_with(Instant::now);
                    let Some(turn) = self.turn().await else {
                        continue;
                    };
                    match turn.state.as_str() {
                        "seated" | "ending" => {}
                        "checking" | "unreachable" => self.pause(turn.ask_in_s).await,
                        state => {
                            let what = format!("{state} in a session");
                            self.scene.ledger.lock().refuse(&what);
                            return false;
                        }
                    }
                }
                Err(why) => {
                    since.get_or_insert_with(Instant::now);
                    self.fail(why).await;
                }
            }
        }
        false
    }

    fn interrupted(&self, since: Instant) {
        let mut tally = self.scene.ledger.lock();
        tally
            .interrupted_us
            .saturating_record(micros(since.elapsed()));
    }

    /// Says so, and once more where that seems not to have been heard.
    async fn leave(&mut self) -> bool {
        for _ in 0..2 {
            match self.browser.post("/preau/leave", "").await {
                Ok(answer) if answer.status.is_success() => return true,
                Ok(answer) => {
                    let what = format!("{} for leaving", answer.status.as_str());
                    self.scene.ledger.lock().refuse(&what);
                }
                Err(why) => self.fail(why).await,
            }
        }
        false
    }

    async fn pause(&mut self, seconds: Option<u32>) {
        let pause = self.scene.asked(seconds.unwrap_or(AGAIN_S), &mut self.dice);
        sleep(pause).await;
    }

    async fn fail(&mut self, why: String) {
        *self.scene.ledger.lock().errors.entry(why).or_default() += 1;
        sleep(Duration::from_millis(self.dice.u64(500..1_500))).await;
    }
}
