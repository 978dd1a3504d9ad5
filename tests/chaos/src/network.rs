//! The network: every node has a namespace with one interface, whose packets this program carries. So it can
//! lose, delay and stop them by direction, on any kernel that has TUN devices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tun_rs::{AsyncDevice, DeviceBuilder};

use crate::sandbox::sh;

/// The number of the load's own interface.
pub const LOAD: u64 = 254;
const MTU: u16 = 9_000;
const HEADER: usize = 20;

/// The interfaces and what lies between them. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    ports: Mutex<BTreeMap<u64, Arc<AsyncDevice>>>,
    weather: Mutex<Weather>,
}

/// What happens to packets.
struct Weather {
    /// From, to: nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// Between nodes: at least, and up to so much more.
    delay: Option<(Duration, Duration)>,
    /// Between nodes: of a hundred packets.
    loss: u32,
    rng: fastrand::Rng,
    dropped: u64,
}

/// The address of an interface.
pub fn address(number: u64) -> String {
    format!("10.77.0.{number}")
}

fn name(number: u64) -> String {
    format!("pchaos{number}")
}

/// The file by which a node's namespace is entered.
pub fn namespace(number: u64) -> String {
    format!("/run/netns/{}", name(number))
}

impl Network {
    /// A network with the load's interface.
    pub fn new(seed: u64) -> Result<Self, String> {
        let weather = Weather {
            cut: BTreeSet::new(),
            delay: None,
            loss: 0,
            rng: fastrand::Rng::with_seed(seed),
            dropped: 0,
        };
        let network = Self(Arc::new(Shared {
            ports: Mutex::new(BTreeMap::new()),
            weather: Mutex::new(weather),
        }));
        network.plug(LOAD, &[])?;
        Ok(network)
    }

    /// Makes a node's namespace and interface.
    pub fn add(&self, number: u64) -> Result<(), String> {
        let name = name(number);
        sh("ip", &["netns", "add", &name])?;
        sh("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        self.plug(number, &["-n", &name])
    }

    /// Takes them away.
    pub fn remove(&self, number: u64) -> Result<(), String> {
        lock(&self.0.ports).remove(&number);
        sh("ip", &["netns", "del", &name(number)]).map(drop)
    }

    fn plug(&self, number: u64, within: &[&str]) -> Result<(), String> {
        let name = name(number);
        let device = DeviceBuilder::new().name(&name).build_async();
        let device = Arc::new(device.map_err(|e| format!("TUN device {name}: {e}"))?);
        if !within.is_empty() {
            sh("ip", &["link", "set", &name, "netns", &name])?;
        }
        let ip = |args: &[&str]| sh("ip", &[within, args].concat());
        let address = format!("{}/24", address(number));
        ip(&["addr", "add", &address, "dev", &name])?;
        ip(&["link", "set", &name, "mtu", &MTU.to_string(), "up"])?;
        lock(&self.0.ports).insert(number, Arc::clone(&device));
        tokio::spawn(carry(Arc::downgrade(&self.0), number, device));
        Ok(())
    }

    /// Stops everything from one to the other.
    pub fn cut(&self, from: u64, to: u64) {
        lock(&self.0.weather).cut.insert((from, to));
    }

    /// Stops everything between two, both ways.
    pub fn part(&self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Delays what nodes send each other.
    pub fn delay(&self, least: Duration, jitter: Duration) {
        lock(&self.0.weather).delay = Some((least, jitter));
    }

    /// Loses so many of a hundred packets between nodes.
    pub fn lose(&self, percent: u32) {
        lock(&self.0.weather).loss = percent;
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let mut weather = lock(&self.0.weather);
        weather.cut.clear();
        weather.delay = None;
        weather.loss = 0;
    }

    /// Everything passes again from and to one.
    pub fn join(&self, number: u64) {
        let mut weather = lock(&self.0.weather);
        weather
            .cut
            .retain(|(from, to)| *from != number && *to != number);
    }

    /// Packets that faults have stopped or lost.
    pub fn dropped(&self) -> u64 {
        lock(&self.0.weather).dropped
    }
}

impl Weather {
    /// How long a packet is under way; none where it is lost.
    fn fate(&mut self, from: u64, to: u64) -> Option<Duration> {
        let between_nodes = from != LOAD && to != LOAD;
        let lost = between_nodes && self.rng.u32(0..100) < self.loss;
        if lost || self.cut.contains(&(from, to)) {
            self.dropped += 1;
            return None;
        }
        Some(match self.delay {
            Some((least, jitter)) if between_nodes => least + jitter.mul_f64(self.rng.f64()),
            _ => Duration::ZERO,
        })
    }
}

/// Carries what one interface sends, until it is unplugged.
async fn carry(shared: std::sync::Weak<Shared>, from: u64, device: Arc<AsyncDevice>) {
    let mut packet = vec![0; usize::from(MTU)];
    loop {
        let Ok(length) = device.recv(&mut packet).await else {
            return;
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(to) = destination(&packet[..length]) else {
            continue;
        };
        let port = lock(&shared.ports).get(&to).cloned();
        let fate = lock(&shared.weather).fate(from, to);
        let (Some(port), Some(delay)) = (port, fate) else {
            continue;
        };
        if delay.is_zero() {
            // One that is being unplugged takes none: lost, as on any network.
            let _ = port.send(&packet[..length]).await;
        } else {
            let packet = packet[..length].to_vec();
            tokio::spawn(async move {
                sleep(delay).await;
                let _ = port.send(&packet).await;
            });
        }
    }
}

/// The interface that an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<u64> {
    let whole = packet.len() >= HEADER && packet[0] >> 4 == 4;
    (whole && packet[16..19] == [10, 77, 0]).then(|| packet[19].into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weather() -> Weather {
        Weather {
            cut: BTreeSet::new(),
            delay: None,
            loss: 0,
            rng: fastrand::Rng::with_seed(1),
            dropped: 0,
        }
    }

    #[test]
    fn a_packet_says_where_it_goes() {
        let mut packet = [0; HEADER];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[10, 77, 0, 3]);
        assert_eq!(destination(&packet), Some(3));
        assert_eq!(destination(&packet[..19]), None);
        packet[17] = 78;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[0x60; 40]), None, "IPv6");
    }

    #[test]
    fn a_cut_is_of_one_direction() {
        let mut weather = weather();
        weather.cut.insert((1, 2));
        assert_eq!(weather.fate(1, 2), None);
        assert_eq!(weather.fate(2, 1), Some(Duration::ZERO));
        assert_eq!(weather.dropped, 1);
    }

    #[test]
    fn loss_and_delay_are_between_nodes_alone() {
        let mut weather = weather();
        weather.loss = 30;
        let lost = (0..10_000).filter(|_| weather.fate(1, 2).is_none()).count();
        assert!((2_700..3_300).contains(&lost), "{lost}");
        assert!((0..1_000).all(|_| weather.fate(LOAD, 2).is_some()));
        weather.loss = 0;
        let (least, jitter) = (Duration::from_millis(200), Duration::from_millis(100));
        weather.delay = Some((least, jitter));
        for _ in 0..1_000 {
            let delay = weather.fate(2, 1).unwrap();
            assert!(delay >= least && delay < least + jitter, "{delay:?}");
            assert_eq!(weather.fate(2, LOAD), Some(Duration::ZERO));
        }
    }
}
