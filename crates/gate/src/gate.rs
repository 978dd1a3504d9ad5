//! A gate that runs: its listeners, and its lease.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::keys::{KeyFile, KeysError};
use client::{AddressError, ConnectError, FrontEnd, Holder, Nodes, Options};
use quota::Mode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Identity as TlsIdentity};

use crate::address::Trusted;
use crate::admin;
use crate::app::App;
use crate::config::{Config, ConfigError, NodeTls};
use crate::cookies::Cookies;
use crate::desk::{Desk, Settings};
use crate::ext_authz;
use crate::identity::{Guarded, Identity, IdentityError};
use crate::last_life::{LastLife, LastLifeError, Lock};
use crate::limits::Limits;
use crate::opening;
use crate::pace::Pace;
use crate::page::{Page, PageConfig, PageError};
use crate::proxy::{Portal, Proxy};
use crate::routes;
use crate::server::{self, Bounds};
use crate::visitor::Reader;

/// How long one try to reach the cluster for the first time takes.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The pause after a refusal, which only an operator can mend.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// How often the desk looks around.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is looked whether anybody has to be told when it opens, and how often that is asked for.
const OPENING_LOOK: Duration = Duration::from_secs(1);
const OPENING_EVERY: Duration = Duration::from_secs(30);
/// How often the keys of identities are read again.
const KEYS_EVERY: Duration = Duration::from_secs(30);
/// For which somebody may take nothing of an answer, or send nothing of a body.
const STALL_TIME: Duration = Duration::from_secs(60);
/// Connections to the listener for those who run the gate.
const ADMIN_CONNECTIONS: usize = 64;

/// Why a gate can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value can't be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A node's address can't be.
    #[error("nodes: {0}")]
    Nodes(#[from] AddressError),
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The page's texts can't be used.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Identities can't be verified.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file of the last life can't be used.
    #[error(transparent)]
    LastLife(#[from] LastLifeError),
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] server::TlsError),
    /// An address can't be listened on.
    #[error("{field}: can't listen on {address}: {why}")]
    Listen {
        /// Which.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
}

/// A gate that runs. Dropping it ends it at once; whoever is in or waits keeps that, by the token, at the gate that
/// starts next under its name.
#[derive(Debug)]
pub struct Gate {
    listen: SocketAddr,
    admin: SocketAddr,
    ext_authz: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Nobody else goes on with the lease while people are still served on it.
    _lock: Option<Lock>,
}

