//! Users who come with a token of another front-end, and those who go to one.
//!
//! A token is good for one place in the region: whoever has it is asked before another takes it over. A
//! front-end that was cut off for longer than its lease can't be asked, and so whoever waits there may take
//! the ticket elsewhere. Once it is back it asks for each token that it has kept whether another has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::slab::{Entry, NONE, State};
use super::{Event, Grant, Queue, Shown, Standing};
use quota::limits::MAX_CLAIMS_PER_REPORT;
use quota::{Claimed, KEPT, TokenClaim};

/// Most tokens that wait to be claimed.
const MAX_SHOWN: usize = 65_536;
/// How long a refusal is remembered, so that its token is not claimed again at every poll; and a token that was
/// given up, whose user may come back before the other front-end has issued it anew.
const REMEMBER_S: u32 = 60;

/// What is under way with the other front-ends of the region.
#[derive(Debug, Default)]
pub struct Claims {
    /// Tokens to claim.
    shown: BTreeMap<u64, Claim>,
    /// Their order.
    order: BTreeSet<Turn>,
    /// Users from elsewhere, whose ids don't say where they are kept.
    places: BTreeMap<u64, u32>,
    /// Tokens used up elsewhere, and until when to remember it.
    used_up: BTreeMap<u64, u32>,
    /// Tokens given up to another front-end, and until when to remember it.
    given_up: BTreeMap<u64, u32>,
    /// Answers to who asks for a token of ours, and whether it was released.
    answers: VecDeque<(u64, bool)>,
    /// Whether somebody who had a seat is kept from it by what the next report says.
    hurry: bool,
    /// How many of them the last report had,
    told: usize,
    /// and which claims, the last of this round.
    claimed: Vec<u64>,
    round: u32,
}

/// When a token is claimed: seats first, whose users are kept from what they were doing; then round by round, so that
/// each comes again before anything that was shown later than that; and the oldest of a round, who are next.
type Turn = (bool, u32, u32, u64);

/// A token to claim.
#[derive(Debug)]
struct Claim {
    shown: Shown,
    /// When it was last shown.
    seen: u32,
    /// The round in which it is claimed.
    round: u32,
}

impl Claim {
    fn turn(&self) -> Turn {
        let Shown {
            id,
            second,
            start_s,
            ..
        } = self.shown;
        (start_s.is_none(), self.round, second, id)
    }
}

impl Claims {
    /// Where a user from elsewhere is kept.
    pub fn place(&self, id: u64) -> Option<u32> {
        self.places.get(&id).copied()
    }

    pub fn standing(&self, id: u64) -> Standing {
        if self.shown.contains_key(&id) {
            Standing::Checking
        } else {
            Standing::Gone
        }
    }

    /// Whether a token was given up to another front-end. Whoever shows it here again, as that one is gone or
    /// they have changed their mind, is not turned away: it is claimed like one of the others'.
    pub fn gave_up(&self, id: u64) -> bool {
        self.given_up.contains_key(&id)
    }

    fn give_up(&mut self, id: u64, now_s: u32) {
        if self.given_up.len() < MAX_SHOWN {
            self.given_up.insert(id, now_s.saturating_add(REMEMBER_S));
        }
    }

    fn use_up(&mut self, id: u64, now_s: u32) {
        self.used_up.insert(id, now_s.saturating_add(REMEMBER_S));
    }

    /// Claims a token no more.
    pub fn withdraw(&mut self, id: u64) -> bool {
        self.take(id).is_some()
    }

    /// Claims nothing more that was kept from before.
    pub fn withdraw_kept(&mut self) {
        let kept = self
            .shown
            .values()
            .filter(|claim| claim.shown.issuer == KEPT);
        for id in kept.map(|claim| claim.shown.id).collect::<Vec<_>>() {
            self.withdraw(id);
        }
    }

    fn take(&mut self, id: u64) -> Option<Claim> {
        let claim = self.shown.remove(&id)?;
        self.order.remove(&claim.turn());
        Some(claim)
    }

