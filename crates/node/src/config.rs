//! What a node is told: who it is, where it keeps its data, how it is reached, and how much it takes on.
//! Plain values; files, flags and the environment are the binary's.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use quota::limits::MAX_COMMANDS;

/// A node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The node's id, at least 1, unique for ever: a node that lost its disk comes back under a new one.
    pub node_id: u64,
    /// Where the log and the snapshots are kept; made where it is not there.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 for any that is free.
    pub listen: SocketAddr,
    /// `host:port` as the other nodes and the front-ends reach this node. `None`: as bound.
    pub advertise: Option<String>,
    /// TLS on every connection, between nodes too. `None`: none.
    pub tls: Option<Tls>,
    /// Raft's timers and sizes.
    pub raft: RaftConfig,
    /// What the node takes on at most.
    pub limits: Limits,
}

impl Config {
    /// A configuration with every default.
    pub fn new(node_id: u64, data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            node_id,
            data_dir: data_dir.into(),
            listen,
            advertise: None,
            tls: None,
            raft: RaftConfig::default(),
            limits: Limits::default(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first that can't be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.node_id == 0 {
            return Err(invalid("node_id", 0, "at least 1"));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", "\"\"", "a directory"));
        }
        match &self.advertise {
            Some(address) => check_address("advertise", address)?,
            None if self.listen.ip().is_unspecified() => {
                let expected = format!("host:port, for nobody can connect to {}", self.listen.ip());
                return Err(invalid("advertise", "nothing", expected));
            }
            None => {}
        }
        if let Some(tls) = &self.tls {
            for (field, path) in [
                ("tls.ca", &tls.ca),
                ("tls.cert", &tls.cert),
                ("tls.key", &tls.key),
            ] {
                if path.as_os_str().is_empty() {
                    return Err(invalid(field, "\"\"", "a PEM file"));
                }
            }
        }
        self.raft.validate()?;
        self.limits.validate()
    }
}

/// Checks that `address` is `host:port`, and so something to connect to.
pub(crate) fn check_address(field: &str, address: &str) -> Result<(), ConfigError> {
    /// Longer than any host name with a port.
    const MOST_BYTES: usize = 260;
    const EXPECTED: &str = "host:port, such as 10.0.0.1:4501";
    let shown = || format!("{:?}", address.chars().take(MOST_BYTES).collect::<String>());
    let parsed = (address.len() <= MOST_BYTES)
        .then(|| address.parse::<tonic::codegen::http::uri::Authority>().ok())
        .flatten()
        .filter(|authority| !authority.host().is_empty() && !address.contains('@'));
    match parsed.and_then(|authority| authority.port_u16()) {
        Some(port) if port > 0 => Ok(()),
        _ => Err(invalid(field, shown(), EXPECTED)),
    }
}

/// Certificates in PEM files.
///
/// The node shows `cert` to whoever connects, and to the other nodes. Nodes must show one that `ca` has
/// signed; so must front-ends and operators where `require_client_certificates` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The cluster's certificate authority.
    pub ca: PathBuf,
    /// The node's certificate, good for its advertised host and for servers and clients alike.
    pub cert: PathBuf,
    /// The key of `cert`.
    pub key: PathBuf,
    /// Whether every caller must show a certificate of `ca`, and not the other nodes alone.
    pub require_client_certificates: bool,
}

/// Raft's timers and sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConfig {
    /// How often a leader says that it leads, in milliseconds, 10 to 10,000.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing for a random time from `election_min_ms` to `election_max_ms` stands
    /// for election. At least three heartbeats, up to 60,000.
    pub election_min_ms: u64,
    /// Above `election_min_ms`, up to 60,000.
    pub election_max_ms: u64,
    /// Entries applied between two snapshots, 100 to 10,000,000.
    pub snapshot_every: u64,
    /// Entries kept in the log below the newest snapshot, so that a follower that was away for a while
    /// needs none; 0 to 10,000,000.
    pub keep_entries: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 250,
            election_min_ms: 1_000,
            election_max_ms: 1_500,
            snapshot_every: 50_000,
            keep_entries: 20_000,
        }
    }
}

