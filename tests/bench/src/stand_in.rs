//! A process that does what a node must do at the very least: it answers over gRPC, and syncs a file.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use preau::parts::{Failure, Processes, free};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use self::pb::stand_in_client::StandInClient;
use self::pb::stand_in_server::{StandIn, StandInServer};
use crate::connection::Connection;

mod pb {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("stand_in");
}

/// What is appended each time: about as much as the log entry of one grant.
pub const APPEND: [u8; 256] = [7; 256];
/// How long the processes may take to come up.
const START_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Serve as a stand-in: started by `ceiling`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The file to append to.
    #[arg(long)]
    file: PathBuf,
    /// Another stand-in, which is to sync meanwhile.
    #[arg(long)]
    peer: Option<SocketAddr>,
}

/// Serves until the process is ended.
pub async fn serve(args: &Args) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::operation(format!("stand-in: {e}"));
    let file = File::create(&args.file).map_err(|e| failed(&e))?;
    let peer = match args.peer {
        Some(peer) => Some(Connection::open(&peer.to_string()).await?),
        None => None,
    };
    let service = Service {
        file: Arc::new(Mutex::new(file)),
        peer: peer.map(StandInClient::new),
    };
    Server::builder()
        .add_service(StandInServer::new(service))
        .serve(args.listen)
        .await
        .map_err(|e| failed(&e))
}

struct Service {
    file: Arc<Mutex<File>>,
    peer: Option<StandInClient<Connection>>,
}

#[tonic::async_trait]
impl StandIn for Service {
    async fn empty(&self, _: Request<pb::Nothing>) -> Result<Response<pb::Nothing>, Status> {
        Ok(Response::new(pb::Nothing {}))
    }

    async fn sync(&self, _: Request<pb::Nothing>) -> Result<Response<pb::Nothing>, Status> {
        let file = Arc::clone(&self.file);
        let here = tokio::task::spawn_blocking(move || {
            append(&mut file.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let there = async {
            match self.peer.clone() {
                Some(mut peer) => peer.sync(pb::Nothing {}).await.map(drop),
                None => Ok(()),
            }
        };
        let (here, there) = tokio::join!(here, there);
        there?;
        match here {
            Ok(Ok(())) => Ok(Response::new(pb::Nothing {})),
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}

/// A small append, on the disk.
pub fn append(file: &mut File) -> std::io::Result<()> {
    file.write_all(&APPEND)?;
    file.sync_data()
}

/// Two stand-ins, of which the first has the second as its peer.
pub struct Pair {
    pub processes: Processes,
    pub door: Door,
}

/// The way to the first.
pub struct Door {
    client: StandInClient<Connection>,
}

impl Pair {
    /// Starts them, with files in `dir`.
    pub async fn start(dir: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|e| Failure::operation(format!("can't find this program's file: {e}")))?;
        let [first, second] = free::<2>()?;
        let mut processes = Processes::default();
        let mut client = None;
        // The second first: the first connects to it.
        for (name, address, peer) in [("second", second, None), ("first", first, Some(second))] {
            let mut command = Command::new(&program);
            command
                .args(["stand-in", "--listen", &address.to_string()])
                .arg("--file")
                .arg(dir.join(name));
            if let Some(peer) = peer {
                command.args(["--peer", &peer.to_string()]);
            }
            let log = dir.join(format!("{name}.log"));
            processes.start(format!("the {name} stand-in"), command, log)?;
            client = tokio::select! {
                connection = up(address) => Some(StandInClient::new(connection?)),
                failure = processes.ended() => return Err(failure),
            };
        }
        let client = client.ok_or_else(|| Failure::operation("no stand-in was started"))?;
        let door = Door { client };
        Ok(Self { processes, door })
    }
}

/// A connection, once somebody listens.
async fn up(address: SocketAddr) -> Result<Connection, Failure> {
    let end = Instant::now() + START_WITHIN;
    loop {
        match Connection::open(&address.to_string()).await {
            Ok(connection) => return Ok(connection),
            Err(failure) if Instant::now() > end => return Err(failure),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Door {
    /// An empty call.
    pub async fn empty(&mut self) -> Result<(), String> {
        let answer = self.client.empty(pb::Nothing {}).await;
        answer.map(drop).map_err(|e| e.to_string())
    }

    /// A call that is answered once both have synced their files, which they do at the same time.
    pub async fn sync(&mut self) -> Result<(), String> {
        let answer = self.client.sync(pb::Nothing {}).await;
        answer.map(drop).map_err(|e| e.to_string())
    }
}
