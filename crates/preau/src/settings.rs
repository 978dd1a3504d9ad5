//! The settings of a node: each is a key of the file, an environment variable and a flag.
//!
//! Defaults give way to the file, the file to the environment, the environment to flags. One table says
//! what there is; the keys of the file, the variables and the flags are made from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use node::{Config, Tls};
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use crate::fields::Fields;

/// Where a node listens where nothing is said.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4501);

/// One setting.
struct Setting {
    /// Its key in the file, dotted.
    key: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Bool,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Number => "a whole number, 0 to 18446744073709551615",
            Self::Text => "text",
            Self::Bool => "true or false",
        }
    }
}

macro_rules! settings {
    ($($key:literal $kind:ident $help:literal;)+) => {
        const SETTINGS: &[Setting] = &[$(Setting { key: $key, kind: Kind::$kind, help: $help },)+];
    };
}

settings! {
    "node_id" Number "The node's id, at least 1, unique for ever: a node that lost its disk comes back under a new one";
    "data_dir" Text "Where the log and the snapshots are kept; made where it is not there";
    "listen" Text "IP:port to listen on [default: 127.0.0.1:4501]";
    "advertise" Text "host:port as other nodes and front-ends reach this one [default: as listened on]";
    "tls.ca" Text "The cluster's certificate authority, PEM; with it every connection is TLS";
    "tls.cert" Text "The node's certificate, PEM";
    "tls.key" Text "The key of the node's certificate, PEM";
    "tls.require_client_certificates" Bool "Whether every caller must show a certificate, not other nodes alone [default: false]";
    "raft.heartbeat_ms" Number "How often the leader says that it leads [default: 250]";
    "raft.election_min_ms" Number "Shortest silence after which a follower stands for election [default: 1000]";
    "raft.election_max_ms" Number "Longest such silence [default: 1500]";
    "raft.snapshot_every" Number "Entries applied between two snapshots [default: 50000]";
    "raft.keep_entries" Number "Entries kept in the log below the newest snapshot [default: 20000]";
    "limits.in_flight" Number "Requests at work at a time [default: 8192]";
    "limits.group_commands" Number "Commands grouped into one Raft entry; 1 for no grouping [default: 1024]";
    "limits.request_ms" Number "How long a request may take [default: 10000]";
    "limits.message_bytes" Number "Bytes of one request [default: 2097152]";
    "limits.connections" Number "Connections at a time [default: 8192]";
    "limits.streams_per_connection" Number "Calls and streams open on one connection [default: 4096]";
    "limits.hold_streams" Number "Hold streams open at a time [default: 4096]";
    "limits.hold_in_flight" Number "Requests at work on one Hold stream [default: 256]";
    "limits.hold_leases" Number "Leases of one Hold stream whose targets are watched [default: 100000]";
    "limits.notice_ms" Number "Shortest time between two looks at a stream's targets [default: 100]";
    "limits.drain_ms" Number "How long a node that is told to stop lets requests go on [default: 5000]";
    "log.filter" Text "What to log, such as warn or info,node=debug [default: info,openraft=warn]";
    "log.format" Text "How to log: text or json [default: text]";
}

