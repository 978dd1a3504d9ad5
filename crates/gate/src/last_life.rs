//! The lease of the gate that ran here before, under the same name. While somebody may still use it, the cluster must
//! wait until it has run out, and so must whoever was in. But a file that is locked for as long as a gate runs says
//! that nobody does: then the lease that it names is given back at once.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use client::{Nodes, Status};
use fs2::FileExt as _;
use tonic::Status as CallStatus;

use crate::config::Config;

/// How long one try to give the lease back may take.
const WITHIN: Duration = Duration::from_secs(3);
/// The file's first word: another format has another.
const FORMAT: &str = "preau-gate-1";
/// No file of ours is longer, in bytes.
const MAX_BYTES: u64 = 128;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LastLifeError {
    /// It can't be opened, read or locked.
    #[error("state: {path}: {why}; expected a file that can be written, of no other use")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// Another gate has it.
    #[error("state: {path}: another gate that runs has it; expected one file for each")]
    Taken {
        /// The file.
        path: String,
    },
    /// It is no such file.
    #[error("state: {path}: it is no gate's; expected an empty file, or none")]
    Foreign {
        /// The file.
        path: String,
    },
}

/// A lease by its id, and by the epoch of its holder: no other cluster has one that is the same in both.
type Lease = (u64, u64);

/// The file, locked.
#[derive(Debug)]
pub struct LastLife {
    file: File,
    /// The lease of the last life, until it is given back or is known to have ended.
    before: Option<Lease>,
    /// That of this one, as the file has it.
    written: Option<Lease>,
}

impl LastLife {
    /// Opens the file, which is made where there is none, and keeps others out.
    ///
    /// # Errors
    /// Where it can't be used, or another gate uses it.
    pub fn open(path: &Path) -> Result<Self, LastLifeError> {
        let shown = path.display().to_string();
        let unusable = |why| LastLifeError::Unusable {
            path: shown.clone(),
            why,
        };
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = file.map_err(unusable)?;
        if let Err(why) = file.try_lock_exclusive() {
            return Err(match why.kind() == fs2::lock_contended_error().kind() {
                true => LastLifeError::Taken { path: shown },
                false => unusable(why),
            });
        }
        let mut text = String::new();
        let read = (&mut file).take(MAX_BYTES + 1).read_to_string(&mut text);
        read.map_err(unusable)?;
        let before = match text.trim() {
            "" => None,
            text => Some(parse(text).ok_or(LastLifeError::Foreign { path: shown })?),
        };
        Ok(Self {
            file,
            before,
            written: None,
        })
    }

    /// This life has a lease: gives back the last one's, once, and notes this one's for the next.
    pub async fn go_on(&mut self, nodes: &Nodes, config: &Config, status: Status) {
        let lease = (status.lease_id, status.epoch);
        if lease.0 == 0 || self.written == Some(lease) {
            return;
        }
        if let Some(before) = self.before.filter(|before| *before != lease) {
            match give_back(nodes, config, before).await {
                Ok(slots) => tracing::info!(slots, "the lease of the life before was given back"),
                // It runs out by itself.
                Err(error) => tracing::warn!(
                    status = error.message(),
                    "the lease of the life before could not be given back"
                ),
            }
            self.before = None;
        }
        match self.write(lease) {
            Ok(()) => self.written = Some(lease),
            Err(error) => tracing::warn!(%error, "state: the lease can't be noted"),
        }
    }

    /// In place, for the lock is on the file. What is left where the machine stops half way is no lease's name, or none
    /// that is known: that lease runs out by itself.
    fn write(&mut self, (id, epoch): Lease) -> std::io::Result<()> {
        let text = format!("{FORMAT} {id} {epoch}\n");
        self.file.seek(SeekFrom::Start(0))?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }
}

fn parse(text: &str) -> Option<Lease> {
    let mut words = text.split(' ');
    let (format, id, epoch) = (words.next()?, words.next()?, words.next()?);
    let lease = (id.parse().ok()?, epoch.parse().ok()?);
    (format == FORMAT && words.next().is_none()).then_some(lease)
}

/// Gives a lease back, where it is of this gate's name and still counts. Says how many slots that freed.
async fn give_back(nodes: &Nodes, config: &Config, (id, epoch): Lease) -> Result<u64, CallStatus> {
    let request = v1::ListLeasesRequest {
        pool: config.pool.clone(),
        region: config.region.clone(),
        holder: config.name.clone().unwrap_or_default(),
        ..v1::ListLeasesRequest::default()
    };
    let listed = nodes.call(WITHIN, |channel| {
        let request = request.clone();
        async move { BudgetServiceClient::new(channel).list_leases(request).await }
    });
    let leases = listed.await?.into_inner().leases;
    let found = leases
        .iter()
        .find(|lease| lease.lease_id == id && lease.epoch == epoch);
    let Some(lease) = found else {
        return Ok(0);
    };
    let request = v1::ReturnRequest {
        lease_id: id,
        seq: lease.seq.saturating_add(1),
    };
    let returned = nodes.call(WITHIN, |channel| async move {
        LeaseServiceClient::new(channel).r#return(request).await
    });
    Ok(returned.await?.into_inner().returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gate_at_a_time_has_the_file_and_the_next_reads_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut first = LastLife::open(&path).unwrap();
        assert_eq!(first.before, None);
        assert!(matches!(
            LastLife::open(&path),
            Err(LastLifeError::Taken { .. })
        ));
        first.write((1 << 40, 7)).unwrap();
        first.write((8, 9)).unwrap();
        drop(first);
        assert_eq!(LastLife::open(&path).unwrap().before, Some((8, 9)));
    }

    #[test]
    fn a_file_of_some_other_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let long = "a".repeat(1_000);
        for text in [
            "keys",
            "preau-gate-1 1",
            "preau-gate-2 1 2",
            "preau-gate-1 1 2 3",
            &long,
        ] {
            std::fs::write(&path, text).unwrap();
            let opened = LastLife::open(&path);
            assert!(
                matches!(opened, Err(LastLifeError::Foreign { .. })),
                "{text}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
