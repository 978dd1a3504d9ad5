//! One seat a ticket: which holder of a region a token belongs to, once another than its issuer has
//! claimed it.
//!
//! A token belongs to its issuer until another holder claims it. While whoever has it may still use it, that
//! one is asked, and only its word passes the token on; once its lease has ended nobody is asked. So a token
//! never belongs to two holders at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::TokenClaim;
use crate::limits::{CLAIM_REMEMBER_S, MAX_CLAIMS, MAX_CLAIMS_PER_REPORT};
use crate::outcome::{Claimed, LeaseId};

/// In the place of an issuer: the claimer kept the token while its lease had ended.
pub const KEPT: u32 = 0;

/// The claims of a region.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    tokens: BTreeMap<u64, Token>,
    /// The same by when they last changed hands.
    ages: BTreeSet<(u32, u64)>,
    /// What each lease is to be asked for.
    asks: BTreeMap<LeaseId, BTreeSet<u64>>,
}

/// A token that was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// When it last changed hands.
    pub since_s: u32,
    pub holding: Holding,
}

impl Token {
    /// Whether it is one that can be by the time given.
    pub fn is_sound(&self, now_s: u32) -> bool {
        let asked = match &self.holding {
            Holding::Asked { of, .. } => !of.is_empty(),
            Holding::Owned(_) | Holding::Over => true,
        };
        asked && self.since_s <= now_s
    }
}

/// Who has a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Holding {
    /// A holder that claimed it.
    Owned(LeaseId),
    /// One of those that are asked, all of which must give it up to the claimer: two where a fingerprint
    /// tells them apart no further.
    Asked { of: Vec<LeaseId>, claimer: LeaseId },
    /// Nobody: it is used up.
    Over,
}

impl Claims {
    /// A holder claims a token. `gone` says whether a lease can no longer be used, and `issuers` who may
    /// have issued the token.
    pub fn claim(
        &mut self,
        claim: TokenClaim,
        claimer: LeaseId,
        now_s: u32,
        gone: impl Fn(LeaseId) -> bool,
        issuers: impl FnOnce() -> Vec<LeaseId>,
    ) -> Claimed {
        let id = claim.id;
        let known = self.tokens.get(&id).map(|token| token.holding.clone());
        let of = match known {
            Some(Holding::Over) => return Claimed::Refused,
            Some(Holding::Owned(owner)) if owner == claimer => return Claimed::Granted,
            Some(Holding::Owned(owner)) => vec![owner],
            Some(Holding::Asked { claimer: other, .. }) if other != claimer && !gone(other) => {
                return Claimed::Pending;
            }
            Some(Holding::Asked { of, .. }) => of,
            None if self.is_full(now_s) => return Claimed::TooMany,
            None => issuers(),
        };
        let of: Vec<LeaseId> = of
            .into_iter()
            .filter(|&lease| lease != claimer && !gone(lease))
            .collect();
        if of.is_empty() || mutation::on("claim-unasked") {
            self.set(id, now_s, Holding::Owned(claimer));
            return Claimed::Granted;
        }
        self.set(id, now_s, Holding::Asked { of, claimer });
        Claimed::Pending
    }

    /// A holder has kept a token while its lease had ended: it may go on, unless another has it by now.
    pub fn reclaim(
        &mut self,
        id: u64,
        claimer: LeaseId,
        now_s: u32,
        gone: impl Fn(LeaseId) -> bool,
    ) -> Claimed {
        let Some(token) = self.tokens.get(&id) else {
            // It belongs to its issuer.
            return Claimed::Granted;
        };
        let other = match token.holding {
            Holding::Over => return Claimed::Refused,
            Holding::Owned(other) | Holding::Asked { claimer: other, .. } => other,
        };
        if other == claimer {
            return Claimed::Granted;
        }
        if !gone(other) {
            return Claimed::Refused;
        }
        self.set(id, now_s, Holding::Owned(claimer));
        Claimed::Granted
    }