impl Setting {
    fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    fn variable(&self) -> String {
        format!("PREAU_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// What flags and the environment say: by key, the value and where it is from.
#[derive(Debug, Clone, Default)]
pub struct Overrides(BTreeMap<&'static str, Given>);

/// A value and where it is from, for messages.
#[derive(Debug, Clone)]
struct Given {
    value: String,
    origin: String,
}

impl clap::Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let args = SETTINGS.iter().map(|setting| {
            Arg::new(setting.key)
                .long(setting.flag())
                .env(setting.variable())
                .hide_env_values(true)
                .value_name(match setting.kind {
                    Kind::Number => "N",
                    Kind::Text => "TEXT",
                    Kind::Bool => "true|false",
                })
                .help(setting.help)
                .help_heading("Settings (each a key of the file, too)")
        });
        command.args(args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().filter_map(|setting| {
            let value = matches.get_one::<String>(setting.key)?.clone();
            let origin = match matches.value_source(setting.key) {
                Some(ValueSource::EnvVariable) => setting.variable(),
                _ => format!("--{}", setting.flag()),
            };
            Some((setting.key, Given { value, origin }))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What a node runs by.
#[derive(Debug)]
pub struct Settings {
    pub node: Config,
    pub log: Log,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Log {
    /// As `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
    pub format: LogFormat,
}

/// How a node or a gate logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The settings that the text of a file, if any, and the overrides come to.
///
/// # Errors
/// The first value that can't be: its key, where it is from, what was given and what was expected.
pub fn read(file: Option<&str>, overrides: &Overrides) -> Result<Settings, String> {
    let mut given = match file {
        Some(text) => from_file(text)?,
        None => BTreeMap::new(),
    };
    given.extend(overrides.0.clone());
    let values = Values(given);

    let node_id = values
        .number("node_id")?
        .ok_or_else(|| missing("node_id", "a number, at least 1"))?;
    let data_dir = values
        .text("data_dir")
        .ok_or_else(|| missing("data_dir", "a directory"))?;
    let listen = values.parsed("listen", "IP:port, such as 127.0.0.1:4501")?;
    let mut config = Config::new(node_id, data_dir, listen.unwrap_or(DEFAULT_LISTEN));
    config.advertise = values.text("advertise");
    config.tls = tls(&values)?;
    let (raft, limits) = (&mut config.raft, &mut config.limits);
    for (key, field) in [
        ("raft.heartbeat_ms", &mut raft.heartbeat_ms),
        ("raft.election_min_ms", &mut raft.election_min_ms),
        ("raft.election_max_ms", &mut raft.election_max_ms),
        ("raft.snapshot_every", &mut raft.snapshot_every),
        ("raft.keep_entries", &mut raft.keep_entries),
        ("limits.in_flight", &mut limits.in_flight),
        ("limits.group_commands", &mut limits.group_commands),
        ("limits.request_ms", &mut limits.request_ms),
        ("limits.message_bytes", &mut limits.message_bytes),
        ("limits.connections", &mut limits.connections),
        (
            "limits.streams_per_connection",
            &mut limits.streams_per_connection,
        ),
        ("limits.hold_streams", &mut limits.hold_streams),
        ("limits.hold_in_flight", &mut limits.hold_in_flight),
        ("limits.hold_leases", &mut limits.hold_leases),
        ("limits.notice_ms", &mut limits.notice_ms),
        ("limits.drain_ms", &mut limits.drain_ms),
    ] {
        if let Some(number) = values.number(key)? {
            *field = number;
        }
    }
    config
        .validate()
        .map_err(|e| values.place(&e.field, &e.to_string()))?;
    Ok(Settings {
        node: config,
        log: log(&values)?,
    })
}

fn log(values: &Values) -> Result<Log, String> {
    let refuse = |key: &str, given: &str, expected: &str| {
        let why = format!("{key}: {given:?} given, expected {expected}");
        Err(values.place(key, &why))
    };
    let filter = values
        .text("log.filter")
        .unwrap_or("info,openraft=warn".into());
    if EnvFilter::try_new(&filter).is_err() {
        return refuse(
            "log.filter",
            &filter,
            "a filter such as warn or info,node=debug",
        );
    }
    let format = match values.text("log.format").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return refuse("log.format", other, "text or json"),
    };
    Ok(Log { filter, format })
}

/// Settings that are there, to be read by key.
struct Values(BTreeMap<&'static str, Given>);

impl Values {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).map(|given| given.value.clone())
    }

    fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.parsed(key, Kind::Number.expected())
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, String> {
        let Some(given) = self.0.get(key) else {
            return Ok(None);
        };
        match given.value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                let why = format!("{key}: {:?} given, expected {expected}", given.value);
                Err(self.place(key, &why))
            }
        }
    }

    /// A message about a key, with where its value is from.
    fn place(&self, key: &str, why: &str) -> String {
        match self.0.get(key) {
            Some(given) => format!("{why} ({})", given.origin),
            None => why.to_owned(),
        }
    }
}

fn tls(values: &Values) -> Result<Option<Tls>, String> {
    let files = ["tls.ca", "tls.cert", "tls.key"];
    let require = values
        .parsed("tls.require_client_certificates", Kind::Bool.expected())?
        .unwrap_or(false);
    let present = files.into_iter().find(|key| values.0.contains_key(key));
    let Some(present) = present else {
        return if require {
            let key = "tls.require_client_certificates";
            let why = format!("{key}: true given, expected tls.ca, tls.cert and tls.key with it");
            Err(values.place(key, &why))
        } else {
            Ok(None)
        };
    };
    let [ca, cert, key] = files.map(|key| {
        values
            .text(key)
            .map(PathBuf::from)
            .ok_or_else(|| missing(key, &format!("a PEM file, for {present} is given")))
    });
    Ok(Some(Tls {
        ca: ca?,
        cert: cert?,
        key: key?,
        require_client_certificates: require,
    }))
}

fn missing(key: &str, expected: &str) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let ways = setting.map_or(String::new(), |setting| {
        format!(
            "; set it in the file, by --{} or by {}",
            setting.flag(),
            setting.variable()
        )
    });
    format!("{key}: nothing given, expected {expected}{ways}")
}

/// The values of a file, by key.
fn from_file(text: &str) -> Result<BTreeMap<&'static str, Given>, String> {
    let mut given = BTreeMap::new();
    for (key, value) in Fields::parse(text)?.flat() {
        let line = 1 + text[..value.span().start].matches('\n').count();
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
            let known = known.join(", ");
            return Err(format!(
                "line {line}: {key}: unknown key; expected one of {known}"
            ));
        };
        let shown = match (value.get_ref(), setting.kind) {
            (DeValue::String(text), Kind::Text) => text.to_string(),
            (DeValue::Boolean(yes), Kind::Bool) => yes.to_string(),
            (DeValue::Integer(int), Kind::Number) => {
                match u64::from_str_radix(int.as_str(), int.radix()) {
                    Ok(number) => number.to_string(),
                    Err(_) => int.to_string(),
                }
            }
            _ => {
                let source: String = text[value.span()].chars().take(140).collect();
                let expected = setting.kind.expected();
                return Err(format!(
                    "line {line}: {key}: {source} given, expected {expected}"
                ));
            }
        };
        let origin = format!("line {line} of the file");
        given.insert(
            setting.key,
            Given {
                value: shown,
                origin,
            },
        );
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "node_id = 1\ndata_dir = \"/data\"\n[raft]\nheartbeat_ms = 100\n";

    fn overrides(key: &'static str, value: &str) -> Overrides {
        let origin = "--flag".to_owned();
        let value = value.to_owned();
        Overrides(BTreeMap::from([(key, Given { value, origin })]))
    }

    #[test]
    fn every_key_is_read_and_no_other() {
        for setting in SETTINGS {
            // What is wrong for the key is refused under its name, so the key is read.
            let bad = match setting.kind {
                Kind::Text
                    if ["data_dir", "tls.ca", "tls.cert", "tls.key"].contains(&setting.key) =>
                {
                    ""
                }
                _ => "none=such=",
            };
            let why = read(Some(FILE), &overrides(setting.key, bad)).unwrap_err();
            let tls = setting.key.starts_with("tls.") && why.starts_with("tls.");
            assert!(
                why.starts_with(setting.key) || tls,
                "{}: {why}",
                setting.key
            );
        }
        let why = read(Some("nod_id = 1"), &Overrides::default()).unwrap_err();
        assert!(why.starts_with("line 1: nod_id: unknown key; expected one of node_id, data_dir,"));
    }

    #[test]
    fn the_help_states_the_true_defaults() {
        let shown = |key: &str| {
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            setting.unwrap().help.to_owned()
        };
        let file = "node_id = 1\ndata_dir = \"d\"";
        let config = read(Some(file), &Overrides::default()).unwrap().node;
        let raft = &config.raft;
        for (key, value) in [
            ("raft.heartbeat_ms", raft.heartbeat_ms),
            ("raft.election_min_ms", raft.election_min_ms),
            ("raft.election_max_ms", raft.election_max_ms),
            ("raft.snapshot_every", raft.snapshot_every),
            ("raft.keep_entries", raft.keep_entries),
        ] {
            assert!(
                shown(key).ends_with(&format!("[default: {value}]")),
                "{key}"
            );
        }
        for (name, value, _) in config.limits.table() {
            let key = format!("limits.{name}");
            assert!(
                shown(&key).ends_with(&format!("[default: {value}]")),
                "{key}"
            );
        }
        assert!(shown("listen").contains(&DEFAULT_LISTEN.to_string()));
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_a_default() {
        let raft = |overrides: &Overrides| read(Some(FILE), overrides).unwrap().node.raft;
        assert_eq!(raft(&Overrides::default()).heartbeat_ms, 100);
        assert_eq!(raft(&overrides("raft.heartbeat_ms", "50")).heartbeat_ms, 50);
        assert_eq!(raft(&Overrides::default()).election_min_ms, 1_000);
    }
}