impl Gate {
    /// Starts one. It serves at once, and says that the coordinator is out of reach until it is heard.
    ///
    /// # Errors
    /// Where a value, a file or an address can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Parts {
            nodes,
            tls,
            app,
            portal,
        } = parts(&config)?;
        let last_life = config.state.as_deref().map(LastLife::open).transpose()?;
        let lock = last_life.as_ref().map(LastLife::lock);
        let (public, listen) = bind("listen", config.listen).await?;
        let (private, admin) = bind("admin", config.admin).await?;
        let envoy = match config.ext_authz {
            Some(address) => Some(bind("ext_authz", address).await?),
            None => None,
        };
        let stop = CancellationToken::new();
        let mut router = routes::router(&app, config.limits.body_bytes);
        if let Some(portal) = portal {
            router = router.merge(Proxy::new(&app, portal).router());
        }
        let mut tasks = JoinSet::new();
        let (public_bounds, private_bounds) = bounds(&config);
        tasks.spawn(server::serve(
            public,
            tls,
            public_bounds,
            router,
            stop.clone(),
        ));
        let router = admin::router(&app, stop.clone());
        tasks.spawn(server::serve(
            private,
            None,
            private_bounds,
            router,
            stop.clone(),
        ));
        let ext_authz = envoy.map(|(listener, address)| {
            let bounds = ext_authz::Bounds {
                trusted: Trusted::new(config.trusted_proxies.clone()),
                drain: server::DRAIN,
            };
            let app = Arc::clone(&app);
            tasks.spawn(ext_authz::serve(listener, app, bounds, stop.clone()));
            address
        });
        tasks.spawn(look_ahead(
            config.clone(),
            nodes.clone(),
            Arc::clone(&app.desk),
            stop.clone(),
        ));
        tasks.spawn(keep(config, nodes, app, last_life, stop.clone()));
        Ok(Self {
            listen,
            admin,
            ext_authz,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// Reads and builds all that a gate does before it listens and connects, and starts nothing. Left out is the file
    /// of the last life, which a gate that runs may have in hand. Belongs into a runtime of tokio's.
    ///
    /// # Errors
    /// Where a value or a file can't be used.
    pub fn check(config: &Config) -> Result<(), StartError> {
        parts(config).map(drop)
    }

    /// Where people are served.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where metrics and health are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where Envoy asks.
    pub fn ext_authz(&self) -> Option<SocketAddr> {
        self.ext_authz
    }

    /// Takes no more requests, and ends when those under way are answered. The lease is left to whoever starts
    /// next under the same name, with the people who are in on it; where nobody does, it runs out.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What a gate is made of before it listens and connects.
struct Parts {
    nodes: Nodes,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    portal: Option<Portal>,
}

fn parts(config: &Config) -> Result<Parts, StartError> {
    config.validate()?;
    if let Some(keys) = &config.keys {
        KeyFile::open(keys)?;
    }
    let https = config.https.as_ref();
    let tls = https.map(|https| server::tls(&https.cert, &https.key));
    Ok(Parts {
        nodes: nodes(config)?,
        tls: tls.transpose()?,
        app: app(config)?,
        portal: Portal::new(config)?,
    })
}

/// What requests are answered from, as a configuration has it.
pub fn app(config: &Config) -> Result<Arc<App>, StartError> {
    let settings = Settings {
        class: config.class.clone(),
        pace: Pace {
            polls_per_s: config.limits.polls_per_s,
            silence_s: config.silence_s,
        },
    };
    let page = Page::new(PageConfig {
        service: config.page.service.clone(),
        zone: config.page.zone.clone(),
        links: config.page.links.clone(),
        texts: config.page.texts.clone(),
        silence_s: config.silence_s,
    })?;
    Ok(Arc::new(App {
        desk: Arc::new(Desk::new(settings, Limits::new(&config.limits.rates))),
        page,
        reader: Reader {
            cookies: Cookies::new(config),
            trusted: Trusted::new(config.trusted_proxies.clone()),
            identity: identity(config)?,
        },
        metrics: Arc::default(),
        names: (config.pool.clone(), config.region.clone()),
    }))
}

fn identity(config: &Config) -> Result<Option<Guarded>, IdentityError> {
    let identity = config.identity.as_ref().map(Identity::new).transpose()?;
    Ok(identity.map(|identity| Guarded::new(identity, &config.limits.rates)))
}

/// Those of the listener for people, and of that for whoever runs the gate.
fn bounds(config: &Config) -> (Bounds, Bounds) {
    let limits = &config.limits;
    let public = Bounds {
        connections: limits.connections,
        header_bytes: limits.header_bytes,
        header_time: Duration::from_secs(limits.header_s.into()),
        stall_time: STALL_TIME,
        trusted: Trusted::new(config.trusted_proxies.clone()),
    };
    let private = Bounds {
        connections: ADMIN_CONNECTIONS,
        ..public.clone()
    };
    (public, private)
}

fn nodes(config: &Config) -> Result<Nodes, StartError> {
    let tls = config.tls.as_ref().map(node_tls).transpose()?;
    let secured = |node: &String| match tls.is_some() && !node.contains("://") {
        true => format!("https://{node}"),
        false => node.clone(),
    };
    let addresses: Vec<String> = config.nodes.iter().map(secured).collect();
    let options = Options {
        connections: 1,
        tls,
        dial: None,
    };
    Ok(Nodes::with(addresses, options)?)
}

fn node_tls(files: &NodeTls) -> Result<ClientTlsConfig, ConfigError> {
    let ca = pem("tls.ca", &files.ca)?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let identity = TlsIdentity::from_pem(pem("tls.cert", cert)?, pem("tls.key", key)?);
            Ok(tls.identity(identity))
        }
        (None, None) => Ok(tls),
        _ => Err(ConfigError::new(
            "tls.key",
            "one of tls.cert and tls.key",
            "both or none",
        )),
    }
}

