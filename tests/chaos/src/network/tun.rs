//! Every node has a namespace with one interface, whose packets this program carries. So it can lose, delay and
//! stop them by direction, on any kernel that has TUN devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::sleep;
use tun_rs::{AsyncDevice, DeviceBuilder};

use super::{LOAD, Weather};
use crate::sandbox::sh;

const MTU: u16 = 9_000;
const HEADER: usize = 20;

/// The interfaces.
pub struct Interfaces {
    ports: Arc<Ports>,
    weather: Weather,
}

type Ports = Mutex<BTreeMap<u64, Arc<AsyncDevice>>>;

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

impl Interfaces {
    /// The load's interface alone.
    pub fn new(weather: Weather) -> Result<Self, String> {
        let interfaces = Self {
            ports: Arc::default(),
            weather,
        };
        interfaces.plug(LOAD, &[])?;
        Ok(interfaces)
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
        lock(&self.ports).remove(&number);
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
        lock(&self.ports).insert(number, Arc::clone(&device));
        let ports = Arc::downgrade(&self.ports);
        tokio::spawn(carry(ports, self.weather.clone(), number, device));
        Ok(())
    }
}

/// Carries what one interface sends, until it is unplugged.
async fn carry(ports: Weak<Ports>, weather: Weather, from: u64, device: Arc<AsyncDevice>) {
    let mut packet = vec![0; usize::from(MTU)];
    loop {
        let Ok(length) = device.recv(&mut packet).await else {
            return;
        };
        let Some(ports) = ports.upgrade() else {
            return;
        };
        let Some(to) = destination(&packet[..length]) else {
            continue;
        };
        let port = lock(&ports).get(&to).cloned();
        let (Some(port), Some(delay)) = (port, weather.fate(from, to)) else {
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

fn lock(ports: &Ports) -> MutexGuard<'_, BTreeMap<u64, Arc<AsyncDevice>>> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
