//! The way to the cluster: a few addresses, connections opened when they are needed, and calls that go
//! to the next node where one can't answer.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use api::connect::Dial;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::Instant;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use crate::reason::{leader_address, retry_after};

/// Most nodes that are known at a time, those learnt from the cluster included.
pub const MAX_NODES: usize = 64;
/// Most connections to one node.
pub const MAX_CONNECTIONS: usize = 64;

/// A connection that is not there after this long is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle connection is asked whether it still lives, and how long it may take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));
/// The shortest and longest pause once every node has been tried, before jitter.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));
/// One try gets this part of a call's whole time, but no less than the shortest.
const TRIES: u32 = 3;
const SHORTEST_TRY: Duration = Duration::from_millis(500);
/// Hints to the leader followed without a pause: more would be nodes that disagree.
const MAX_HINTS: u32 = 3;

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Connections to each node, 1 to [`MAX_CONNECTIONS`]; 0 stands for 1. Calls take turns on them.
    pub connections: usize,
    /// TLS, for addresses that begin with `https://`.
    pub tls: Option<ClientTlsConfig>,
    /// Another network than the machine's.
    pub dial: Option<Arc<dyn Dial>>,
}

/// Why an address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is none.
    #[error("no node address given; expected at least one, such as 127.0.0.1:4501")]
    None,
    /// There are too many.
    #[error("{0} node addresses given; the most is {MAX_NODES}")]
    TooMany(usize),
    /// It is no address.
    #[error("node address {given:?}: {why}; expected host:port, such as 127.0.0.1:4501")]
    Invalid {
        /// The address given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The nodes of a cluster. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Nodes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nodes: RwLock<Vec<Arc<Node>>>,
    /// The one that answered last.
    current: AtomicUsize,
    options: Options,
}

#[derive(Debug)]
struct Node {
    address: String,
    endpoint: Endpoint,
    connections: Vec<OnceLock<Channel>>,
    dial: Option<Arc<dyn Dial>>,
    turn: AtomicUsize,
}

impl Node {
    fn new(given: &str, options: &Options) -> Result<Self, AddressError> {
        let invalid = |why: String| AddressError::Invalid {
            given: given.into(),
            why,
        };
        let given_trimmed = given.trim();
        let uri = if given_trimmed.contains("://") {
            given_trimmed.to_owned()
        } else {
            format!("http://{given_trimmed}")
        };
        let mut endpoint =
            Endpoint::from_shared(uri.clone()).map_err(|e| invalid(e.to_string()))?;
        let secure = match endpoint.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("its scheme is neither http nor https".into())),
        };
        if endpoint.uri().port_u16().is_none_or(|port| port == 0) {
            return Err(invalid("it has no port".into()));
        }
        if !matches!(endpoint.uri().path(), "" | "/") || endpoint.uri().query().is_some() {
            return Err(invalid("it has a path".into()));
        }
        endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true);
        if secure {
            let tls = options.tls.clone().unwrap_or_default();
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|e| invalid(e.to_string()))?;
        }
        let connections = options.connections.clamp(1, MAX_CONNECTIONS);
        Ok(Self {
            address: uri,
            endpoint,
            connections: (0..connections).map(|_| OnceLock::new()).collect(),
            dial: options.dial.clone(),
            turn: AtomicUsize::new(0),
        })
    }

    fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        self.connections[turn]
            .get_or_init(|| api::connect::channel(&self.endpoint, self.dial.as_ref()))
            .clone()
    }
}

/// What a failed try means for the call.
enum Verdict {
    /// The answer is final.
    Final,
    /// Another node may be able to; a leader's address may come with it.
    Elsewhere(Option<String>),
    /// The cluster asks for a pause.
    Later(Duration),
}

fn verdict(status: &Status) -> Verdict {
    let retry = retry_after(status);
    match status.code() {
        Code::Unavailable => match (leader_address(status), retry) {
            (None, Some(pause)) => Verdict::Later(pause),
            (leader, _) => Verdict::Elsewhere(leader),
        },
        Code::ResourceExhausted => retry.map_or(Verdict::Final, Verdict::Later),
        // A connection that broke under the call: the status is made here, with its cause.
        Code::Unknown | Code::Cancelled | Code::Internal
            if std::error::Error::source(status).is_some() =>
        {
            Verdict::Elsewhere(None)
        }
        Code::DeadlineExceeded => Verdict::Elsewhere(None),
        _ => Verdict::Final,
    }
}

