//! `preau gate`: the waiting room before a portal.

use std::net::SocketAddr;
use std::path::PathBuf;

use gate::{Config, Gate, StartError};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::fields;
use crate::open_files;
use crate::output::print_line;
use crate::serve::start_log;
use crate::settings::{Log, LogFormat};
use crate::signals::Signals;

/// Run a waiting room before a portal, until SIGTERM or SIGINT.
///
/// It leases a region's sessions from a pool, lets as many people in as it has, and shows the others their place. nginx, Traefik,
/// Caddy, HAProxy and Envoy ask it whom to let through; with --upstream it is the portal's proxy itself. Started again
/// under the same name, it keeps everybody's session and place. Its log goes to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file, each key of which has a default but the first three:
  pool = \"ent\"
  region = \"normandie\"
  nodes = [\"node-1.example:4501\", \"node-2.example:4501\", \"node-3.example:4501\"]
  name = \"gate-1\"
  keys = \"/etc/preau/keys\"                 # preau key new
  state = \"/var/lib/preau/gate-1\"
  upstream = \"http://127.0.0.1:8000\"
  [page]
  service = \"Mon ENT\"
  links = [{ text = \"Radio scolaire\", url = \"https://radio.example/\" }]

Examples:
  preau gate --config /etc/preau/gate.toml
  preau gate --pool ent --region normandie --upstream http://127.0.0.1:8000 --plain-http
  preau gate --config gate.toml --check
  preau gate --openapi")]
pub struct Args {
    /// The TOML file; - for stdin. Flags count for more.
    #[arg(short, long, env = "PREAU_GATE_CONFIG", value_name = "FILE")]
    config: Option<String>,
    /// The pool whose sessions the portal's are.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// The region to lease for.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The gate's name as a holder, the same over restarts.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The cluster's nodes, comma separated.
    #[arg(
        long,
        env = "PREAU_NODES",
        value_name = "ADDR,…",
        value_delimiter = ','
    )]
    nodes: Vec<String>,
    /// The file of keys that tickets and seats are signed with.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A file by which the gate that starts next takes over at once.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Where people, or the proxies before them, are served [default: 0.0.0.0:8080].
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where metrics and health are served [default: 127.0.0.1:9180].
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Where Envoy asks.
    #[arg(long, value_name = "IP:PORT")]
    ext_authz: Option<SocketAddr>,
    /// The portal, where the gate is its proxy.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The portal is on plain HTTP: without this, browsers keep the cookie over HTTPS alone.
    #[arg(long)]
    plain_http: bool,
    /// Read all of it and the files that it names, say whether they are right, and start nothing.
    #[arg(long)]
    check: bool,
    /// Print the description of the API for apps (OpenAPI, JSON), and start nothing.
    #[arg(long)]
    openapi: bool,
    /// What is logged, such as warn or info,gate=debug.
    #[arg(long, env = "PREAU_LOG_FILTER", value_name = "FILTER", default_value = "info", value_parser = filter)]
    log_filter: String,
    /// How it is logged.
    #[arg(
        long,
        env = "PREAU_LOG_FORMAT",
        value_name = "FORM",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map_err(|_| "expected a filter such as warn or info,gate=debug")?;
    Ok(text.to_owned())
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if args.openapi {
        return print_line(&gate::document());
    }
    let config = args.config()?;
    if args.check {
        crate::block_on(async { Gate::check(&config).map_err(failure) })?;
        return print_line("the configuration is right");
    }
    config
        .validate()
        .map_err(|why| Failure::usage(why.to_string()))?;
    start_log(Log {
        filter: args.log_filter.clone(),
        format: args.log_format,
    });
    crate::block_on(serve(config))
}

impl Args {
    /// What the file and the flags come to.
    fn config(&self) -> Result<Config, Failure> {
        let text = self.config.as_deref().map(fields::read).transpose()?;
        let mut config: Config =
            toml::from_str(text.as_deref().unwrap_or_default()).map_err(|why| {
                let file = self
                    .config
                    .as_deref()
                    .map_or("configuration", fields::shown_path);
                Failure::usage(format!("{file}: {}", why.to_string().trim_end()))
            })?;
        let texts = [
            (&mut config.pool, &self.pool),
            (&mut config.region, &self.region),
        ];
        for (field, given) in texts {
            if let Some(text) = given {
                field.clone_from(text);
            }
        }
        if !self.nodes.is_empty() {
            config.nodes.clone_from(&self.nodes);
        }
        config.name = self.name.clone().or(config.name);
        config.keys = self.keys.clone().or(config.keys);
        config.state = self.state.clone().or(config.state);
        config.listen = self.listen.unwrap_or(config.listen);
        config.admin = self.admin.unwrap_or(config.admin);
        config.ext_authz = self.ext_authz.or(config.ext_authz);
        config.upstream = self.upstream.clone().or(config.upstream);
        config.cookie.secure &= !self.plain_http;
        Ok(config)
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let connections = config.limits.connections as u64;
    // There may be an eighth more while others close, and a proxy has two for each request.
    let connections = connections.saturating_add(connections / 8);
    open_files::allow(connections.saturating_mul(1 + u64::from(config.upstream.is_some())));
    let gate = Gate::start(config).await.map_err(failure)?;
    let (listen, admin) = (gate.listen(), gate.admin());
    tracing::info!(%listen, %admin, ext_authz = ?gate.ext_authz(), "the gate serves");
    let name = signals.next().await;
    tracing::info!(signal = name, "the gate stops");
    tokio::select! {
        () = gate.shutdown() => {
            tracing::info!("the gate has stopped");
            Ok(())
        }
        name = signals.next() => Err(Failure::operation(format!("the gate ended at once, by a second {name}"))),
    }
}

/// A gate that can't start.
pub fn failure(error: StartError) -> Failure {
    match error {
        StartError::Listen { .. } => Failure::operation(error.to_string()),
        error => Failure::usage(error.to_string()),
    }
}
