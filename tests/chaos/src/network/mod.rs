//! The network between the nodes and the load: namespaces whose packets this program carries; where these can't be
//! had, proxies on loopback.

mod callers;
mod proxies;
mod tun;
mod weather;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use self::proxies::Proxies;
use self::tun::Interfaces;
pub use self::weather::Weather;

/// The number of the load, beside those of the nodes.
pub const LOAD: u64 = 254;
const PORT: u16 = 4501;

/// What carries bytes, and what becomes of them.
pub struct Network {
    pub weather: Weather,
    carrier: Carrier,
}

enum Carrier {
    Interfaces(Interfaces),
    Proxies(Proxies),
}

/// Where a node is.
pub struct Place {
    pub listen: String,
    /// As others reach it.
    pub address: String,
}

impl Place {
    /// Where a node is reached as it listens.
    pub fn direct(address: impl ToString) -> Self {
        Self {
            listen: address.to_string(),
            address: address.to_string(),
        }
    }
}

impl Network {
    /// Of interfaces.
    pub fn interfaces(seed: u64) -> Result<Self, String> {
        let weather = Weather::new(seed);
        let carrier = Carrier::Interfaces(Interfaces::new(weather.clone())?);
        Ok(Self { weather, carrier })
    }

    /// Of proxies on loopback, with nodes on the ports from `first_port` on.
    pub fn proxies(seed: u64, first_port: u16) -> Result<Self, String> {
        let weather = Weather::new(seed);
        let carrier = Carrier::Proxies(Proxies::new(weather.clone(), first_port)?);
        Ok(Self { weather, carrier })
    }

    /// Makes a place for a node.
    pub fn add(&self, number: u64) -> Result<Place, String> {
        match &self.carrier {
            Carrier::Interfaces(interfaces) => {
                interfaces.add(number)?;
                Ok(Place::direct(format!("{}:{PORT}", tun::address(number))))
            }
            Carrier::Proxies(proxies) => proxies.add(number),
        }
    }

    /// Takes it away.
    pub fn remove(&self, number: u64) -> Result<(), String> {
        match &self.carrier {
            Carrier::Interfaces(interfaces) => interfaces.remove(number),
            Carrier::Proxies(proxies) => {
                proxies.remove(number);
                Ok(())
            }
        }
    }

    /// The words before a command that have it run at a node's place.
    pub fn enter(&self, number: u64) -> Vec<OsString> {
        match &self.carrier {
            Carrier::Interfaces(_) => {
                let net = format!("--net={}", tun::namespace(number));
                vec!["nsenter".into(), net.into(), "--".into()]
            }
            Carrier::Proxies(_) => Vec::new(),
        }
    }

    /// A node is this process from now on.
    pub fn started(&self, number: u64, process: u32) {
        if let Carrier::Proxies(proxies) = &self.carrier {
            proxies.callers.started(number, process);
        }
    }

    /// What it is, in words.
    pub fn described(&self) -> &'static str {
        match self.carrier {
            Carrier::Interfaces(_) => {
                "in network namespaces of the nodes' own: packets are lost, delayed and stopped"
            }
            Carrier::Proxies(_) => {
                "on loopback through proxies: bytes of streams are held back and late"
            }
        }
    }

    /// What can't be tested on it.
    pub fn leaves_out(&self) -> Option<&'static str> {
        match self.carrier {
            Carrier::Interfaces(_) => None,
            Carrier::Proxies(_) => Some(
                "single packets: none is lost, out of order or without acknowledgement by itself, and connections to \
                 a node that is cut off are silent, not refused or without an answer",
            ),
        }
    }
}

/// Where a node is on loopback.
pub fn loopback(first_port: u16, number: u64) -> SocketAddr {
    let nth = u16::try_from(number).unwrap_or(u16::MAX);
    (Ipv4Addr::LOCALHOST, first_port.saturating_add(nth)).into()
}