impl Nodes {
    /// Nodes at `addresses`, each `host:port`, `http://host:port` or `https://host:port`. Nothing is
    /// connected yet. The first is tried first.
    ///
    /// # Errors
    /// Where there is no address, too many, or one that can't be.
    pub fn new(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, AddressError> {
        Self::with(addresses, Options::default())
    }

    /// As [`Nodes::new`], with options.
    ///
    /// # Errors
    /// As [`Nodes::new`].
    pub fn with(
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
        options: Options,
    ) -> Result<Self, AddressError> {
        let nodes = addresses
            .into_iter()
            .map(|address| Node::new(address.as_ref(), &options).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        match nodes.len() {
            0 => return Err(AddressError::None),
            count if count > MAX_NODES => return Err(AddressError::TooMany(count)),
            _ => {}
        }
        Ok(Self {
            shared: Arc::new(Shared {
                nodes: RwLock::new(nodes),
                current: AtomicUsize::new(0),
                options,
            }),
        })
    }

    /// The addresses known, in the order given.
    pub fn addresses(&self) -> Vec<String> {
        self.list()
            .iter()
            .map(|node| node.address.clone())
            .collect()
    }

    /// Makes a call on whichever node can answer it, within `within` in all. `f` makes one try on one
    /// connection, and runs again for each: a request that must have one effect has to carry what makes
    /// it so (an epoch and sequence, or a request id).
    ///
    /// A node that can't be reached, does not answer in a third of the time or can't serve is passed
    /// over for the next one at once; when all have been tried, a growing, jittered pause follows. A
    /// `RetryInfo` is respected, and a leader's address followed.
    ///
    /// # Errors
    /// The status of the last try, where it is final or the time is up.
    pub async fn call<T, F, Fut>(&self, within: Duration, f: F) -> Result<T, Status>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let end = Instant::now() + within;
        let longest_try = (within / TRIES).max(SHORTEST_TRY);
        let mut pauses = pauses();
        let mut at = self.shared.current.load(Ordering::Relaxed);
        let (mut tries, mut hints) = (0, 0);
        let mut failed: Option<Status> = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let node = self.node(at);
            if left.is_zero() {
                return Err(failed.unwrap_or_else(|| no_answer(&node, within)));
            }
            let limit = left.min(longest_try);
            let status = match tokio::time::timeout(limit, f(node.channel())).await {
                Ok(Ok(value)) => {
                    self.shared.current.store(at, Ordering::Relaxed);
                    return Ok(value);
                }
                Ok(Err(status)) => status,
                Err(_) => no_answer(&node, limit),
            };
            tries += 1;
            let pause = match verdict(&status) {
                Verdict::Final => return Err(status),
                Verdict::Elsewhere(Some(leader)) if hints < MAX_HINTS => {
                    hints += 1;
                    at = self.learn(&leader).unwrap_or(at + 1);
                    Duration::ZERO
                }
                Verdict::Elsewhere(_) => {
                    at += 1;
                    if tries % self.list().len() == 0 {
                        pauses.next().unwrap_or(PAUSE.1)
                    } else {
                        Duration::ZERO
                    }
                }
                Verdict::Later(pause) => {
                    at += 1;
                    pause.max(pauses.next().unwrap_or(PAUSE.1))
                }
            };
            tracing::debug!(node = node.address, %status, ?pause, "call failed; trying on");
            if Instant::now() + pause >= end {
                return Err(status);
            }
            failed = Some(status);
            tokio::time::sleep(pause).await;
        }
    }

    fn list(&self) -> Vec<Arc<Node>> {
        self.shared
            .nodes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn node(&self, at: usize) -> Arc<Node> {
        let nodes = self.list();
        Arc::clone(&nodes[at % nodes.len()])
    }

    /// Where the node at `address` is in the list; it joins it where there is room.
    fn learn(&self, address: &str) -> Option<usize> {
        let secure = self.node(0).endpoint.uri().scheme_str() == Some("https");
        let address = match (address.contains("://"), secure) {
            (true, _) => address.to_owned(),
            (false, true) => format!("https://{address}"),
            (false, false) => format!("http://{address}"),
        };
        let node = Node::new(&address, &self.shared.options).ok()?;
        let mut nodes = self
            .shared
            .nodes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = nodes.iter().position(|known| known.address == node.address) {
            return Some(at);
        }
        if nodes.len() >= MAX_NODES {
            return None;
        }
        nodes.push(Arc::new(node));
        Some(nodes.len() - 1)
    }
}

/// Growing pauses, each with up to as much again at random, so that clients don't come in step.
pub fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(PAUSE.0)
        .with_max_delay(PAUSE.1)
        .without_max_times()
        .with_jitter()
        .build()
}

fn no_answer(node: &Node, within: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "{} did not answer within {within:.1?}",
        node.address
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_by_name() {
        let message = |addresses: &[&str]| Nodes::new(addresses).unwrap_err().to_string();
        assert!(message(&[]).contains("no node address given"));
        assert_eq!(
            message(&["127.0.0.1"]),
            "node address \"127.0.0.1\": it has no port; expected host:port, such as 127.0.0.1:4501"
        );
        assert!(message(&["ftp://a:1"]).contains("neither http nor https"));
        assert!(message(&["http://a:1/x"]).contains("it has a path"));
        assert!(message(&["a b:1"]).contains("\"a b:1\""));
        assert!(
            message(&["a:1"; MAX_NODES + 1]).contains("65 node addresses given; the most is 64")
        );
        let nodes = Nodes::new(["a:1", "http://b:2"]).unwrap();
        assert_eq!(nodes.addresses(), ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn learns_each_leader_once_and_never_too_many() {
        let nodes = Nodes::new(["a:1"]).unwrap();
        assert_eq!(nodes.learn("b:1"), Some(1));
        assert_eq!(nodes.learn("b:1"), Some(1));
        assert_eq!(nodes.learn("not an address"), None);
        for port in 2..200 {
            nodes.learn(&format!("c:{port}"));
        }
        assert_eq!(nodes.addresses().len(), MAX_NODES);
    }

    #[test]
    fn pauses_grow_with_jitter_and_stay_bounded() {
        let pauses: Vec<_> = pauses().take(40).collect();
        assert!(pauses.iter().all(|p| *p >= PAUSE.0 && *p <= PAUSE.1 * 2));
        assert!(pauses[30] >= PAUSE.1);
    }

    #[test]
    fn a_status_says_whether_another_node_may_help() {
        assert!(matches!(verdict(&Status::not_found("x")), Verdict::Final));
        assert!(matches!(verdict(&Status::internal("bug")), Verdict::Final));
        assert!(matches!(
            verdict(&Status::unavailable("x")),
            Verdict::Elsewhere(None)
        ));
    }
}