    pub fn forget_place(&mut self, id: u64, at: u32) {
        if self.places.get(&id) == Some(&at) {
            self.places.remove(&id);
        }
    }

    /// Whether somebody waits for what is to be told, or there is more than one report can hold.
    pub fn is_pressed(&self) -> bool {
        self.hurry || !self.answers.is_empty() || self.shown.len() > MAX_CLAIMS_PER_REPORT
    }

    /// Claims, releases and refusals for a report: answers first, for others wait for them.
    pub fn report(&mut self) -> (Vec<TokenClaim>, Vec<u64>, Vec<u64>) {
        self.hurry = false;
        self.told = self.answers.len().min(MAX_CLAIMS_PER_REPORT);
        let told = || self.answers.iter().take(self.told);
        let with = |released| {
            let mut ids: Vec<u64> = told()
                .filter(|answer| answer.1 == released)
                .map(|a| a.0)
                .collect();
            ids.sort_unstable();
            ids
        };
        let (released, refused) = (with(true), with(false));
        let most = MAX_CLAIMS_PER_REPORT - self.told;
        let turns = self.order.iter().take(most);
        self.round = turns.clone().map(|turn| turn.1).max().unwrap_or(self.round);
        self.claimed = turns.map(|turn| turn.3).collect();
        let claims = self.claimed.iter().filter_map(|id| {
            let Shown { id, issuer, .. } = self.shown.get(id)?.shown;
            Some(TokenClaim { id, issuer })
        });
        let claims = claims.collect();
        (claims, released, refused)
    }

    /// The second in which the oldest came who was in line when the lease ended, and of whom it is not known
    /// yet whether another has the token.
    pub fn oldest_kept(&self) -> Option<u32> {
        let kept = self.shown.values().map(|claim| claim.shown);
        let in_line = kept.filter(|shown| shown.issuer == KEPT && shown.start_s.is_none());
        in_line.map(|shown| shown.second).min()
    }

    /// Asks whether another has the token of a user who is here.
    pub fn reclaim(&mut self, user: &Entry) {
        if mutation::on("forget-kept") {
            return;
        }
        let shown = Shown {
            id: user.id,
            issuer: KEPT,
            class: user.class,
            second: user.second,
            start_s: (user.start != NONE).then_some(user.start),
        };
        self.show(shown, user.seen);
    }

    fn show(&mut self, shown: Shown, now_s: u32) -> Standing {
        if self
            .used_up
            .get(&shown.id)
            .is_some_and(|&until| now_s < until)
        {
            return Standing::Gone;
        }
        if let Some(claim) = self.shown.get_mut(&shown.id) {
            claim.seen = now_s;
        } else if self.shown.len() < MAX_SHOWN {
            let (seen, round) = (now_s, self.round.saturating_add(1));
            let claim = Claim { shown, seen, round };
            self.order.insert(claim.turn());
            self.shown.insert(shown.id, claim);
            self.hurry |= shown.start_s.is_some();
        }
        Standing::Checking
    }
}

impl Queue {
    /// A user shows a token of another front-end. It is claimed with the next reports; until that is
    /// settled the answer is [`Standing::Checking`], and from then on as of [`Queue::poll`].
    pub fn show(&mut self, now: std::time::Duration, shown: Shown) -> Standing {
        if self.find(shown.id).is_some() {
            return self.poll(now, shown.id);
        }
        match self.clock.second(now) {
            Some(now_s) => self.claims.show(shown, now_s),
            None => Standing::Checking,
        }
    }