impl RaftConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        const LONGEST_MS: u64 = 60_000;
        check("raft.heartbeat_ms", self.heartbeat_ms, 10..=10_000)?;
        let least = self.heartbeat_ms * 3;
        check(
            "raft.election_min_ms",
            self.election_min_ms,
            least..=LONGEST_MS - 1,
        )?;
        let above = self.election_min_ms + 1;
        check(
            "raft.election_max_ms",
            self.election_max_ms,
            above..=LONGEST_MS,
        )?;
        check("raft.snapshot_every", self.snapshot_every, 100..=10_000_000)?;
        check("raft.keep_entries", self.keep_entries, 0..=10_000_000)
    }
}

/// What a node takes on at most. Over a bound a call ends with `RESOURCE_EXHAUSTED`, reason `TOO_BUSY`,
/// and a `RetryInfo`, unless its field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests at work at a time, each of a stream or a batch counted; 1 to 1,000,000.
    pub in_flight: u64,
    /// Commands grouped into one Raft entry, 1 (no grouping) to 4,096.
    pub group_commands: u64,
    /// How long a request may take, in milliseconds, 100 to 600,000. A shorter time that the caller gives
    /// (`grpc-timeout`) counts. Over it the call ends with `DEADLINE_EXCEEDED`.
    pub request_ms: u64,
    /// Bytes of one request, 16,384 to 2,097,152; those of `LeaseService` may have 65,536 at most. A longer
    /// one ends its call with `OUT_OF_RANGE`.
    pub message_bytes: u64,
    /// Connections at a time, 16 to 1,000,000. One more is closed at once.
    pub connections: u64,
    /// Calls and streams open on one connection, 1 to 100,000. More wait on the caller's side.
    pub streams_per_connection: u64,
    /// `Hold` streams open at a time, 1 to 1,000,000.
    pub hold_streams: u64,
    /// Requests at work on one `Hold` stream, 1 to 10,000. More wait unread.
    pub hold_in_flight: u64,
    /// Leases of one `Hold` stream whose targets are watched, 1 to 1,000,000. Further ones are served, and
    /// get no notices.
    pub hold_leases: u64,
    /// The shortest time between two looks at the targets of a stream's leases, in milliseconds, 10 to
    /// 60,000.
    pub notice_ms: u64,
    /// How long a node that is told to stop lets the requests at work go on, in milliseconds, 0 to 600,000.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 8_192,
            group_commands: 1_024,
            request_ms: 10_000,
            message_bytes: 2 << 20,
            connections: 8_192,
            streams_per_connection: 4_096,
            hold_streams: 4_096,
            hold_in_flight: 256,
            hold_leases: 100_000,
            notice_ms: 100,
            drain_ms: 5_000,
        }
    }
}

