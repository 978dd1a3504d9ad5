//! The way to the cluster: where its nodes are, and how to call them.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::cluster_service_client::ClusterServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use client::{Nodes, Options};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Response, Status};

use crate::failure::Failure;

/// Most bytes of one answer: all pools with all their regions are long.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the nodes are that `preau dev` starts.
pub const DEFAULT_NODES: &str = "127.0.0.1:4501,127.0.0.1:4502,127.0.0.1:4503";

/// How to reach the cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
#[group(skip)]
pub struct Args {
    /// Nodes to ask, comma separated, each host:port or https://host:port. Any will do: they know the
    /// leader. https is meant where --tls-ca is given.
    #[arg(
        long,
        env = "PREAU_NODES",
        value_name = "ADDR,…",
        value_delimiter = ',',
        default_value = DEFAULT_NODES
    )]
    pub nodes: Vec<String>,
    /// Certificate authority of the nodes, PEM; with it every connection is TLS.
    #[arg(long, env = "PREAU_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our certificate, PEM, where the nodes ask for one.
    #[arg(
        long,
        env = "PREAU_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The key of our certificate, PEM.
    #[arg(
        long,
        env = "PREAU_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// How long a call may take in all, retries included, in milliseconds.
    #[arg(
        long,
        env = "PREAU_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    timeout_ms: u64,
}

/// The cluster as the command line says where it is.
#[derive(Debug, Clone)]
pub struct Cluster {
    nodes: Nodes,
    options: Options,
    within: Duration,
}

impl Args {
    /// The cluster. Nothing is connected yet.
    pub fn cluster(&self) -> Result<Cluster, Failure> {
        let options = Options {
            connections: 1,
            tls: self.tls()?,
            dial: None,
        };
        let addresses = self.nodes.iter().map(|node| secured(node, &options));
        let nodes = Nodes::with(addresses, options.clone())
            .map_err(|e| Failure::usage(format!("--nodes: {e}")))?;
        Ok(Cluster {
            nodes,
            options,
            within: Duration::from_millis(self.timeout_ms),
        })
    }

    /// The TLS that the files make, if any.
    fn tls(&self) -> Result<Option<ClientTlsConfig>, Failure> {
        let with = |scheme: &str| {
            self.nodes
                .iter()
                .find(|node| node.trim().starts_with(scheme))
        };
        let Some(ca) = &self.tls_ca else {
            return match with("https://") {
                Some(node) => Err(Failure::usage(format!(
                    "--tls-ca: not given, expected the certificate authority of {node} (PEM)"
                ))),
                None => Ok(None),
            };
        };
        if let Some(node) = with("http://") {
            return Err(Failure::usage(format!(
                "--nodes: {node} given, expected https:// or no scheme, for --tls-ca is given too"
            )));
        }
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem("--tls-ca", ca)?));
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identity(Identity::from_pem(
                pem("--tls-cert", cert)?,
                pem("--tls-key", key)?,
            ));
        }
        Ok(Some(tls))
    }
}

/// An address with its scheme: https where there is TLS.
fn secured(address: &str, options: &Options) -> String {
    match (address.contains("://"), &options.tls) {
        (false, Some(_)) => format!("https://{}", address.trim()),
        _ => address.to_owned(),
    }
}

fn pem(flag: &str, path: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("{flag}: can't read {path:?}: {e}")))
}

impl Cluster {
    /// Makes a call on whichever node can answer it. `f` makes one try, and may run several times.
    pub async fn call<T, F, Fut>(&self, f: F) -> Result<T, Failure>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = self.nodes.call(self.within, f).await;
        Ok(answer.map_err(Failure::from)?.into_inner())
    }

    /// The addresses given, and those learnt since.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.addresses()
    }

    /// The same way to one node alone.
    pub fn only(&self, address: &str) -> Result<Cluster, Failure> {
        self.at([address])
    }

    /// The same way, for calls that may take `within` at most.
    pub fn within(self, within: Duration) -> Cluster {
        let within = within.min(self.within);
        Cluster { within, ..self }
    }

    /// The same way to other nodes, with or without a scheme.
    pub fn at<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) -> Result<Cluster, Failure> {
        let addresses = addresses
            .into_iter()
            .map(|node| secured(node, &self.options));
        let nodes = Nodes::with(addresses, self.options.clone())
            .map_err(|e| Failure::operation(e.to_string()))?;
        Ok(Cluster {
            nodes,
            ..self.clone()
        })
    }
}

/// An address without its scheme, as members have it.
pub fn host_port(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    address.trim_end_matches('/')
}

/// The service of operators: pools, regions, holders, leases.
pub fn budget(channel: Channel) -> BudgetServiceClient<Channel> {
    BudgetServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// The service of the cluster: members and leader.
pub fn cluster(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel)
}

/// The service of front-ends.
pub fn lease(channel: Channel) -> LeaseServiceClient<Channel> {
    LeaseServiceClient::new(channel)
}

/// Names one request among its retries: no other run of the command has it.
pub fn request_id() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("preau-{}-{}", since.as_nanos(), std::process::id())
}
