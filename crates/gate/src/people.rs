//! Which place a person has, where something before the gate knows who they are: one at a time, whichever device they
//! come by; and whose a place is, whoever sits at the device.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    places: HashMap<[u8; 16], Place>,
    /// Whose each of these places is.
    owners: HashMap<u64, [u8; 16]>,
    swept: Instant,
}

#[derive(Debug)]
struct Place {
    id: u64,
    token: Box<str>,
    seen: Instant,
}

impl Default for People {
    fn default() -> Self {
        let inner = Inner {
            places: HashMap::new(),
            owners: HashMap::new(),
            swept: Instant::now(),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }
}

impl People {
    /// The place that a person had when they were last seen: its id, and its token.
    pub fn place(&self, person: &Person) -> Option<(u64, String)> {
        let inner = self.lock();
        let place = inner.places.get(&person.key)?;
        Some((place.id, place.token.to_string()))
    }

    /// Whether a place is known to be somebody else's.
    pub fn is_anothers(&self, person: &Person, id: u64) -> bool {
        self.lock().is_anothers(person, id)
    }

    /// A person was seen with a place, by its id and token. Somebody else's it stays.
    pub fn note(&self, person: &Person, id: u64, token: &str) {
        let inner = &mut *self.lock();
        let now = Instant::now();
        inner.sweep(now);
        if inner.is_anothers(person, id) {
            return;
        }
        if inner.places.len() >= MOST && !inner.places.contains_key(&person.key) {
            return;
        }
        let place = Place {
            id,
            token: token.into(),
            seen: now,
        };
        if let Some(before) = inner.places.insert(person.key, place) {
            inner.owners.remove(&before.id);
        }
        inner.owners.insert(id, person.key);
    }

    /// A person has given the place up.
    pub fn forget(&self, person: &Person) {
        let inner = &mut *self.lock();
        if let Some(place) = inner.places.remove(&person.key) {
            inner.owners.remove(&place.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_anothers(&self, person: &Person, id: u64) -> bool {
        self.owners.get(&id).is_some_and(|key| *key != person.key)
    }

    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        let (places, owners) = (&mut self.places, &mut self.owners);
        places.retain(|_, place| {
            let stays = now.duration_since(place.seen) < LIFE;
            if !stays {
                owners.remove(&place.id);
            }
            stays
        });
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
        let place = |nth| people.place(&person(nth));
        assert_eq!(place(1), None);
        people.note(&person(1), 10, "a");
        people.note(&person(2), 20, "b");
        people.note(&person(1), 10, "a, anew");
        assert_eq!(place(1), Some((10, "a, anew".into())));
        people.note(&person(1), 30, "c");
        assert_eq!(place(1), Some((30, "c".into())));
        people.forget(&person(1));
        assert_eq!(place(1), None);
        assert_eq!(place(2), Some((20, "b".into())));
        let inner = people.lock();
        assert_eq!((inner.places.len(), inner.owners.len()), (1, 1));
    }

    #[test]
    fn a_place_is_one_persons_until_they_have_another_or_none() {
        let people = People::default();
        people.note(&person(1), 10, "a");
        assert!(people.is_anothers(&person(2), 10) && !people.is_anothers(&person(1), 10));
        people.note(&person(2), 10, "a");
        assert_eq!(people.place(&person(2)), None);
        people.note(&person(1), 11, "b");
        assert!(!people.is_anothers(&person(2), 10));
        people.note(&person(2), 10, "a");
        people.forget(&person(2));
        assert!(!people.is_anothers(&person(1), 10));
    }
}
