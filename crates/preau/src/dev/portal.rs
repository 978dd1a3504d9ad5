//! A gate before a small demonstration portal, and a crowd that wants in.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use client::Nodes;
use crowd::{Crowd, Running};
use gate::{Config, Gate};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::configure;
use crate::budget::Budget;
use crate::failure::Failure;

/// Where the gate is served where nothing else is there.
const PORT: u16 = 8_080;
/// So few sessions that one waits, and so short that one gets in.
const BUDGET: &str = r#"
[[pool]]
name = "portal"
capacity = 20
ttl_ms = 10_000

[pool.session]
limit_s = 300
idle_s = 60
notice_s = 60
least_s = 30

[[pool.class]]
name = "everyone"

[[pool.region]]
name = "here"
nominal = 20
"#;
/// People of the crowd who come in a second; and how long each stays.
const ARRIVE_A_SECOND: f64 = 200.0;
const STAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

/// The portal with the gate before it.
pub struct Portal {
    gate: Gate,
    behind: JoinHandle<()>,
    _crowd: Option<Running>,
}

impl Portal {
    /// Starts both, on this machine alone, and sends the crowd.
    pub async fn start(nodes: &Nodes, addresses: &[String], crowd: usize) -> Result<Self, Failure> {
        let budget = Budget::parse(BUDGET)
            .map_err(|why| Failure::operation(format!("the portal's budget: {why}")))?;
        configure(nodes, budget.changes()).await?;
        let (behind, address) = serve().await?;
        let mut config = Config::new("portal", "here", addresses.to_vec());
        config.listen = free(PORT).await;
        config.admin = (Ipv4Addr::LOCALHOST, 0).into();
        config.upstream = Some(format!("http://{address}"));
        config.cookie.secure = false;
        config.page.service = "Portail de démonstration".into();
        let gate = Gate::start(config).await.map_err(crate::gate::failure)?;
        let crowd = match crowd {
            0 => None,
            people => Some(come(&gate, people)?),
        };
        Ok(Self {
            gate,
            behind,
            _crowd: crowd,
        })
    }

    /// Where people are served.
    pub fn address(&self) -> String {
        format!("http://{}/", self.gate.listen())
    }

    /// Ends both.
    pub async fn shutdown(self) {
        self.gate.shutdown().await;
        self.behind.abort();
    }
}

fn come(gate: &Gate, people: usize) -> Result<Running, Failure> {
    let failed = |why: String| Failure::operation(format!("the crowd can't come: {why}"));
    let crowd =
        Crowd::at(&format!("http://{}", gate.listen())).map_err(|e| failed(e.to_string()))?;
    let crowd = Crowd {
        people,
        rate: ARRIVE_A_SECOND,
        stay: STAY.0..=STAY.1,
        leave: 1.0,
        ..crowd
    };
    crowd.start().map_err(|e| failed(e.to_string()))
}

async fn serve() -> Result<(JoinHandle<()>, SocketAddr), Failure> {
    let failed = |e: std::io::Error| {
        Failure::operation(format!("the demonstration portal can't start: {e}"))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = Router::new().fallback(async || Html(include_str!("portal.html")));
    let behind = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the demonstration portal has stopped");
        }
    });
    Ok((behind, address))
}

/// An address with that port, or any where that is taken.
async fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted).await {
        Ok(_) => wanted,
        Err(_) => (Ipv4Addr::LOCALHOST, 0).into(),
    }
}
