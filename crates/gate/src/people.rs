//! Which place a person has, where something before the gate knows who they are: one at a time, whichever device they
//! come by.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::tokens::TOKEN_LIFE_S;

use crate::identity::Person;

/// Most people who are remembered; whoever comes beyond that is held to the cookie alone.
const MOST: usize = 1 << 20;
/// Nobody is remembered for longer than a token that is not shown again is good.
const LIFE: Duration = Duration::from_secs(TOKEN_LIFE_S as u64);
/// How often those who have gone are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// People by the keyed hash of who they are.
#[derive(Debug)]
pub struct People {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: HashMap<[u8; 16], (Box<str>, Instant)>,
    swept: Instant,
}

impl Default for People {
    fn default() -> Self {
        let (places, swept) = (HashMap::new(), Instant::now());
        Self {
            inner: Mutex::new(Inner { places, swept }),
        }
    }
}

impl People {
    /// The token of the place that a person had when they were last seen.
    pub fn token(&self, person: &Person) -> Option<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, _) = inner.places.get(&person.key)?;
        Some(token.to_string())
    }

    /// A person was seen with a place.
    pub fn note(&self, person: &Person, token: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(inner.swept) >= SWEEP_EVERY {
            inner.swept = now;
            inner
                .places
                .retain(|_, (_, seen)| now.duration_since(*seen) < LIFE);
        }
        if inner.places.len() < MOST || inner.places.contains_key(&person.key) {
            inner.places.insert(person.key, (token.into(), now));
        }
    }

    /// A person has given the place up.
    pub fn forget(&self, person: &Person) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.places.remove(&person.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(first: u8) -> Person {
        let mut key = [0; 16];
        key[0] = first;
        Person { key, class: None }
    }

    #[test]
    fn a_person_has_the_place_last_seen_until_it_is_given_up() {
        let people = People::default();
        assert_eq!(people.token(&person(1)), None);
        people.note(&person(1), "a");
        people.note(&person(2), "b");
        people.note(&person(1), "c");
        assert_eq!(people.token(&person(1)).as_deref(), Some("c"));
        people.forget(&person(1));
        assert_eq!(people.token(&person(1)), None);
        assert_eq!(people.token(&person(2)).as_deref(), Some("b"));
    }
}