impl Limits {
    /// Every limit: its name, its value here, and its bounds.
    pub fn table(&self) -> [(&'static str, u64, RangeInclusive<u64>); 11] {
        [
            ("in_flight", self.in_flight, 1..=1_000_000),
            (
                "group_commands",
                self.group_commands,
                1..=MAX_COMMANDS as u64,
            ),
            ("request_ms", self.request_ms, 100..=600_000),
            ("message_bytes", self.message_bytes, 16_384..=2 << 20),
            ("connections", self.connections, 16..=1_000_000),
            (
                "streams_per_connection",
                self.streams_per_connection,
                1..=100_000,
            ),
            ("hold_streams", self.hold_streams, 1..=1_000_000),
            ("hold_in_flight", self.hold_in_flight, 1..=10_000),
            ("hold_leases", self.hold_leases, 1..=1_000_000),
            ("notice_ms", self.notice_ms, 10..=60_000),
            ("drain_ms", self.drain_ms, 0..=600_000),
        ]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (name, value, bounds) in self.table() {
            check(&format!("limits.{name}"), value, bounds)?;
        }
        Ok(())
    }
}

/// A value that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} given, expected {expected}")]
pub struct ConfigError {
    /// The field, such as `limits.in_flight`.
    pub field: String,
    /// What was given.
    pub value: String,
    /// What would have been right.
    pub expected: String,
}

fn invalid(field: &str, value: impl ToString, expected: impl Into<String>) -> ConfigError {
    ConfigError {
        field: field.into(),
        value: value.to_string(),
        expected: expected.into(),
    }
}

fn check(field: &str, value: u64, bounds: RangeInclusive<u64>) -> Result<(), ConfigError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let expected = format!("{} to {}", bounds.start(), bounds.end());
    Err(invalid(field, value, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(1, "/data", SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = config();
        change(&mut config);
        config
            .validate()
            .expect_err("a value that can't be")
            .to_string()
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn each_value_is_refused_by_name() {
        assert_eq!(
            refusal(|c| c.node_id = 0),
            "node_id: 0 given, expected at least 1"
        );
        assert_eq!(
            refusal(|c| c.data_dir = PathBuf::new()),
            "data_dir: \"\" given, expected a directory"
        );
        assert_eq!(
            refusal(|c| c.listen = SocketAddr::from(([0, 0, 0, 0], 4501))),
            "advertise: nothing given, expected host:port, for nobody can connect to 0.0.0.0"
        );
        for bad in [
            "",
            "node-1",
            "node-1:0",
            "a b:1",
            ":4501",
            "http://a:1",
            "u@a:1",
            "a:99999",
        ] {
            assert_eq!(
                refusal(|c| c.advertise = Some(bad.into())),
                format!("advertise: {bad:?} given, expected host:port, such as 10.0.0.1:4501")
            );
        }
        let tls = Tls {
            ca: "ca.pem".into(),
            cert: "node.pem".into(),
            key: PathBuf::new(),
            require_client_certificates: false,
        };
        assert_eq!(
            refusal(|c| c.tls = Some(tls)),
            "tls.key: \"\" given, expected a PEM file"
        );
        assert_eq!(
            refusal(|c| c.raft.heartbeat_ms = 9),
            "raft.heartbeat_ms: 9 given, expected 10 to 10000"
        );
        assert_eq!(
            refusal(|c| c.raft.election_min_ms = 749),
            "raft.election_min_ms: 749 given, expected 750 to 59999"
        );
        assert_eq!(
            refusal(|c| c.raft.election_max_ms = 1_000),
            "raft.election_max_ms: 1000 given, expected 1001 to 60000"
        );
        assert_eq!(
            refusal(|c| c.raft.snapshot_every = 0),
            "raft.snapshot_every: 0 given, expected 100 to 10000000"
        );
        assert_eq!(
            refusal(|c| c.raft.keep_entries = u64::MAX),
            format!(
                "raft.keep_entries: {} given, expected 0 to 10000000",
                u64::MAX
            )
        );
        assert_eq!(
            refusal(|c| c.limits.group_commands = 4_097),
            "limits.group_commands: 4097 given, expected 1 to 4096"
        );
    }

    #[test]
    fn every_limit_has_bounds_around_its_default() {
        for (name, value, bounds) in Limits::default().table() {
            assert!(bounds.contains(&value), "{name}");
        }
        let zeros = Limits {
            in_flight: 0,
            group_commands: 0,
            request_ms: 0,
            message_bytes: 0,
            connections: 0,
            streams_per_connection: 0,
            hold_streams: 0,
            hold_in_flight: 0,
            hold_leases: 0,
            notice_ms: 0,
            drain_ms: 0,
        };
        let refused = zeros
            .table()
            .iter()
            .filter(|(_, v, b)| !b.contains(v))
            .count();
        assert_eq!(refused, zeros.table().len() - 1, "only drain_ms may be 0");
    }
}
