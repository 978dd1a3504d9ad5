//! A cluster of `preau serve` processes, and what can be done to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::cluster_service_client::ClusterServiceClient;
use client::Nodes;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// The longest that anything a test waits for may take.
const WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

static TURN: Mutex<()> = Mutex::const_new(());

/// Nodes as processes, with data below one directory. All are killed when it is dropped.
pub struct Cluster {
    nodes: BTreeMap<u64, Node>,
    flags: Vec<String>,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

struct Node {
    address: String,
    process: Option<Child>,
}

impl Cluster {
    /// Three nodes that are a cluster and have a leader. `flags` go to every `preau serve`.
    pub async fn start(flags: &[&str]) -> Self {
        let mut this = Self {
            _turn: TURN.lock().await,
            nodes: BTreeMap::new(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            dir: tempfile::tempdir().unwrap(),
        };
        for id in 1..=3 {
            this.add(id);
        }
        let members: Vec<_> = this
            .nodes
            .iter()
            .flat_map(|(id, node)| ["--member".to_owned(), format!("{id}={}", node.address)])
            .collect();
        for id in 1..=3 {
            eventually("an answer", || async {
                this.status(id).await.map(drop).ok_or("none".to_owned())
            })
            .await;
        }
        let init: Vec<_> = std::iter::once("init")
            .chain(members.iter().map(String::as_str))
            .collect();
        this.run(&init);
        this.leader().await;
        this
    }

    /// Starts one more process, which belongs to no cluster yet.
    pub fn add(&mut self, id: u64) {
        let address = format!("127.0.0.1:{}", free_port());
        let node = Node {
            address,
            process: None,
        };
        assert!(self.nodes.insert(id, node).is_none(), "node {id} twice");
        self.spawn(id);
    }

    /// Starts a node's process.
    pub fn spawn(&mut self, id: u64) {
        let mut command = preau();
        command
            .arg("serve")
            .args(["--node-id", &id.to_string()])
            .args(["--listen", self.address(id)])
            .arg("--data-dir")
            .arg(self.data(id))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(
                File::options()
                    .create(true)
                    .append(true)
                    .open(self.log(id))
                    .unwrap(),
            );
        let process = command.spawn().expect("preau serve");
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(
            node.process.replace(process).is_none(),
            "node {id} runs already"
        );
    }

    /// kill -9.
    pub fn kill(&mut self, id: u64) {
        let mut process = self.nodes.get_mut(&id).unwrap().process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM, and how the process ended.
    pub async fn terminate(&mut self, id: u64) -> ExitStatus {
        let process = self.nodes.get_mut(&id).unwrap().process.as_mut().unwrap();
        let pid = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.ended(id).await
    }

    /// How a node's process ended by itself.
    pub async fn ended(&mut self, id: u64) -> ExitStatus {
        let mut process = self.nodes.get_mut(&id).unwrap().process.take().unwrap();
        let end = Instant::now() + WITHIN;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("node {id} does not end");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Removes what a node, which must not run, has on disk.
    pub fn wipe(&self, id: u64) {
        assert!(self.nodes[&id].process.is_none(), "node {id} runs");
        std::fs::remove_dir_all(self.data(id)).unwrap();
    }

    /// Ids of the nodes whose processes run.
    pub fn running(&self) -> Vec<u64> {
        let runs = |(id, node): (&u64, &Node)| node.process.as_ref().map(|_| *id);
        self.nodes.iter().filter_map(runs).collect()
    }

    pub fn address(&self, id: u64) -> &str {
        &self.nodes[&id].address
    }

    /// Where every node is reached, those that do not run included.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes
            .values()
            .map(|node| node.address.clone())
            .collect()
    }

    /// A node's data directory.
    pub fn data(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    /// A file for the test's own use.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a node's process has said on stderr, all of its lives together.
    pub fn said(&self, id: u64) -> String {
        std::fs::read_to_string(self.log(id)).unwrap_or_default()
    }

    fn log(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}.log"))
    }

    /// Runs a command of the operator's tool on this cluster.
    pub fn preau(&self, args: &[&str]) -> Output {
        preau()
            .env("PREAU_NODES", self.addresses().join(","))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("preau")
    }

    /// As [`Self::preau`], for a command that must succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) {
        let ran = self.preau(args);
        assert!(
            ran.status.success(),
            "preau {}: {}",
            args.join(" "),
            said(&ran)
        );
    }

    /// As [`Self::run`], for a command that may have to wait for its time.
    pub async fn run_eventually(&self, args: &[&str]) {
        eventually(&args.join(" "), || {
            let ran = self.preau(args);
            async move { ran.status.success().then_some(()).ok_or(said(&ran)) }
        })
        .await;
    }

    /// The way to the whole cluster.
    pub fn nodes(&self) -> Nodes {
        Nodes::new(self.addresses()).unwrap()
    }

    /// How one node stands; `None` where it does not answer.
    pub async fn status(&self, id: u64) -> Option<v1::StatusResponse> {
        let ask = |channel| async {
            let mut cluster = ClusterServiceClient::new(channel);
            Ok(cluster.status(v1::StatusRequest {}).await?.into_inner())
        };
        Nodes::new([self.address(id)])
            .unwrap()
            .call(Duration::from_secs(1), ask)
            .await
            .ok()
    }

    /// Waits until a node that runs leads, and gives its id. Of two that believe so, the higher term does.
    pub async fn leader(&self) -> u64 {
        eventually("a leader", || async {
            let mut best = None;
            for id in self.running() {
                if let Some(status) = self.status(id).await
                    && status.role() == v1::NodeRole::Leader
                {
                    best = best.max(Some((status.term, id)));
                }
            }
            best.map(|(_, id)| id).ok_or("none".to_owned())
        })
        .await
    }

    /// Every lease of a pool, as the cluster has agreed on it.
    pub async fn leases(&self, pool: &str) -> Vec<v1::Lease> {
        let nodes = self.nodes();
        let (mut leases, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListLeasesRequest {
                pool: pool.into(),
                page_token,
                ..Default::default()
            };
            let page = nodes
                .call(WITHIN, |channel| {
                    let request = request.clone();
                    async move {
                        let mut budget = BudgetServiceClient::new(channel);
                        Ok(budget.list_leases(request).await?.into_inner())
                    }
                })
                .await
                .unwrap();
            leases.extend(page.leases);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return leases;
            }
        }
    }

