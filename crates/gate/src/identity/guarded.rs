//! How many forged identities are looked into.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::HeaderMap;
use jsonwebtoken::errors::ErrorKind;

use super::{Identity, IdentityError, Person};
use crate::limits::{self, Places};

/// Verifies identities, and no more of them from one place than can be borne: whoever forges one has its signature
/// computed for nothing.
#[derive(Debug)]
pub struct Guarded {
    /// What verifies them.
    pub identity: Identity,
    forged: Places,
    began: Instant,
}

impl Guarded {
    /// Forged tokens are borne at the rates of requests without a good one.
    pub fn new(identity: Identity, rates: &limits::Config) -> Self {
        Self {
            identity,
            forged: Places::new(rates),
            began: Instant::now(),
        }
    }

    /// As [`Identity::person`], for a request from there.
    ///
    /// # Errors
    /// As there, and where too many that were forged have come from the same address or network.
    pub fn person(
        &self,
        address: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Option<Person>, IdentityError> {
        let now = self.began.elapsed();
        if address.is_some_and(|address| !self.forged.has_room(address, now)) {
            return Err(IdentityError::TooMany);
        }
        let person = self.identity.person(headers);
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
