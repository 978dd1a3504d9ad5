//! `preau lease`: leases by hand, for scripts and diagnosis.

use std::time::{SystemTime, UNIX_EPOCH};

use api::v1;
use clap::Subcommand;
use quota::limits::MAX_SLOTS;
use serde::Serialize;

use crate::cluster::{self, Cluster, lease};
use crate::failure::Failure;
use crate::output::{Output, table, thousands};

/// Take, renew, return and list leases by hand.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Take(Take),
    Renew(Renew),
    Return(Return),
    List(List),
}

/// Take a lease for a holder. It lasts for the pool's ttl unless it is renewed.
///
/// Being granted fewer slots than wanted, or none, is an ordinary answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau lease take ent normandie portal-7 --wanted 500
  preau lease take ent normandie portal-7 --wanted 500 --epoch 1 --seq 1    # safe to repeat")]
struct Take {
    /// The pool's name.
    pool: String,
    /// The region's name.
    region: String,
    /// The holder's name.
    holder: String,
    /// Slots that the holder could use now.
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    wanted: u64,
    /// Which life of the holder this is, at least 1; supersedes lower ones [default: milliseconds since 1970].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epoch: Option<u64>,
    /// The number of this request within the epoch; the same for a retry.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seq: u64,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Keep a lease, give slots of it back, or ask for more.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau lease renew 42
  preau lease renew 42 --kept 100 --wanted 500")]
struct Renew {
    /// The lease's id, as take and list say it.
    lease: u64,
    /// Slots still used; those above it are given back [default: all].
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    kept: Option<u64>,
    /// Slots that the holder could use now [default: as before].
    #[arg(long, value_name = "SLOTS", value_parser = clap::value_parser!(u64).range(0..=MAX_SLOTS))]
    wanted: Option<u64>,
    /// The number of this request within the epoch [default: the next].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seq: Option<u64>,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Give a lease back, with all of its slots.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau lease return 42")]
struct Return {
    /// The lease's id, as take and list say it.
    lease: u64,
    /// The number of this request within the epoch [default: the next].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seq: Option<u64>,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// List leases that count against a pool.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau lease list
  preau lease list --pool ent --region normandie --output json
  preau lease list --holder portal-7")]
struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Which leases.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Of one pool alone.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Of one region alone.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Of one holder alone.
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Answer from what the node has, without asking the leader; may be out of date.
    #[arg(long)]
    stale: bool,
}

impl Filter {
    /// As a call says it.
    pub fn request(&self) -> v1::ListLeasesRequest {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        v1::ListLeasesRequest {
            pool: name(&self.pool),
            region: name(&self.region),
            holder: name(&self.holder),
            stale: self.stale,
            ..Default::default()
        }
    }
}

/// What a holder has now.
#[derive(Debug, Serialize)]
struct Grant {
    lease_id: u64,
    slots: u64,
    target: u64,
    ttl_ms: u64,
    drift_ppm: u32,
    /// As sent, for the next request of the same epoch; not known to a renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    seq: u64,
}

#[derive(Debug, Serialize)]
struct Returned {
    lease_id: u64,
    returned: u64,
}

#[derive(Debug, Serialize)]
struct Leases {
    cluster_time_ms: u64,
    leases: Vec<Lease>,
}

#[derive(Debug, Serialize)]
struct Lease {
    lease_id: u64,
    pool: String,
    region: String,
    holder: String,
    epoch: u64,
    seq: u64,
    slots: u64,
    wanted: u64,
    target: u64,
    expires_ms: u64,
    state: &'static str,
    /// Null where the holder makes no reports.
    report: Option<Report>,
}

/// What a holder reported last.
#[derive(Debug, Serialize)]
struct Report {
    in_use: u64,
    waiting: u64,
    spare: u64,
    floor: u64,
    reported_ms: u64,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.command {
        Command::Take(args) => take(args, output).await,
        Command::Renew(args) => renew(args, output).await,
        Command::Return(args) => give_back(args, output).await,
        Command::List(args) => list(args, output).await,
    }
}

async fn take(args: &Take, output: Output) -> Result<(), Failure> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let request = v1::LeaseRequest {
        pool: args.pool.clone(),
        region: args.region.clone(),
        holder: args.holder.clone(),
        epoch: args.epoch.unwrap_or(now_ms.max(1)),
        seq: args.seq,
        wanted: args.wanted,
    };
    let cluster = args.cluster.cluster()?;
    let answer = cluster.call(|channel| {
        let request = request.clone();
        async move { lease(channel).lease(request).await }
    });
    let grant = answer.await?.grant.unwrap_or_default();
    let grant = Grant::new(grant, Some(request.epoch), request.seq);
    output.show(&grant, Grant::text)
}

async fn renew(args: &Renew, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let (seq, kept, wanted) = match (args.seq, args.kept, args.wanted) {
        (Some(seq), Some(kept), Some(wanted)) => (seq, kept, wanted),
        (seq, kept, wanted) => {
            let now = find(&cluster, args.lease).await?;
            (
                seq.unwrap_or(now.seq + 1),
                kept.unwrap_or(now.slots),
                wanted.unwrap_or(now.wanted),
            )
        }
    };
    let request = v1::RenewRequest {
        lease_id: args.lease,
        seq,
        kept,
        wanted,
    };
    let answer = cluster.call(|channel| async move { lease(channel).renew(request).await });
    let grant = answer.await?.grant.unwrap_or_default();
    output.show(&Grant::new(grant, None, seq), Grant::text)
}

async fn give_back(args: &Return, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let seq = match args.seq {
        Some(seq) => seq,
        None => find(&cluster, args.lease).await?.seq + 1,
    };
    let request = v1::ReturnRequest {
        lease_id: args.lease,
        seq,
    };
    let answer = cluster.call(|channel| async move { lease(channel).r#return(request).await });
    let returned = Returned {
        lease_id: args.lease,
        returned: answer.await?.returned,
    };
    output.show(&returned, |r| {
        let slots = thousands(r.returned);
        format!("lease {} returned: {slots} slots freed", r.lease_id)
    })
}

async fn list(args: &List, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let listed = cluster.leases(&args.filter.request(), |_| false).await?;
    let leases = Leases {
        cluster_time_ms: listed.cluster_time_ms,
        leases: listed.leases.into_iter().map(Lease::from).collect(),
    };
    output.show(&leases, |leases| {
        let mut rows = table(&[
            ">LEASE", "POOL", "REGION", "HOLDER", "STATE", ">SLOTS", ">TARGET", ">WANTED",
            ">IN USE", ">QUEUED", ">EPOCH", ">SEQ", ">LEFT MS",
        ]);
        let reported = |report: &Option<Report>, figure: fn(&Report) -> u64| {
            report
                .as_ref()
                .map_or("-".into(), |report| thousands(figure(report)))
        };
        for l in &leases.leases {
            rows.add_row([
                l.lease_id.to_string(),
                l.pool.clone(),
                l.region.clone(),
                l.holder.clone(),
                l.state.to_owned(),
                thousands(l.slots),
                thousands(l.target),
                thousands(l.wanted),
                reported(&l.report, |report| report.in_use),
                reported(&l.report, |report| report.waiting),
                l.epoch.to_string(),
                l.seq.to_string(),
                thousands(l.expires_ms.saturating_sub(leases.cluster_time_ms)),
            ]);
        }
        rows.trim_fmt()
    })
}

/// The lease of this id, as the cluster knows it.
async fn find(cluster: &Cluster, id: u64) -> Result<v1::Lease, Failure> {
    let all = v1::ListLeasesRequest::default();
    let mut listed = cluster.leases(&all, |lease| lease.lease_id == id).await?;
    listed.leases.retain(|lease| lease.lease_id == id);
    listed.leases.pop().ok_or_else(|| {
        Failure::operation(format!(
            "lease {id} is not known: it ended, or never was; look at those there are: preau lease \
             list"
        ))
    })
}

impl Grant {
    fn new(grant: v1::Grant, epoch: Option<u64>, seq: u64) -> Self {
        Self {
            lease_id: grant.lease_id,
            slots: grant.slots,
            target: grant.target,
            ttl_ms: grant.ttl_ms,
            drift_ppm: grant.drift_ppm,
            epoch,
            seq,
        }
    }

    fn text(&self) -> String {
        let (slots, ttl_ms) = (thousands(self.slots), thousands(self.ttl_ms));
        let mut text = format!("lease {}: {slots} slots for {ttl_ms} ms", self.lease_id);
        if self.target != self.slots {
            text += &format!(", target {}", thousands(self.target));
        }
        text
    }
}

impl From<v1::Lease> for Lease {
    fn from(lease: v1::Lease) -> Self {
        let state = match lease.state() {
            v1::LeaseState::Live => "live",
            v1::LeaseState::Closing => "closing",
            v1::LeaseState::Unspecified => "unknown",
        };
        Self {
            lease_id: lease.lease_id,
            pool: lease.pool,
            region: lease.region,
            holder: lease.holder,
            epoch: lease.epoch,
            seq: lease.seq,
            slots: lease.slots,
            wanted: lease.wanted,
            target: lease.target,
            expires_ms: lease.expires_ms,
            state,
            report: lease.report.map(|report| Report {
                in_use: report.in_use,
                waiting: report.waiting,
                spare: report.spare,
                floor: report.floor,
                reported_ms: report.reported_ms,
            }),
        }
    }
}
