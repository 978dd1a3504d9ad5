//! Who is at the other end of a connection on loopback: the process that holds its socket, as the kernel tells.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LOAD;

const SOCKETS: &str = "/proc/net/tcp";
/// The kernel's list may leave one out that it holds while others come and go.
const LOOKS: u32 = 3;

/// The processes that there are. Cheap to clone.
#[derive(Clone)]
pub struct Callers(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Callers {
    /// The load, which is this process, and no node yet. Fails where callers can't be told apart.
    pub fn new() -> Result<Self, String> {
        let load = BTreeMap::from([(LOAD, std::process::id())]);
        let callers = Self(Arc::new(Mutex::new(load)));
        let tried = callers.try_out();
        let who = tried.map_err(|e| format!("connections on loopback: {e}"))?;
        if who != Some(LOAD) {
            return Err(format!(
                "whose a connection is can't be found in {SOCKETS} and /proc/PID/fd: is /proc mounted?"
            ));
        }
        Ok(callers)
    }

    /// A node is this process from now on.
    pub fn started(&self, number: u64, process: u32) {
        self.lock().insert(number, process);
    }

    /// A node has no process any more.
    pub fn gone(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Who has connected from `client` to `listener`; none for strangers, and for a process that has ended.
    pub fn who(&self, client: SocketAddr, listener: SocketAddr) -> Option<u64> {
        let (SocketAddr::V4(client), SocketAddr::V4(listener)) = (client, listener) else {
            return None;
        };
        (0..LOOKS).find_map(|_| {
            let sockets = fs::read_to_string(SOCKETS).ok()?;
            let inode = inode(&sockets, client, listener)?;
            let socket = format!("socket:[{inode}]");
            let processes = self.lock().clone();
            let mut holders = processes
                .iter()
                .filter(|(_, process)| holds(**process, &socket));
            holders.next().map(|(number, _)| *number)
        })
    }

    /// Who this process is, as seen over a connection.
    fn try_out(&self) -> std::io::Result<Option<u64>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let connected = TcpStream::connect(at)?;
        Ok(self.who(connected.local_addr()?, at))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the socket from one address to the other.
fn inode(sockets: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<&str> {
    let (from, to) = (hex(from), hex(to));
    sockets.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let found = fields.next()? == from && fields.next()? == to;
        // State, queues, timer, retransmissions, owner and time-out lie between.
        found.then(|| fields.nth(6)).flatten()
    })
}

/// An address as the kernel writes it: the bytes as a number of this machine, then the port.
fn hex(address: SocketAddrV4) -> String {
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

fn holds(process: u32, socket: &str) -> bool {
    // One that has ended holds nothing.
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|held| held == Path::new(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_the_load_and_strangers_are_nobody() {
        let callers = Callers::new().unwrap();
        callers.started(LOAD, 1 << 30);
        assert_eq!(callers.try_out().unwrap(), None);
        callers.started(7, std::process::id());
        assert_eq!(callers.try_out().unwrap(), Some(7));
        callers.gone(7);
        assert_eq!(callers.try_out().unwrap(), None);
    }

    #[test]
    fn a_socket_is_found_by_both_its_ends() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1194 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 411 1 0 100 0 0 10 0\n   \
            1: 0100007F:8D2C 0100007F:1194 01 00000000:00000000 02:000AFF12 00000000     0        0 412 2 0 20 4 30 10 -1\n";
        let [one, other]: [SocketAddrV4; 2] =
            ["127.0.0.1:36140", "127.0.0.1:4500"].map(|text| text.parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(inode(sockets, one, other), Some("412"));
        }
        assert_eq!(inode(sockets, other, one), None);
    }
}
