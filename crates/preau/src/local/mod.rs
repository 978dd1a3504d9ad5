//! Clusters of three nodes on this machine: where they live, how they come together, who leads.

pub mod children;
pub mod embedded;
pub mod leader;
pub mod processes;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::v1;
use client::Nodes;
use tempfile::TempDir;

use crate::cluster;
use crate::failure::Failure;

/// Nodes of a local cluster: the fewest that survive the loss of one.
pub const NODES: usize = 3;
/// Where commands look for a cluster when nobody says where it is.
pub const FIRST_PORT: u16 = 4_501;
/// How long a local cluster may take to have a leader.
const FORM_WITHIN: Duration = Duration::from_secs(20);
/// One look at a node.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Remembers the addresses, so that the nodes come back to where their cluster expects them.
const ADDRESSES_FILE: &str = "addresses";

/// On which ports the nodes of a new home listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// On any that are free.
    Free,
    /// On this one and those after it.
    From(u16),
    /// On this one and those after it where they are free, and else on any.
    RatherFrom(u16),
}

/// Where a local cluster lives: a directory and three addresses.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    addresses: [SocketAddr; NODES],
    /// Removed with everything in it when the home is dropped.
    _temporary: Option<TempDir>,
}

impl Home {
    /// A home in `dir`, which is made where it is not there, or in a new directory that is removed at the
    /// end. A directory that has been a home keeps its ports.
    pub fn new(dir: Option<&Path>, ports: Ports) -> Result<Self, Failure> {
        let (dir, temporary) = match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)
                    .map_err(|e| Failure::usage(format!("--data: can't make {dir:?}: {e}")))?;
                (dir.to_owned(), None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("preau-")
                    .tempdir()
                    .map_err(|e| {
                        Failure::operation(format!("can't make a temporary directory: {e}"))
                    })?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let addresses = addresses(&dir, ports)?;
        Ok(Self {
            dir,
            addresses,
            _temporary: temporary,
        })
    }

    /// The data directory of a node, by number from 1.
    pub fn node_dir(&self, node_id: u64) -> PathBuf {
        self.dir.join(format!("node-{node_id}"))
    }

    /// Node ids and their addresses.
    pub fn nodes(&self) -> impl Iterator<Item = (u64, SocketAddr)> + use<> {
        (1..).zip(self.addresses)
    }

    /// The addresses as text.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(SocketAddr::to_string).collect()
    }

    /// Makes one cluster of the nodes, which run by now, unless they are one already; and waits until
    /// somebody leads it.
    pub async fn form(&self) -> Result<(), Failure> {
        let first = Nodes::new([self.addresses[0].to_string()]).map_err(unusable)?;
        let status = first
            .call(FORM_WITHIN, |channel| async {
                let request = v1::StatusRequest {};
                Ok(cluster::cluster(channel)
                    .status(request)
                    .await?
                    .into_inner())
            })
            .await?;
        if status.cluster_id.is_empty() {
            let members = self
                .nodes()
                .map(|(node_id, address)| v1::MemberAddress {
                    node_id,
                    address: address.to_string(),
                })
                .collect();
            let request = v1::InitRequest { members };
            first
                .call(FORM_WITHIN, |channel| {
                    let request = request.clone();
                    async move { cluster::cluster(channel).init(request).await }
                })
                .await?;
        }
        leader::Leaders::new(&self.addresses())?
            .wait(FORM_WITHIN)
            .await
    }
}

fn unusable(error: client::AddressError) -> Failure {
    Failure::usage(error.to_string())
}

fn addresses(dir: &Path, ports: Ports) -> Result<[SocketAddr; NODES], Failure> {
    let file = dir.join(ADDRESSES_FILE);
    let known = match std::fs::read_to_string(&file) {
        Ok(text) => Some(parse_addresses(&text).ok_or_else(|| {
            Failure::usage(format!(
                "{file:?} does not hold {NODES} addresses, one a line; is --data the right directory?"
            ))
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::usage(format!("can't read {file:?}: {error}"))),
    };
    let chosen = match (known, ports) {
        (Some(known), Ports::From(port)) if known != consecutive(port)? => {
            return Err(Failure::usage(format!(
                "--port: {port} given, but the cluster in {dir:?} has its nodes at {}; leave it out",
                known.map(|address| address.to_string()).join(", ")
            )));
        }
        (Some(known), _) => return Ok(known),
        (None, Ports::From(port)) => consecutive(port)?,
        (None, Ports::RatherFrom(port)) => {
            let rather = consecutive(port)?;
            let all_free = rather.iter().all(|at| TcpListener::bind(at).is_ok());
            if all_free { rather } else { free()? }
        }
        (None, Ports::Free) => free()?,
    };
    let text = chosen.map(|address| format!("{address}\n")).concat();
    std::fs::write(&file, text)
        .map_err(|e| Failure::operation(format!("can't write {file:?}: {e}")))?;
    Ok(chosen)
}

fn parse_addresses(text: &str) -> Option<[SocketAddr; NODES]> {
    let parsed: Vec<SocketAddr> = text
        .lines()
        .map(|l| l.parse().ok())
        .collect::<Option<_>>()?;
    parsed.try_into().ok()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn consecutive(first: u16) -> Result<[SocketAddr; NODES], Failure> {
    let last = u16::MAX - (NODES as u16 - 1);
    if first == 0 || first > last {
        return Err(Failure::usage(format!(
            "--port: {first} given, expected 1 to {last}: the nodes take {NODES} ports from there"
        )));
    }
    Ok([0, 1, 2].map(|n| loopback(first + n)))
}

/// Ports that are free now. All are open at once, so that they differ.
pub fn free<const N: usize>() -> Result<[SocketAddr; N], Failure> {
    let no_port = |e: std::io::Error| Failure::operation(format!("no free port on loopback: {e}"));
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind(loopback(0)).map_err(no_port)?);
    }
    let mut addresses = [loopback(0); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr().map_err(no_port)?;
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let home = |ports| Home::new(Some(dir.path()), ports);
        let first = home(Ports::Free).unwrap().addresses();
        assert_eq!(home(Ports::Free).unwrap().addresses(), first);
        assert_eq!(home(Ports::RatherFrom(4_501)).unwrap().addresses(), first);
        let message = home(Ports::From(4_501)).unwrap_err().to_string();
        assert!(message.contains("--port: 4501 given, but"), "{message}");
        assert!(message.contains(&first[2]), "{message}");

        std::fs::write(dir.path().join(ADDRESSES_FILE), "127.0.0.1:1\n").unwrap();
        let message = home(Ports::Free).unwrap_err().to_string();
        assert!(message.contains("does not hold 3 addresses"), "{message}");
    }

    #[test]
    fn ports_are_in_a_row_and_must_be_there() {
        let home = Home::new(None, Ports::From(FIRST_PORT)).unwrap();
        assert_eq!(home.addresses().join(","), cluster::DEFAULT_NODES);
        for port in [0, 65_534] {
            let message = Home::new(None, Ports::From(port)).unwrap_err().to_string();
            assert!(message.contains(&format!("--port: {port} given, expected 1 to 65533")));
        }
    }

    #[test]
    fn ports_that_are_taken_are_left_alone_where_others_do() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port().min(65_533);
        let home = Home::new(None, Ports::RatherFrom(port)).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(!home.addresses().contains(&address));
    }

    #[test]
    fn a_temporary_home_leaves_nothing_behind() {
        let home = Home::new(None, Ports::Free).unwrap();
        let dir = home.dir.clone();
        assert!(dir.exists());
        drop(home);
        assert!(!dir.exists());
    }
}
