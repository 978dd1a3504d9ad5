//! Where nodes can have no networks of their own they are on loopback, and each is reached through a proxy of this
//! program: it holds back what the weather stops, by who calls whom, as TCP would have it arrive late.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::callers::Callers;
use super::{Place, Weather};

/// What is lost is sent again after this, and then after twice as long each time, as TCP does on Linux; but not
/// as seldom as there, for what stays cut is told by the weather alone.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_AT_MOST: Duration = Duration::from_millis(1_600);
/// What is read at once is lost or late as one.
const PIECE: usize = 16 << 10;
/// As many pieces may be under way; further bytes wait with their sender.
const UNDER_WAY: usize = 64;

/// The proxies.
pub struct Proxies {
    weather: Weather,
    pub callers: Callers,
    /// Nodes listen on the ports from this one on.
    first_port: u16,
    proxies: Mutex<BTreeMap<u64, Proxy>>,
}

/// One that listens, and all that it carries: ended with this.
struct Proxy(AbortHandle);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Proxies {
    /// None yet. Fails where it can't be told who calls.
    pub fn new(weather: Weather, first_port: u16) -> Result<Self, String> {
        Ok(Self {
            weather,
            callers: Callers::new()?,
            first_port,
            proxies: Mutex::default(),
        })
    }

    /// Listens for a node.
    pub fn add(&self, number: u64) -> Result<Place, String> {
        let failed = |e: io::Error| format!("a proxy on loopback for node {number}: {e}");
        let node = super::loopback(self.first_port, number);
        // So that it listens before it is told to anybody.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let door = Door {
            weather: self.weather.clone(),
            callers: self.callers.clone(),
            number,
            node,
            address,
        };
        let serving = tokio::spawn(door.serve(listener));
        let proxy = Proxy(serving.abort_handle());
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        proxies.insert(number, proxy);
        Ok(Place {
            listen: node.to_string(),
            address: address.to_string(),
        })
    }

    /// Ends a node's proxy, and what it carries.
    pub fn remove(&self, number: u64) {
        self.callers.gone(number);
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        proxies.remove(&number);
    }
}

/// A node's proxy.
#[derive(Clone)]
struct Door {
    weather: Weather,
    callers: Callers,
    number: u64,
    /// Where the node listens.
    node: SocketAddr,
    /// Where others reach it.
    address: SocketAddr,
}

impl Door {
    async fn serve(self, listener: TcpListener) {
        let mut streams = JoinSet::new();
        loop {
            while streams.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, client)) => {
                    streams.spawn(self.clone().carry(stream, client));
                }
                // Out of files, most likely: until others have ended.
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Carries a connection to its end. It is established once both ways are open.
    async fn carry(self, caller: TcpStream, client: SocketAddr) -> io::Result<()> {
        let Self {
            weather,
            callers,
            number: to,
            node,
            address,
        } = self;
        let looking = tokio::task::spawn_blocking(move || callers.who(client, address));
        // What a stranger asks, or a process that has ended, goes to nobody.
        let Some(from) = looking.await? else {
            return Ok(());
        };
        let there = Way { weather, from, to };
        let back = there.back();
        there.pass(()).await;
        back.pass(()).await;
        // Where nobody listens the caller's connection is closed with this one.
        let callee = TcpStream::connect(node).await?;
        caller.set_nodelay(true)?;
        callee.set_nodelay(true)?;
        let (asks, hears) = caller.into_split();
        let (answers, listens) = callee.into_split();
        tokio::try_join!(there.pump(asks, listens), back.pump(answers, hears)).map(drop)
    }
}

/// From one to another.
#[derive(Clone)]
struct Way {
    weather: Weather,
    from: u64,
    to: u64,
}

impl Way {
    fn back(&self) -> Self {
        Self {
            weather: self.weather.clone(),
            from: self.to,
            to: self.from,
        }
    }

