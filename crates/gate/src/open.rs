//! The connections that are open: how many, whose, and which of them rest between two requests.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::address::{home, network};
use crate::body::{Part, Watch, Watched};

/// One address that is no trusted proxy has at most this part of all connections: a school's thousand browsers, some
/// connections each, go into a quarter of the default. And so has one network of IPv6, which may be one customer's
/// as well: 256 of what counts as an address there.
const ONE_ADDRESS: usize = 4;
const ONE_NETWORK: usize = 2;
/// There may be this part more while those close that have made room.
const CLOSING: usize = 8;

/// All of them.
#[derive(Debug)]
pub struct Open {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_network: HashMap<IpAddr, usize>,
    /// What closes each that rests, by when it began to.
    resting: BTreeMap<u64, CancellationToken>,
    /// Times that any began to rest.
    rests: u64,
}

/// The place of one of them, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    open: Arc<Open>,
    /// Whose it counts as, where it is one's.
    address: Option<IpAddr>,
}

impl Open {
    /// None yet, and so many at the most.
    pub fn new(most: usize) -> Arc<Self> {
        let counts = Mutex::default();
        Arc::new(Self { most, counts })
    }

    /// A place for one from `address`, where there is any: where all are taken, that which has rested longest makes
    /// room. `shared` is whether the connection may be many people's, and counts among all alone.
    pub fn take(open: &Arc<Self>, address: IpAddr, shared: bool) -> Option<Place> {
        let most = open.most;
        let mut counts = open.counts();
        if !shared && counts.has_enough(address, most) {
            return None;
        }
        if counts.all >= most {
            if counts.all >= most + most / CLOSING {
                return None;
            }
            let (_, close) = counts.resting.pop_first()?;
            close.cancel();
        }
        counts.all += 1;
        if !shared {
            *counts.by_address.entry(home(address)).or_default() += 1;
            if address.is_ipv6() {
                *counts.by_network.entry(network(address)).or_default() += 1;
            }
        }
        let (open, address) = (Arc::clone(open), Some(address).filter(|_| !shared));
        Some(Place { open, address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Whether an address, or its network, has its part of so many.
    fn has_enough(&self, address: IpAddr, most: usize) -> bool {
        let of = |counts: &HashMap<_, usize>, key| counts.get(&key).copied().unwrap_or_default();
        of(&self.by_address, home(address)) >= most.div_ceil(ONE_ADDRESS)
            || of(&self.by_network, network(address)) >= most.div_ceil(ONE_NETWORK)
    }
}

impl Place {
    /// How its connection rests. It is closed at `stop` as well.
    pub fn rest(&self, stop: &CancellationToken) -> Arc<Rest> {
        Arc::new(Rest {
            open: Arc::clone(&self.open),
            close: stop.child_token(),
            // A proxy that is trusted may just be sending somebody's request.
            may_be_closed: self.address.is_some(),
            since: AtomicU64::new(BUSY),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        counts.all -= 1;
        if let Some(address) = self.address {
            one_less(&mut counts.by_address, home(address));
            if address.is_ipv6() {
                one_less(&mut counts.by_network, network(address));
            }
        }
    }
}

fn one_less(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Not resting.
const BUSY: u64 = 0;

/// How a connection rests between two requests.
#[derive(Debug)]
pub struct Rest {
    open: Arc<Open>,
    close: CancellationToken,
    may_be_closed: bool,
    /// Which of all rests it is.
    since: AtomicU64,
}

impl Rest {
    /// Is cancelled when the connection is to be closed after what is under way.
    pub fn close(&self) -> CancellationToken {
        self.close.clone()
    }

    /// A request has come.
    pub fn interrupt(this: &Arc<Self>) -> Busy {
        this.end();
        Busy(Arc::clone(this))
    }

    fn begin(&self) {
        if self.may_be_closed && !self.close.is_cancelled() {
            let mut counts = self.open.counts();
            counts.rests += 1;
            let since = counts.rests;
            counts.resting.insert(since, self.close.clone());
            self.since.store(since, Ordering::Relaxed);
        }
    }

    fn end(&self) {
        let since = self.since.swap(BUSY, Ordering::Relaxed);
        if since != BUSY {
            self.open.counts().resting.remove(&since);
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Busy(Arc<Rest>);

impl Busy {
    /// It is until its answer has been taken; and whatever the connection becomes instead does not rest.
    pub fn until_taken(self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        response.map(|body| Body::new(Watched::new(body, Taken(self))))
    }
}

/// Ends with the answer's body.
#[derive(Debug)]
struct Taken(Busy);

impl Watch for Taken {
    fn see(&mut self, _: &mut Context<'_>, part: Part) -> Part {
        part
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_by_the_home_that_has_it_and_by_its_network() {
        let open = Open::new(8);
        let at = |text: &str| Open::take(&open, text.parse().unwrap(), false);
        let held = [at("2001:db8::1"), at("2001:db8:0:ff::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(at("2001:db8::3").is_none());
        let others = [at("2001:db8:0:100::3"), at("2001:db8:0:200::3")];
        assert!(others.iter().all(Option::is_some));
        assert!(at("2001:db8:0:300::3").is_none());
        assert!(at("2001:db8:1::3").is_some());
        drop(held);
        assert!(at("2001:db8::3").is_some());
        drop(others);
        let counts = open.counts();
        assert!(counts.by_address.is_empty() && counts.by_network.is_empty());
    }

    #[test]
    fn those_that_make_room_are_each_told_once_and_no_more_come_than_that() {
        let (open, stop) = (Open::new(16), CancellationToken::new());
        let at = |nth: u8, shared| Open::take(&open, [192, 0, 2, nth].into(), shared);
        let held: Vec<_> = (0..16).map(|nth| at(nth, nth == 0).unwrap()).collect();
        let rests: Vec<_> = held.iter().map(|place| place.rest(&stop)).collect();
        let closed = || rests.iter().map(|rest| rest.close.is_cancelled());
        assert!(at(16, false).is_none(), "all are busy");
        for rest in &rests {
            rest.begin();
        }
        drop(Rest::interrupt(&rests[1]));
        let more = [at(16, false), at(17, true)];
        assert!(more.iter().all(Option::is_some));
        // A trusted proxy's stays, and so does that which is busy.
        assert!(closed().eq((0..16).map(|nth| nth == 2 || nth == 3)));
        assert!(at(18, false).is_none(), "none has closed yet");
        drop(held);
        assert!(at(18, false).is_some());
        drop(rests);
        assert!(open.counts().resting.is_empty());
    }
}
