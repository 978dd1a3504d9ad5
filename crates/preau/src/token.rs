//! `preau key` and `preau ticket`: what front-ends sign their users' places with, and what a token says.

use std::time::Duration;

use api::v1;
use clap::Subcommand;
use client::keys::{KeyFile, new_key};
use client::tokens::{Scope, Token};
use serde::Serialize;

use crate::cluster::{self, Cluster, lease};
use crate::failure::Failure;
use crate::output::{Output, thousands};

/// Make keys for tickets and seats.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    New(NewKey),
}

/// Print a line for a key file, with a new random key.
///
/// The first line of a file signs, and all of them verify. To change keys, add the new line at the end of
/// every front-end's file, then move it to the top, and remove the old one when its tokens are over, after four hours.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau key new > keys
  preau key new --id 2 >> keys")]
struct NewKey {
    /// Its id, 0 to 255: one that no other line of the file has.
    #[arg(long, value_name = "N", default_value_t = 1)]
    id: u8,
}

/// Look at tickets and seats.
#[derive(Debug, clap::Args)]
pub struct TicketArgs {
    #[command(subcommand)]
    command: TicketCommand,
}

#[derive(Debug, Subcommand)]
enum TicketCommand {
    Show(ShowTicket),
}

/// Verify a ticket or seat, and show what it says.
///
/// The cluster is asked for its time and the classes' names; with --now no cluster is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau ticket show EQEx... --keys keys --pool ent --region normandie
  preau ticket show EQEx... --keys keys --pool ent --region normandie --now 86400")]
struct ShowTicket {
    /// The token, as the user shows it.
    token: String,
    /// The front-ends' key file.
    #[arg(long, value_name = "FILE")]
    keys: std::path::PathBuf,
    /// The pool that it is to be for.
    #[arg(long, value_name = "NAME")]
    pool: String,
    /// The region that it is to be for.
    #[arg(long, value_name = "NAME")]
    region: String,
    /// The second of cluster time to verify it at, instead of the cluster's now.
    #[arg(long, value_name = "S")]
    now: Option<u32>,
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct NewLine {
    id: u8,
    /// The line for the file.
    line: String,
}

/// What a token says.
#[derive(Debug, Serialize)]
struct Said {
    /// Ticket or seat.
    kind: &'static str,
    pool: String,
    region: String,
    /// In hexadecimal digits.
    id: String,
    /// Names the front-end's life that issued it, in hexadecimal digits.
    issuer: String,
    /// The class's place in the pool's rules, from 0.
    class: u8,
    /// Its name; null where no cluster was asked.
    class_name: Option<String>,
    /// All in seconds of cluster time.
    arrived_s: u32,
    issued_s: u32,
    expires_s: u32,
    /// Null for a ticket.
    started_s: Option<u32>,
    /// Null for a ticket, and where there is no limit.
    limit_s: Option<u32>,
    now_s: u32,
}

pub fn key(args: &KeyArgs, output: Output) -> Result<(), Failure> {
    let KeyCommand::New(new) = &args.command;
    let line = new_key(new.id).map_err(|why| Failure::operation(why.to_string()))?;
    let line = line.trim_end().to_owned();
    output.show(&NewLine { id: new.id, line }, |new| new.line.clone())
}

pub async fn ticket(args: &TicketArgs, output: Output) -> Result<(), Failure> {
    let TicketCommand::Show(args) = &args.command;
    let keys = KeyFile::open(&args.keys).map_err(|why| Failure::usage(why.to_string()))?;
    let (now_s, classes) = match args.now {
        Some(now_s) => (now_s, Vec::new()),
        None => ask(&args.cluster.cluster()?, &args.pool, &args.region).await?,
    };
    let scope = Scope::new(&args.pool, &args.region);
    let token = scope
        .read(keys.keys(), &args.token, now_s)
        .map_err(|why| Failure::operation(why.to_string()))?;
    output.show(&Said::new(args, token, now_s, &classes), Said::text)
}

/// The cluster's time in seconds, and the pool's classes.
async fn ask(
    cluster: &Cluster,
    pool: &str,
    region: &str,
) -> Result<(u32, Vec<v1::Class>), Failure> {
    let request = v1::InspectRequest {
        pool: pool.into(),
        region: region.into(),
        stale: false,
    };
    let answer = cluster
        .call(|channel| {
            let request = request.clone();
            async move { lease(channel).inspect(request).await }
        })
        .await?;
    let now_s = Duration::from_millis(answer.cluster_time_ms).as_secs();
    let rules = answer.pool.and_then(|pool| pool.rules).unwrap_or_default();
    Ok((u32::try_from(now_s).unwrap_or(u32::MAX), rules.classes))
}

impl Said {
    fn new(args: &ShowTicket, token: Token, now_s: u32, classes: &[v1::Class]) -> Self {
        let class = classes.get(usize::from(token.class));
        Self {
            kind: if token.seat.is_some() {
                "seat"
            } else {
                "ticket"
            },
            pool: args.pool.clone(),
            region: args.region.clone(),
            id: format!("{:016x}", token.id),
            issuer: format!("{:08x}", token.issuer),
            class: token.class,
            class_name: class.map(|class| class.name.clone()),
            arrived_s: token.second,
            issued_s: token.issued_s,
            expires_s: token.expires_s(),
            started_s: token.seat.map(|seat| seat.start_s),
            limit_s: token.seat.and_then(|seat| seat.limit_s),
            now_s,
        }
    }

    fn text(&self) -> String {
        let class = match &self.class_name {
            Some(name) => format!("class {name:?}"),
            None => format!("class no. {}", u32::from(self.class) + 1),
        };
        let ago = |second: u32| {
            format!(
                "second {}, {} s ago",
                thousands(second.into()),
                thousands(self.now_s.saturating_sub(second).into())
            )
        };
        let mut lines = vec![
            format!(
                "a good {} of pool {:?}, region {:?}, {class}",
                self.kind, self.pool, self.region
            ),
            format!("id {}, issued by {}", self.id, self.issuer),
            format!("arrived in {}", ago(self.arrived_s)),
        ];
        if let Some(started_s) = self.started_s {
            let limit = match self.limit_s {
                Some(limit) => format!("for {} s at most", thousands(limit.into())),
                None => "without limit".to_owned(),
            };
            lines.push(format!("seated in {}, {limit}", ago(started_s)));
        }
        lines.push(format!(
            "issued in {}; good for another {} s",
            ago(self.issued_s),
            thousands(self.expires_s.saturating_sub(self.now_s).into())
        ));
        lines.join("\n")
    }
}