    /// What a grant says about tokens that went from one front-end to another.
    pub(super) fn settle_claims(&mut self, now_s: u32, grant: &Grant) {
        let told = std::mem::take(&mut self.claims.told);
        self.claims.answers.drain(..told);
        self.claims.used_up.retain(|_, until| now_s < *until);
        self.claims.given_up.retain(|_, until| now_s < *until);
        // Those that are not settled come again after the others.
        for id in std::mem::take(&mut self.claims.claimed) {
            if let Some(mut claim) = self.claims.take(id) {
                claim.round = self.claims.round.saturating_add(1);
                self.claims.order.insert(claim.turn());
                self.claims.shown.insert(id, claim);
            }
        }
        for &(id, claimed) in &grant.claims {
            match claimed {
                Claimed::Pending | Claimed::TooMany => {
                    let claim = self.claims.shown.get(&id);
                    self.claims.hurry |= claim.is_some_and(|claim| claim.shown.start_s.is_some());
                }
                Claimed::Refused => {
                    if let Some(claim) = self.claims.take(id) {
                        // Who kept it has lost it to another front-end.
                        match claim.shown.issuer {
                            KEPT => self.claims.give_up(id, now_s),
                            _ => self.claims.use_up(id, now_s),
                        }
                        self.let_go(id);
                    }
                }
                Claimed::Granted => self.adopt(id, now_s),
            }
        }
        for &id in &grant.asked {
            if !self.claims.answers.iter().any(|answer| answer.0 == id) {
                // Given up already, as another has it: that is no word that it is used up.
                // Nor is it where they may have been here before a restart.
                let released =
                    self.release(id) || self.claims.gave_up(id) || self.before.may_be(id);
                if released {
                    self.claims.give_up(id, now_s);
                }
                self.claims.answers.push_back((id, released));
            }
        }
    }

    /// The user of a token that was claimed takes the place that it says: who had a seat waits with the
    /// second of arrival that they had, before nearly everybody, and goes on with the session.
    fn adopt(&mut self, id: u64, now_s: u32) {
        self.claims.given_up.remove(&id);
        let Some(Claim { shown, seen, .. }) = self.claims.take(id) else {
            // Withdrawn meanwhile. Whoever shows the token again claims it again, from this front-end.
            return;
        };
        if let Some(at) = self.find(id) {
            if self.users[at].state == State::Checking {
                self.line_up(at, self.users[at].seen);
            }
            return;
        }
        let class = usize::from(shown.class).min(self.waiting.len() - 1) as u8;
        let mut entry = Entry::new(id, class, shown.second.min(NONE - 1), seen);
        entry.start = shown.start_s.map_or(NONE, |start| start.min(now_s));
        let at = self.users.insert(entry);
        self.claims.places.insert(id, at);
        self.claims.hurry |= shown.start_s.is_some();
        self.line_up(at, seen);
        if shown.start_s.is_some() && shown.issuer == KEPT {
            self.before.welcome(id);
        }
        self.events.push(Event::Adopted(self.user(at)));
    }

    /// Drops a user whom another front-end asks for, and says whether there was one.
    fn release(&mut self, id: u64) -> bool {
        let withdrawn = self.claims.withdraw(id);
        self.let_go(id) || withdrawn
    }

    /// Drops a user whom another front-end has, and says whether there was one.
    fn let_go(&mut self, id: u64) -> bool {
        let Some(at) = self.find(id) else {
            return false;
        };
        let user = self.user(at);
        self.remove(at);
        self.events.push(Event::Moved(user));
        true
    }

    /// The lease has ended, and there will be another, or there is another that has not reported yet. Meanwhile
    /// nobody could be asked here: others may have taken tokens over, and so whoever waits stands in line again once
    /// that is settled. Sessions that a floor covers go on until then.
    pub fn lose(&mut self) {
        self.shut();
        self.before.lose();
        self.heard = false;
        self.keep_all();
    }

    /// Asks about all who are here whether another has their tokens. Who waits is in line again once that is known.
    pub(super) fn keep_all(&mut self) {
        let mut users: Vec<u32> = self.users.places().collect();
        // The oldest are asked about first: they are next.
        users.sort_by_key(|&at| self.users[at].second);
        for at in users {
            match self.users[at].state {
                State::Waiting => {
                    self.leave_line(at);
                    self.users[at].state = State::Checking;
                }
                State::Called | State::Seated | State::Checking => {}
                State::Free | State::Next => continue,
            }
            self.claims.reclaim(&self.users[at]);
        }
    }
}
