//! What front-ends report, and what they are answered.

use crate::command::{Renew, Report};
use crate::outcome::{Outcome, Reply, Reported};
use crate::state::State;

/// Names a life of a holder as the issuer of tokens: a fingerprint, which two may share by chance.
pub fn issuer(holder: &str, epoch: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&epoch.to_le_bytes()), holder.as_bytes())
}

impl State {
    pub(crate) fn report(&mut self, report: &Report) -> Outcome {
        let waiting: u64 = report.waiting.iter().map(|b| u64::from(b.users)).sum();
        let wanted = report.in_use + waiting + report.spare;
        let renewed = self.renew(&Renew {
            lease: report.lease,
            seq: report.seq,
            kept: report.kept,
            wanted: wanted.min(crate::limits::MAX_SLOTS),
        })?;
        let Reply::Grant(grant) = renewed else {
            return Ok(renewed);
        };
        let rules = crate::rules::Rules::default();
        Ok(Reply::Reported(Box::new(Reported {
            grant,
            open: grant.slots >= wanted,
            admit: Vec::new(),
            shorten: 0,
            floor: 0,
            claims: Vec::new(),
            mode: crate::rules::Mode::Open,
            reason: String::new(),
            others_wait: false,
            session: rules.session,
            reclaim: rules.reclaim,
            now_ms: self.now_ms,
            closed_s: None,
            opened_s: None,
            overtake_s: rules.overtake_s,
            rules_revision: 1,
            flows: Vec::new(),
            asked: Vec::new(),
        })))
    }
}