    /// Takes as long as a piece is under way, with all times that it is lost and sent again.
    async fn pass<T>(&self, piece: T) -> T {
        let mut again = AGAIN;
        loop {
            if let Some(delay) = self.weather.fate(self.from, self.to) {
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                return piece;
            }
            sleep(again).await;
            again = (again * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Carries bytes in order until there are no more, and then that.
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut under_way = FuturesOrdered::new();
        let mut ended = false;
        loop {
            tokio::select! {
                read = from.read(&mut buffer), if !ended && under_way.len() < UNDER_WAY => {
                    // The end, as an empty piece, is cut off and late as the bytes are. A reset is one too.
                    let length = read.unwrap_or(0);
                    ended = length == 0;
                    under_way.push_back(self.pass(buffer[..length].to_vec()));
                }
                Some(piece) = under_way.next() => {
                    if piece.is_empty() {
                        return to.shutdown().await;
                    }
                    to.write_all(&piece).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;
    use crate::network::LOAD;

    const SOON: Duration = Duration::from_millis(400);
    const LATER: Duration = Duration::from_secs(5);

    /// A proxy for node 1 with an echo behind it, and a connection through it: of the load, which is this process.
    async fn connected() -> (Weather, Proxies, TcpStream) {
        let weather = Weather::new(1);
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = echo.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = echo.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        let proxies = Proxies::new(weather.clone(), port - 1).unwrap();
        let place = proxies.add(1).unwrap();
        assert_eq!(place.listen, format!("127.0.0.1:{port}"));
        let stream = TcpStream::connect(&place.address).await.unwrap();
        (weather, proxies, stream)
    }

    /// What comes back of a byte, if anything does in time.
    async fn echoed(stream: &mut TcpStream, byte: u8, within: Duration) -> Option<u8> {
        stream.write_all(&[byte]).await.unwrap();
        timeout(within, stream.read_u8()).await.ok()?.ok()
    }

    #[tokio::test]
    async fn a_cut_holds_bytes_back_in_either_direction_and_lets_go_of_them() {
        let (weather, _proxies, mut stream) = connected().await;
        assert_eq!(echoed(&mut stream, 1, LATER).await, Some(1));
        for (from, to) in [(LOAD, 1), (1, LOAD)] {
            weather.cut(from, to);
            assert_eq!(echoed(&mut stream, 2, SOON).await, None);
            weather.heal();
            let held = timeout(LATER, stream.read_u8()).await.unwrap();
            assert_eq!(held.unwrap(), 2);
        }
        assert!(weather.dropped() >= 2);
    }

    #[tokio::test]
    async fn a_new_connection_is_silent_while_one_way_is_cut() {
        let (weather, proxies, _) = connected().await;
        weather.cut(1, LOAD);
        let place = proxies.add(1).unwrap();
        let mut stream = TcpStream::connect(&place.address).await.unwrap();
        assert_eq!(echoed(&mut stream, 3, SOON).await, None);
        weather.heal();
        let late = timeout(LATER, stream.read_u8()).await.unwrap();
        assert_eq!(late.unwrap(), 3);
    }

    #[tokio::test]
    async fn loss_is_late_and_delay_lasts_and_all_arrives_in_order() {
        let (weather, proxies, _) = connected().await;
        // From now on this process is node 2, for delay and loss are between nodes.
        proxies.callers.started(LOAD, 1 << 30);
        proxies.callers.started(2, std::process::id());
        let place = proxies.add(1).unwrap();
        let mut stream = TcpStream::connect(&place.address).await.unwrap();
        assert_eq!(echoed(&mut stream, 1, LATER).await, Some(1));
        weather.delay(Duration::from_millis(50), Duration::from_millis(20));
        let begun = Instant::now();
        assert_eq!(echoed(&mut stream, 2, LATER).await, Some(2));
        assert!(begun.elapsed() >= Duration::from_millis(100));
        weather.heal();
        weather.lose(30);
        let sent: Vec<u8> = (0..=255).collect();
        for byte in &sent {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut back = vec![0; sent.len()];
        let read = timeout(4 * LATER, stream.read_exact(&mut back)).await;
        read.unwrap().unwrap();
        assert_eq!(back, sent);
        // The end comes through, and ends the connection.
        weather.heal();
        stream.shutdown().await.unwrap();
        let end = timeout(LATER, stream.read_to_end(&mut back)).await;
        assert_eq!(end.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_stranger_is_turned_away_and_a_removed_proxy_carries_nothing() {
        let (_weather, proxies, mut stream) = connected().await;
        assert_eq!(echoed(&mut stream, 1, LATER).await, Some(1));
        proxies.callers.gone(LOAD);
        let address = proxies.add(1).unwrap().address;
        // The first proxy of node 1 is gone with that, and its stream.
        assert_eq!(
            timeout(LATER, stream.read(&mut [0]))
                .await
                .unwrap()
                .unwrap_or(0),
            0
        );
        let mut stream = TcpStream::connect(&address).await.unwrap();
        assert_eq!(
            timeout(LATER, stream.read(&mut [0]))
                .await
                .unwrap()
                .unwrap_or(0),
            0
        );
    }
}