    /// A pool as one node has it, without a word to the others.
    pub async fn pool_at(&self, id: u64, pool: &str) -> Result<v1::Pool, String> {
        let request = v1::ListPoolsRequest {
            pool: pool.into(),
            stale: true,
            ..Default::default()
        };
        let answer = Nodes::new([self.address(id)])
            .unwrap()
            .call(Duration::from_secs(1), |channel| {
                let request = request.clone();
                async move {
                    let mut budget = BudgetServiceClient::new(channel);
                    Ok(budget.list_pools(request).await?.into_inner())
                }
            })
            .await
            .map_err(|status| status.to_string())?;
        answer
            .pools
            .into_iter()
            .next()
            .ok_or("no such pool".to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            if let Some(process) = &mut node.process {
                // One that has ended already can't be killed, and is waited for all the same.
                let _ = process.kill();
                let _ = process.wait();
            }
        }
        if std::thread::panicking() {
            for id in self.nodes.keys() {
                let said = self.said(*id);
                let lines: Vec<_> = said.lines().collect();
                let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
                eprintln!("node {id} said last:\n  {last}");
            }
        }
    }
}

/// The binary, with nothing of this environment's settings for it.
pub fn preau() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_preau"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PREAU_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command printed.
pub fn said(ran: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    format!(
        "{}{} ({})",
        text(&ran.stdout),
        text(&ran.stderr),
        ran.status
    )
}

/// Tries until it comes true; the error says what is still wrong.
pub async fn eventually<T, F, Fut>(what: &str, mut check: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + WITHIN;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => {
                panic!("{what}: not within {WITHIN:?}: {why}")
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY * 5).await,
        }
    }
}

/// The tree of files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A port that is free, below those that the system gives to outgoing connections: one of these could
/// take a port whose node is down, or connect to itself there.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id() * 61;
    loop {
        let nth = begin + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(nth % PORTS.len() as u32).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
