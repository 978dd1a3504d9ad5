//! TLS: between nodes always with certificates of the cluster's authority; from others where asked for.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod common;

use std::path::{Path, PathBuf};

use api::v1;
use api::v1::cluster_service_client::ClusterServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use api::v1::peer_service_client::PeerServiceClient;
use common::{PATIENCE, config, reason, take};
use node::{Node, StartError, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A certificate authority, and what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
    name: &'static str,
}

impl Authority {
    fn new(dir: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self {
            issuer,
            dir: dir.into(),
            name,
        }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".into(), "localhost".into()];
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// A node's files.
    fn files(&self, node_id: u64, require_client_certificates: bool) -> Tls {
        let (cert, key) = self.sign();
        let write = |what: &str, text: String| {
            let path = self.dir.join(format!("{}-{node_id}-{what}.pem", self.name));
            std::fs::write(&path, text).expect("written");
            path
        };
        Tls {
            ca: write("ca", self.pem()),
            cert: write("cert", cert),
            key: write("key", key),
            require_client_certificates,
        }
    }

    fn channel(&self, node: &Node, identity: Option<&Self>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.pem()));
        if let Some(authority) = identity {
            let (cert, key) = authority.sign();
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", node.address()));
        let endpoint = endpoint
            .expect("an address")
            .tls_config(tls)
            .expect("certificates");
        endpoint.connect_lazy()
    }
}

async fn start(dir: &TempDir, authority: &Authority, count: u64, all: bool) -> Vec<Node> {
    let mut nodes = Vec::new();
    for node_id in 1..=count {
        let mut config = config(dir, node_id);
        config.tls = Some(authority.files(node_id, all));
        nodes.push(Node::start(config).await.expect("a node"));
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_know_each_other_by_their_certificates() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new(dir.path(), "ours");
    let nodes = start(&dir, &authority, 3, false).await;
    let members = (1..).zip(&nodes).map(|(node_id, node)| v1::MemberAddress {
        node_id,
        address: node.address().to_string(),
    });
    let request = v1::InitRequest {
        members: members.collect(),
    };
    // A front-end or an operator needs none here.
    let mut cluster = ClusterServiceClient::new(authority.channel(&nodes[0], None));
    cluster.init(request).await.expect("a cluster over TLS");

    // Each node answers: the two that follow by forwarding, over TLS too.
    for node in &nodes {
        let mut leases = LeaseServiceClient::new(authority.channel(node, None));
        let end = Instant::now() + PATIENCE;
        loop {
            let status = leases
                .lease(take("portal", 1, 1))
                .await
                .expect_err("no pool yet");
            if status.code() == Code::NotFound {
                assert_eq!(reason(&status), "NO_SUCH_POOL");
                break;
            }
            assert!(Instant::now() < end, "{status:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    // Who calls as a node must show that it is one.
    let vote = v1::VoteRequest::default();
    let mut stranger = PeerServiceClient::new(authority.channel(&nodes[0], None));
    let status = stranger.vote(vote).await.expect_err("no certificate");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unauthenticated, "NO_CERTIFICATE")
    );
    let mut known = PeerServiceClient::new(authority.channel(&nodes[0], Some(&authority)));
    let status = known.vote(vote).await.expect_err("no good vote");
    assert_ne!(status.code(), Code::Unauthenticated, "{status:?}");
    let other = Authority::new(dir.path(), "theirs");
    let mut forged = PeerServiceClient::new(authority.channel(&nodes[0], Some(&other)));
    assert!(
        forged.vote(vote).await.is_err(),
        "a certificate of another authority"
    );
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_asked_for_everyone_shows_a_certificate() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new(dir.path(), "ours");
    let nodes = start(&dir, &authority, 1, true).await;
    let mut without = ClusterServiceClient::new(authority.channel(&nodes[0], None));
    assert!(without.status(v1::StatusRequest {}).await.is_err());
    let mut with = ClusterServiceClient::new(authority.channel(&nodes[0], Some(&authority)));
    with.status(v1::StatusRequest {}).await.expect("a status");
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn files_that_can_not_be_used_are_named() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new(dir.path(), "ours");
    let mut config = config(&dir, 1);
    let tls = authority.files(1, false);
    let missing = dir.path().join("missing.pem");
    config.tls = Some(Tls {
        ca: missing.clone(),
        ..tls.clone()
    });
    let error = Node::start(config.clone())
        .await
        .expect_err("no ca")
        .to_string();
    assert!(
        error.starts_with(&format!("tls.ca: can't read {}: ", missing.display())),
        "{error}"
    );

    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    for (field, tls) in [
        (
            "tls.ca",
            Tls {
                ca: empty.clone(),
                ..tls.clone()
            },
        ),
        (
            "tls.cert",
            Tls {
                cert: empty.clone(),
                ..tls.clone()
            },
        ),
        (
            "tls.key",
            Tls {
                key: empty.clone(),
                ..tls.clone()
            },
        ),
        // The key of another certificate.
        (
            "tls.key",
            Tls {
                key: authority.files(2, false).key,
                ..tls
            },
        ),
    ] {
        config.tls = Some(tls);
        let error = Node::start(config.clone()).await.expect_err(field);
        assert!(matches!(error, StartError::Tls(_)), "{error}");
        assert!(error.to_string().starts_with("tls: "), "{error}");
    }
    assert!(!config.data_dir.exists(), "nothing was made");
}
