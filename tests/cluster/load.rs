//! `preau bench lease` on a cluster, and what its record says.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use api::v1;
use serde::Deserialize;

use crate::harness::{Cluster, preau};

const HOLDERS: u64 = 32;
const SLOTS: u64 = 100;
/// Leases live longer than any test, so that one that is gone was lost.
const TTL_MS: u64 = 120_000;

/// A load that runs.
pub struct Load {
    process: Option<Child>,
    record: PathBuf,
}

impl Load {
    /// Puts load on every node for `seconds`.
    pub fn start(cluster: &Cluster, seconds: u64) -> Self {
        let record = cluster.file("record.jsonl");
        let process = preau()
            .args(["bench", "lease", "--keep", "--output", "json"])
            .args(["--holders", &HOLDERS.to_string()])
            .args(["--slots", &SLOTS.to_string()])
            .args(["--ttl-ms", &TTL_MS.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .args(["--nodes", &cluster.addresses().join(",")])
            .arg("--record")
            .arg(&record)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("preau bench");
        Self {
            process: Some(process),
            record,
        }
    }

    /// Waits until the load is over, and compares its record with what the cluster says.
    pub async fn check(mut self, cluster: &Cluster) -> Service {
        let process = self.process.take().unwrap();
        let ran = tokio::task::spawn_blocking(|| process.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert!(ran.status.success(), "{}", crate::harness::said(&ran));
        let text = std::fs::read_to_string(&self.record).unwrap();
        let lines: Vec<Line> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect();
        never_over_budget(&lines);
        nothing_lost_or_doubled(&lines, &cluster.leases("bench").await);
        Service::new(&lines)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // The test has failed already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// One try of one request, as its sender saw it.
#[derive(Debug, Deserialize)]
struct Line {
    holder: String,
    seq: u64,
    request: Request,
    granted: Option<Granted>,
    failed: Option<Failed>,
    sent_us: u64,
    answered_us: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Take {},
    Renew { kept: u64 },
    Return {},
}

#[derive(Debug, Deserialize)]
struct Granted {
    lease_id: u64,
    slots: u64,
}

/// Its reason and message are shown where a test fails.
#[derive(Debug, Deserialize)]
struct Failed {
    code: String,
    #[serde(flatten)]
    _why: serde_json::Value,
}

fn by_holder(lines: &[Line]) -> BTreeMap<&str, Vec<&Line>> {
    let mut holders = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        holders.entry(line.holder.as_str()).or_default().push(line);
    }
    for lines in holders.values_mut() {
        lines.sort_by_key(|line| line.sent_us);
    }
    holders
}

/// The cluster has what each holder was last told, and no second lease of any.
#[track_caller]
fn nothing_lost_or_doubled(lines: &[Line], leases: &[v1::Lease]) {
    let mut known = HashMap::new();
    for lease in leases {
        let twice = known.insert(lease.holder.as_str(), lease);
        assert!(twice.is_none(), "{} has two leases", lease.holder);
    }
    let holders = by_holder(lines);
    assert_eq!(holders.len() as u64, HOLDERS);
    for (holder, lines) in holders {
        for line in &lines {
            if let Some(failed) = &line.failed {
                let unknown = matches!(
                    failed.code.as_str(),
                    "UNAVAILABLE"
                        | "DEADLINE_EXCEEDED"
                        | "CANCELLED"
                        | "UNKNOWN"
                        | "RESOURCE_EXHAUSTED"
                );
                assert!(unknown, "{holder}: an acknowledged lease is gone: {line:?}");
            }
        }
        let acknowledged = lines.iter().rev().find(|line| line.granted.is_some());
        let last = acknowledged.unwrap_or_else(|| panic!("{holder} was never answered"));
        let granted = last.granted.as_ref().unwrap();
        let lease = known
            .get(holder)
            .unwrap_or_else(|| panic!("{holder}: lost: {last:?}"));
        assert_eq!(lease.lease_id, granted.lease_id, "{holder}");
        let asked = lines.iter().map(|line| line.seq).max().unwrap();
        if lease.seq == last.seq {
            assert_eq!(lease.slots, granted.slots, "{holder}: {last:?}");
        } else {
            // A request without an answer may have been carried out, and none beyond it.
            assert!(
                last.seq < lease.seq && lease.seq <= asked,
                "{holder}: at seq {}, acknowledged {}, asked {asked}",
                lease.seq,
                last.seq
            );
        }
    }
}

/// At no instant might the holders use more than the capacity together: what a grant brings counts from
/// its answer, and what a renewal does not keep is gone when that is sent.
#[track_caller]
fn never_over_budget(lines: &[Line]) {
    let mut changes: Vec<(u64, i64)> = Vec::new();
    for lines in by_holder(lines).into_values() {
        let mut used = 0_i64;
        for line in lines {
            let kept = match line.request {
                Request::Take {} => used,
                Request::Renew { kept } => used.min(kept.try_into().unwrap()),
                Request::Return {} => 0,
            };
            changes.push((line.sent_us, kept - used));
            used = kept;
            if let Some(granted) = &line.granted {
                let slots = granted.slots.try_into().unwrap();
                changes.push((line.answered_us, slots - used));
                used = slots;
            }
        }
    }
    // Of two in the same microsecond the lower comes first: which was earlier can't be told.
    changes.sort_unstable();
    let (mut used, mut most) = (0, 0);
    for (_, change) in changes {
        used += change;
        most = most.max(used);
    }
    let capacity = i64::try_from(HOLDERS * SLOTS).unwrap();
    assert!(most <= capacity, "{most} slots of {capacity}");
    assert!(most > capacity / 2, "hardly any load: {most} slots");
}

/// How well the load was served.
pub struct Service {
    answered: usize,
    /// The longest time without any answer.
    pub gap: Duration,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} requests answered, longest gap in service {:.1?}",
            self.answered, self.gap
        )
    }
}

impl Service {
    fn new(lines: &[Line]) -> Self {
        let mut answers: Vec<_> = lines
            .iter()
            .filter(|line| line.failed.is_none())
            .map(|line| line.answered_us)
            .collect();
        answers.sort_unstable();
        let gap = answers.windows(2).map(|pair| pair[1] - pair[0]).max();
        Self {
            answered: answers.len(),
            gap: Duration::from_micros(gap.unwrap_or(u64::MAX)),
        }
    }
}

/// The checks see what they are there to see.
mod tests {
    use super::*;