fn pem(field: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|why| {
        let given = format!("{} ({why})", path.display());
        ConfigError::new(field, given, "a PEM file that can be read")
    })
}

async fn bind(
    field: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let refuse = |why| StartError::Listen {
        field,
        address,
        why,
    };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    Ok((listener, address))
}

/// While nobody is let in, asks when that ends.
async fn look_ahead(config: Config, nodes: Nodes, desk: Arc<Desk>, stop: CancellationToken) {
    let mut told = None;
    while stop
        .run_until_cancelled(tokio::time::sleep(OPENING_LOOK))
        .await
        .is_some()
    {
        let mode = desk.glance().map(|glance| glance.status.mode);
        let waits = mode.filter(|mode| matches!(mode, Mode::Closed | Mode::Paused));
        let due = told.is_none_or(|(of, at): (_, Instant)| {
            Some(of) != waits || at.elapsed() >= OPENING_EVERY
        });
        match waits {
            None => {
                told = None;
                desk.opens(None);
            }
            Some(mode) if due => {
                if told.is_none_or(|(of, _)| of != mode) {
                    // That of another mode says nothing of this one.
                    desk.opens(None);
                }
                if let Some(opens) = opening::next(&nodes, &config.pool, &config.region).await {
                    told = Some((mode, Instant::now()));
                    desk.opens(opens);
                }
            }
            Some(_) => {}
        }
    }
}

/// Takes the lease, and looks how it stands until the gate stops.
async fn keep(
    config: Config,
    nodes: Nodes,
    app: Arc<App>,
    mut last_life: Option<LastLife>,
    stop: CancellationToken,
) {
    let desk = &app.desk;
    let Some(Some(status)) = stop
        .run_until_cancelled(take(&config, nodes, desk, last_life.as_ref()))
        .await
    else {
        return;
    };
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut superseded, mut keys_at) = (false, Instant::now());
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        desk.look_around();
        let now = *status.borrow();
        if let Some(last_life) = &mut last_life {
            last_life.note(now);
        }
        if keys_at.elapsed() >= KEYS_EVERY {
            keys_at = Instant::now();
            refresh(&app);
        }
        if now.superseded && !superseded {
            superseded = true;
            tracing::error!("another gate has taken over this one's name: give each its own");
        }
    }
}

fn refresh(app: &App) {
    let guarded = app.reader.identity.as_ref();
    if let Some(Err(error)) = guarded.map(|guarded| guarded.identity.refresh()) {
        tracing::warn!(%error, "the keys of identities stay what they were");
    }
}

async fn take(
    config: &Config,
    nodes: Nodes,
    desk: &Desk,
    last_life: Option<&LastLife>,
) -> Option<tokio::sync::watch::Receiver<client::Status>> {
    loop {
        match front_end(config, nodes.clone(), last_life).await {
            Ok(front) => {
                let status = front.watch();
                tracing::info!(name = front.name(), "the coordinator has granted a lease");
                desk.open(front);
                return Some(status);
            }
            Err(error @ ConnectError::Unreachable { .. }) => {
                tracing::warn!(%error, "no lease yet");
            }
            Err(error) => {
                tracing::error!(%error, "no lease yet");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

async fn front_end(
    config: &Config,
    nodes: Nodes,
    last_life: Option<&LastLife>,
) -> Result<FrontEnd, ConnectError> {
    let mut builder = Holder::on(Ok(nodes))
        .pool(&config.pool)
        .region(&config.region)
        .silence(Duration::from_secs(config.silence_s.into()))
        .within(CONNECT_WITHIN);
    if let Some(name) = &config.name {
        builder = builder.name(name);
    }
    if let Some(keys) = &config.keys {
        builder = builder.keys(keys);
    }
    if let Some(life) = last_life.and_then(LastLife::life) {
        builder = builder.resume(life);
    }
    builder.front_end().await
}
