//! What a gate runs by: plain values, with their defaults, bounds and checks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use crate::identity;
use crate::limits;
use crate::page::Link;

/// Shortest and longest silence after which somebody who waits is given up, in seconds.
const SILENCE_S: (u32, u32) = (30, 3_600);
/// Most links on the page.
const MAX_LINKS: usize = 8;
/// Longest name, text or address, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {given} given, expected {expected}")]
pub struct ConfigError {
    /// Which, as the file names it.
    pub field: String,
    /// What it says.
    pub given: String,
    /// What would do.
    pub expected: String,
}

impl ConfigError {
    /// A refusal of one field.
    pub fn new(field: &str, given: impl ToString, expected: impl ToString) -> Self {
        Self {
            field: field.to_owned(),
            given: given.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// What a gate runs by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pool whose sessions the portal's are.
    #[serde(default)]
    pub pool: String,
    /// The region that the gate leases for.
    #[serde(default)]
    pub region: String,
    /// Its name as a holder, the same over restarts; made of the machine's name and the process id where none is
    /// given.
    #[serde(default)]
    pub name: Option<String>,
    /// The cluster's nodes.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// TLS to them.
    #[serde(default)]
    pub tls: Option<NodeTls>,
    /// The file of keys that tickets, seats and invitations are signed with; where there is none they are good at
    /// this gate alone, and until it ends.
    #[serde(default)]
    pub keys: Option<PathBuf>,
    /// A file that tells the gate that starts next which lease this one had: it gives that back at once, and those
    /// who were in go on within a second or two. Without it they wait until that lease has run out.
    #[serde(default)]
    pub state: Option<PathBuf>,
    /// Where people, or the proxies before them, are served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where metrics and health are served.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Where Envoy asks.
    #[serde(default)]
    pub ext_authz: Option<SocketAddr>,
    /// The portal, where the gate is its reverse proxy.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Whose `X-Forwarded-For`, `X-Forwarded-Uri` and `X-Original-URI` are believed.
    #[serde(default = "default_trusted")]
    pub trusted_proxies: Vec<IpNet>,
    /// The class of whoever is not known to be of another; the pool's first where none is given.
    #[serde(default)]
    pub class: Option<String>,
    /// After so long without a sign of somebody who waits, their place is given up.
    #[serde(default = "default_silence")]
    pub silence_s: u32,
    /// TLS of `listen`.
    #[serde(default)]
    pub https: Option<Https>,
    /// The cookie.
    #[serde(default)]
    pub cookie: Cookie,
    /// The page.
    #[serde(default)]
    pub page: Page,
    /// Who people are, where something before the gate knows.
    #[serde(default)]
    pub identity: Option<identity::Config>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// Certificate files for the way to the nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTls {
    /// The authority of the nodes' certificates, PEM.
    pub ca: PathBuf,
    /// The gate's own certificate, PEM, where the nodes ask for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// Certificate files for people.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// The certificate and those that sign it, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// The cookie that tickets and seats are kept in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cookie {
    /// Its name; made of the pool's where none is given, and of the region's too where there is a domain.
    pub name: Option<String>,
    /// Whether it goes over HTTPS alone. Only a portal on plain HTTP needs it off.
    pub secure: bool,
    /// The domain it is good for, where the portal has several hosts below one.
    pub domain: Option<String>,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: None,
            secure: true,
            domain: None,
        }
    }
}

/// What the page says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// The portal's name.
    pub service: String,
    /// The time zone of the times on it.
    pub zone: String,
    /// A directory of Fluent files with other languages or words.
    pub texts: Option<PathBuf>,
    /// What to do meanwhile.
    pub links: Vec<Link>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            service: "l’ENT".into(),
            zone: "Europe/Paris".into(),
            texts: None,
            links: Vec::new(),
        }
    }
}

/// Bounds of what a gate takes on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a request's headers.
    pub header_bytes: usize,
    /// Seconds that they may take, and that a connection may idle between two requests.
    pub header_s: u32,
    /// Bytes of a request's body, to the gate itself.
    pub body_bytes: usize,
    /// Bytes of a request's body to the portal, where the gate is its proxy; 0 for no bound.
    pub upload_bytes: u64,
    /// Seconds in which the portal has to begin its answer, or to take more of a body, where the gate is its proxy;
    /// what is awaited from the body's sender does not count.
    pub upstream_s: u32,
    /// Polls a second that waiting people are asked for at the most, as far as `silence_s` lets them be apart.
    pub polls_per_s: u32,
    /// Rates of requests.
    pub rates: limits::Config,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            header_bytes: 16 << 10,
            header_s: 20,
            body_bytes: 4 << 10,
            upload_bytes: 256 << 20,
            upstream_s: 60,
            polls_per_s: 5_000,
            rates: limits::Config::default(),
        }
    }
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 8080).into()
}

fn default_admin() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9180).into()
}

