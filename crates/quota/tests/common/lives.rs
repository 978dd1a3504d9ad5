//! Front-ends that start anew, give their leases back and are removed, and the one that makes no reports.

use super::fronts::*;
use super::*;

impl Fronts {
    pub fn plain(&mut self, kept_percent: u64, wanted: u64) {
        self.plain.seq += 1;
        let seq = self.plain.seq;
        let live = self
            .plain
            .lease
            .filter(|_| self.plain.until_ms > self.now_ms);
        let kept = self.plain.slots * kept_percent / 100;
        let command = match live {
            Some(lease) => renew(lease, seq, kept, wanted),
            None => take(REGIONS[0], "plain", 1, seq, wanted),
        };
        let grant = granted(self.apply(command));
        self.plain = Plain {
            lease: Some(grant.lease),
            seq,
            slots: grant.slots,
            wanted,
            until_ms: self.now_ms + grant.ttl_ms,
        };
    }

    /// The process is killed, and another takes its place. The first may live on, cut off from everyone.
    pub fn restart(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        self.earlier.push((front.slots, front.until_ms));
        if front.floor > 0 {
            self.cut.insert((at, front.epoch), front.floor);
        }
        let (epoch, queue) = (front.epoch.max(1) + 1, std::mem::take(&mut front.queue));
        *front = Front {
            epoch,
            queue,
            ..Front::default()
        };
        self.ensure(at);
    }

    pub fn give_back(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        let Some(lease) = front.lease else { return };
        front.seq += 1;
        let seq = front.seq;
        if self.apply(super::give_back(lease, seq)).is_ok() {
            let front = &mut self.fronts[at];
            (front.lease, front.slots, front.in_use, front.floor) = (None, 0, 0, 0);
            front.known.clear();
        }
    }

    /// The operator vouches that it has stopped.
    pub fn remove(&mut self, at: usize) {
        self.requests += 1;
        let command = remove_holder(&self.requests.to_string(), &format!("front-{at}"));
        if self.apply(command).is_ok() {
            self.cut.retain(|(front, _), _| *front != at);
            self.fronts[at].floor = 0;
            self.fronts[at].known.clear();
        }
    }
}