    /// A record of `HOLDERS` holders that each took a fair lease.
    fn record() -> (Vec<Line>, Vec<v1::Lease>) {
        let line = |n: u64| Line {
            holder: format!("bench-{n}"),
            seq: 1,
            request: Request::Take {},
            granted: Some(Granted {
                lease_id: n,
                slots: SLOTS,
            }),
            failed: None,
            sent_us: n,
            answered_us: 1_000 + n,
        };
        let lease = |n: u64| v1::Lease {
            lease_id: n,
            holder: format!("bench-{n}"),
            seq: 1,
            slots: SLOTS,
            ..Default::default()
        };
        (
            (0..HOLDERS).map(line).collect(),
            (0..HOLDERS).map(lease).collect(),
        )
    }

    #[test]
    fn a_fair_record_passes() {
        let (lines, leases) = record();
        never_over_budget(&lines);
        nothing_lost_or_doubled(&lines, &leases);
    }

    #[test]
    #[should_panic(expected = "bench-3: lost")]
    fn a_lost_lease_is_seen() {
        let (lines, mut leases) = record();
        leases.remove(3);
        nothing_lost_or_doubled(&lines, &leases);
    }

    #[test]
    #[should_panic(expected = "bench-5 has two leases")]
    fn a_doubled_lease_is_seen() {
        let (lines, mut leases) = record();
        leases.push(v1::Lease {
            lease_id: 99,
            ..leases[5].clone()
        });
        nothing_lost_or_doubled(&lines, &leases);
    }

    #[test]
    #[should_panic(expected = "bench-7")]
    fn a_lost_renewal_is_seen() {
        let (lines, mut leases) = record();
        leases[7].slots -= 1;
        nothing_lost_or_doubled(&lines, &leases);
    }

    #[test]
    #[should_panic(expected = "3201 slots of 3200")]
    fn a_slot_too_many_is_seen() {
        let (mut lines, _) = record();
        lines[2].granted.as_mut().unwrap().slots += 1;
        never_over_budget(&lines);
    }
}
