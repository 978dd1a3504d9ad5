//! How many forged identities are looked into.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::HeaderMap;
use jsonwebtoken::errors::ErrorKind;

use super::{Identity, IdentityError, Person};
use crate::limits::{self, Places};

/// Cells for tokens that were good, of 8 bytes each.
const GOOD: usize = 1 << 16;

/// Verifies identities, and no more of them from one place than can be borne: whoever forges one has its signature
/// computed for nothing.
#[derive(Debug)]
pub struct Guarded {
    /// What verifies them.
    pub identity: Identity,
    forged: Places,
    good: Good,
    began: Instant,
}

/// Tokens that were good lately, each by a hash in the one cell that it can have: whoever shows one again is looked
/// into whatever others at the same address forge.
#[derive(Debug)]
struct Good {
    hasher: RandomState,
    cells: Box<[AtomicU64]>,
}

impl Good {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            cells: (0..GOOD).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn cell(&self, token: &str) -> Option<(&AtomicU64, u64)> {
        let hash = self.hasher.hash_one(token);
        let cell = self.cells.get(hash as usize % GOOD)?;
        Some((cell, hash))
    }

    fn has(&self, token: &str) -> bool {
        let cell = self.cell(token);
        cell.is_some_and(|(cell, hash)| cell.load(Ordering::Relaxed) == hash)
    }

    fn note(&self, token: &str) {
        if let Some((cell, hash)) = self.cell(token) {
            cell.store(hash, Ordering::Relaxed);
        }
    }
}

impl Guarded {
    /// Forged tokens are borne at the rates of requests without a good one.
    pub fn new(identity: Identity, rates: &limits::Config) -> Self {
        Self {
            identity,
            forged: Places::new(rates),
            good: Good::new(),
            began: Instant::now(),
        }
    }

    /// As [`Identity::person`], for a request from there.
    ///
    /// # Errors
    /// As there, and where too many that were forged have come from the same address or network, for a token that was
    /// not good lately.
    pub fn person(
        &self,
        address: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<Person>, IdentityError> {
        let now = self.began.elapsed();
        let Some(token) = self.identity.token(headers) else {
            return Ok(None);
        };
        let is_full = address.is_some_and(|address| !self.forged.has_room(address, now));
        if is_full && !self.good.has(token) {
            return Err(IdentityError::TooMany);
        }
        let person = self.identity.person(headers);
        if person.is_ok() {
            self.good.note(token);
        }
        // One that has run out, or is by a key that is new, is an honest person's.
        if let (Some(address), Err(IdentityError::Token(why))) = (address, &person)
            && *why.kind() == ErrorKind::InvalidSignature
        {
            // There was room.
            let _ = self.forged.take(address, now);
        }
        person
    }
}