    /// A holder that was asked gives a token up, or says that it is used up. From anyone else it means
    /// nothing.
    pub fn settle(&mut self, id: u64, from: LeaseId, released: bool, now_s: u32) {
        let Some(Holding::Asked { of, claimer }) = self.tokens.get(&id).map(|t| &t.holding) else {
            return;
        };
        if !of.contains(&from) {
            return;
        }
        let claimer = *claimer;
        let of: Vec<LeaseId> = of.iter().copied().filter(|&lease| lease != from).collect();
        let holding = match released {
            false => Holding::Over,
            true if of.is_empty() => Holding::Owned(claimer),
            true => Holding::Asked { of, claimer },
        };
        self.set(id, now_s, holding);
    }

    /// What a lease is asked for.
    pub fn asked(&self, lease: LeaseId) -> Vec<u64> {
        let ids = self.asks.get(&lease).into_iter().flatten().copied();
        ids.take(MAX_CLAIMS_PER_REPORT).collect()
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (u64, &Token)> {
        self.tokens.iter().map(|(&id, token)| (id, token))
    }

    /// Says who has a token.
    pub fn set(&mut self, id: u64, now_s: u32, holding: Holding) {
        self.forget(id);
        if let Holding::Asked { of, .. } = &holding {
            for &lease in of {
                self.asks.entry(lease).or_default().insert(id);
            }
        }
        self.ages.insert((now_s, id));
        let since_s = now_s;
        self.tokens.insert(id, Token { since_s, holding });
    }

    fn forget(&mut self, id: u64) {
        let Some(token) = self.tokens.remove(&id) else {
            return;
        };
        self.ages.remove(&(token.since_s, id));
        if let Holding::Asked { of, .. } = token.holding {
            for lease in of {
                if let Some(ids) = self.asks.get_mut(&lease) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.asks.remove(&lease);
                    }
                }
            }
        }
    }

    /// Whether no other token can be remembered, those forgotten that are too old.
    fn is_full(&mut self, now_s: u32) -> bool {
        while let Some(&(since_s, id)) = self.ages.first() {
            if now_s.saturating_sub(since_s) < CLAIM_REMEMBER_S {
                break;
            }
            self.forget(id);
        }
        self.tokens.len() >= MAX_CLAIMS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that a holder kept while its lease had ended, by what became of them meanwhile.
    #[test]
    fn who_kept_a_token_goes_on_unless_another_has_it() {
        let (old, new, other, ended) = (LeaseId(1), LeaseId(2), LeaseId(3), LeaseId(4));
        let gone = |lease: LeaseId| lease == old || lease == ended;
        let mut claims = Claims::default();
        let asked = |claimer| Holding::Asked {
            of: vec![old],
            claimer,
        };
        let holdings = [
            (1, Holding::Owned(old), Claimed::Granted),
            (2, Holding::Owned(new), Claimed::Granted),
            (3, Holding::Owned(other), Claimed::Refused),
            (4, Holding::Owned(ended), Claimed::Granted),
            (5, asked(other), Claimed::Refused),
            (6, asked(ended), Claimed::Granted),
            (7, Holding::Over, Claimed::Refused),
        ];
        for (id, holding, _) in holdings.clone() {
            claims.set(id, 10, holding);
        }
        for (id, _, expected) in holdings {
            assert_eq!(claims.reclaim(id, new, 11, gone), expected, "token {id}");
            assert_eq!(
                claims.reclaim(id, new, 12, gone),
                expected,
                "token {id} again"
            );
        }
        // Nobody has asked for it: it is its issuer's, and nothing need be remembered.
        assert_eq!(claims.reclaim(8, new, 11, gone), Claimed::Granted);
        assert_eq!(claims.tokens().count(), 7);
        assert_eq!(claims.asked(old), [5]);
    }
}
