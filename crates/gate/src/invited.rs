//! Invitations that were taken up lately. Two tabs may come with the same one at the same moment: they are one
//! person, who gets one place.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::Turn;
use client::queue::NoEntry;
use client::tokens::{INVITATION_LIFE_S, TokenError};

/// Most that are remembered. Where more are taken up within their life, the oldest are forgotten, and could be taken
/// up once more: which gains nobody more than another invitation would.
const MOST: usize = 1 << 16;

/// Those taken up.
#[derive(Debug, Default)]
pub struct Invited {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<u64, String>,
    order: VecDeque<(Instant, u64)>,
}

impl Invited {
    /// Lets whoever has an invitation arrive, once; from then on, says how the place stands that came of it.
    ///
    /// # Errors
    /// Those of `arrive`.
    pub fn once(
        &self,
        invitation: u64,
        arrive: impl FnOnce() -> Result<Turn, NoEntry>,
        poll: impl FnOnce(&str) -> Result<Turn, TokenError>,
    ) -> Result<Turn, NoEntry> {
        // Held while somebody arrives, which takes microseconds, so that nobody does so twice.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(Instant::now());
        if let Some(turn) = inner
            .tokens
            .get(&invitation)
            .and_then(|token| poll(token).ok())
        {
            return Ok(turn);
        }
        let turn = arrive()?;
        if let Turn::Seated { seat: token, .. } | Turn::Waiting { ticket: token, .. } = &turn
            && inner.tokens.insert(invitation, token.clone()).is_none()
        {
            inner.order.push_back((Instant::now(), invitation));
        }
        Ok(turn)
    }

    /// The token of the place that came of an invitation, where one did.
    pub fn token(&self, invitation: u64) -> Option<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tokens.get(&invitation).cloned()
    }
}

impl Inner {
    fn forget(&mut self, now: Instant) {
        let life = Duration::from_secs(INVITATION_LIFE_S.into());
        while let Some(&(at, id)) = self.order.front()
            && (self.order.len() >= MOST || now.duration_since(at) > life)
        {
            self.order.pop_front();
            self.tokens.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::queue::Place;

    fn waiting(ticket: &str) -> Turn {
        Turn::Waiting {
            ticket: ticket.into(),
            place: Place::default(),
        }
    }

    #[test]
    fn one_invitation_is_one_place() {
        let invited = Invited::default();
        let first = invited.once(1, || Ok(waiting("a")), |_| unreachable!());
        assert_eq!(first, Ok(waiting("a")));
        assert_eq!(invited.token(1).as_deref(), Some("a"));
        assert_eq!(invited.token(2), None);
        let again = invited.once(1, || unreachable!(), |token| Ok(waiting(token)));
        assert_eq!(again, Ok(waiting("a")));
        let other = invited.once(2, || Ok(waiting("b")), |_| unreachable!());
        assert_eq!(other, Ok(waiting("b")));
    }

    #[test]
    fn whoever_was_not_let_in_may_try_again_and_so_may_who_has_lost_the_place() {
        let invited = Invited::default();
        let refused = invited.once(1, || Err(NoEntry::Full), |_| unreachable!());
        assert_eq!(refused, Err(NoEntry::Full));
        assert!(
            invited
                .once(1, || Ok(waiting("a")), |_| unreachable!())
                .is_ok()
        );
        let gone = |_: &str| Err(TokenError::AlreadyUsed);
        assert_eq!(invited.once(1, || Ok(waiting("b")), gone), Ok(waiting("b")));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let invited = Invited::default();
        for id in 0..MOST as u64 + 10 {
            assert!(
                invited
                    .once(id, || Ok(waiting("a")), |_| unreachable!())
                    .is_ok()
            );
        }
        let inner = invited.inner.lock().unwrap();
        assert_eq!((inner.tokens.len(), inner.order.len()), (MOST, MOST));
    }
}