fn default_trusted() -> Vec<IpNet> {
    let loopback: [(IpAddr, u8); 2] = [
        (Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        (std::net::Ipv6Addr::LOCALHOST.into(), 128),
    ];
    let nets = loopback.into_iter();
    nets.filter_map(|(address, bits)| IpNet::new(address, bits).ok())
        .collect()
}

const fn default_silence() -> u32 {
    120
}

impl Config {
    /// A gate of a pool's region, with the defaults.
    pub fn new(pool: &str, region: &str, nodes: Vec<String>) -> Self {
        Self {
            pool: pool.into(),
            region: region.into(),
            name: None,
            nodes,
            tls: None,
            keys: None,
            state: None,
            listen: default_listen(),
            admin: default_admin(),
            ext_authz: None,
            upstream: None,
            trusted_proxies: default_trusted(),
            class: None,
            silence_s: default_silence(),
            https: None,
            cookie: Cookie::default(),
            page: Page::default(),
            identity: None,
            limits: Limits::default(),
        }
    }

    /// Checks all that can be checked without looking at files or the network.
    ///
    /// # Errors
    /// The first field that can't be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, text) in [
            ("pool", &self.pool),
            ("region", &self.region),
            ("page.service", &self.page.service),
        ] {
            text_within(field, text)?;
        }
        if self.state.is_some() && self.name.is_none() {
            let expected = "a name that stays the same, for state is given";
            return Err(ConfigError::new("name", "nothing", expected));
        }
        if self.nodes.is_empty() {
            return Err(ConfigError::new("nodes", "none", "at least one host:port"));
        }
        within(
            "silence_s",
            self.silence_s.into(),
            SILENCE_S.0.into(),
            SILENCE_S.1.into(),
        )?;
        let limits = &self.limits;
        for (field, given, least, most) in [
            (
                "limits.connections",
                limits.connections as u64,
                1,
                1_000_000,
            ),
            (
                "limits.header_bytes",
                limits.header_bytes as u64,
                8 << 10,
                1 << 20,
            ),
            ("limits.header_s", limits.header_s.into(), 1, 600),
            (
                "limits.body_bytes",
                limits.body_bytes as u64,
                1 << 10,
                1 << 20,
            ),
            ("limits.upstream_s", limits.upstream_s.into(), 1, 3_600),
            (
                "limits.polls_per_s",
                limits.polls_per_s.into(),
                1,
                1_000_000,
            ),
        ] {
            within(field, given, least, most)?;
        }
        limits.rates.validate()?;
        if let Some(identity) = &self.identity {
            identity.validate()?;
        }
        if self.page.links.len() > MAX_LINKS {
            let given = self.page.links.len();
            return Err(ConfigError::new(
                "page.links",
                given,
                format!("at most {MAX_LINKS}"),
            ));
        }
        for link in &self.page.links {
            text_within("page.links.text", &link.text)?;
            text_within("page.links.url", &link.url)?;
            if !["https://", "http://", "/"]
                .iter()
                .any(|start| link.url.starts_with(start))
            {
                let expected = "an address that begins with https://, http:// or /";
                return Err(ConfigError::new("page.links.url", &link.url, expected));
            }
        }
        self.validate_cookie()
    }

    fn validate_cookie(&self) -> Result<(), ConfigError> {
        let token = |text: &str| {
            let char_ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !text.is_empty() && text.len() <= 64 && text.chars().all(char_ok)
        };
        for (field, given) in [
            ("cookie.name", &self.cookie.name),
            ("cookie.domain", &self.cookie.domain),
        ] {
            if let Some(text) = given
                && !token(text)
            {
                let expected = "1 to 64 letters, digits, -, _ and .";
                return Err(ConfigError::new(field, format!("{text:?}"), expected));
            }
        }
        Ok(())
    }

    /// The cookie's name: with the prefix that binds it to the host where it may have that (RFC 6265bis, 4.1.3).
    pub fn cookie_name(&self) -> String {
        if let Some(name) = &self.cookie.name {
            return name.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let plain = |name: &str| -> String { name.chars().map(plain).take(48).collect() };
        let pool = plain(&self.pool);
        // Another region's gates may be below the same domain, and their tokens are not good here.
        let name = match &self.cookie.domain {
            None => pool,
            Some(_) => format!("{pool}-{}", plain(&self.region)),
        };
        match (self.cookie.secure, &self.cookie.domain) {
            (true, None) => format!("__Host-preau-{name}"),
            (true, Some(_)) => format!("__Secure-preau-{name}"),
            (false, _) => format!("preau-{name}"),
        }
    }
}

fn text_within(field: &str, text: &str) -> Result<(), ConfigError> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        let expected = format!("1 to {MAX_TEXT_BYTES} bytes");
        return Err(ConfigError::new(
            field,
            format!("{} bytes", text.len()),
            expected,
        ));
    }
    Ok(())
}

fn within(field: &str, given: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(ConfigError::new(field, given, format!("{least} to {most}")))
}
