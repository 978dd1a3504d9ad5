//! The faults that there are, and what each needs.

use clap::ValueEnum;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// kill -9 of one node, some, or all.
    Kill,
    /// SIGSTOP past every time-out, then SIGCONT.
    Pause,
    /// The leader is cut off from the other nodes, and by lot from front-ends.
    IsolateLeader,
    /// A minority is cut off.
    Split,
    /// Two halves that one node alone can reach.
    Bridge,
    /// Each node reaches its two neighbours alone.
    Ring,
    /// Nothing that some nodes send arrives; what is sent to them does.
    OneWay,
    /// 200 ms and up to 100 ms more between nodes.
    Delay,
    /// 30 packets of a hundred are lost between nodes.
    Loss,
    /// Wall clocks jump by minutes and hours, forward and back.
    Clock,
    /// The disk of a node has no byte free.
    DiskFull,
    /// Writes and syncs hang again and again, for up to a second and a half.
    SlowDisk,
    /// Every write and sync fails.
    IoError,
    /// A file of a node that is down is cut short.
    Truncate,
    /// A bit of a file of a node that is down is turned.
    BitFlip,
    /// A node is added, and another removed.
    Churn,
    /// Leadership is handed over, again and again.
    Transfer,
    /// All nodes are restarted, one after the other.
    RollingRestart,
    /// All nodes are restarted with the new binary, one after the other.
    Upgrade,
}

/// What can be had here.
#[derive(Debug, Clone)]
pub struct Means {
    /// Or why none is.
    pub network: Result<(), String>,
    pub disks: Result<(), String>,
    pub clock: bool,
    pub nodes: u64,
    pub old_release: bool,
}

impl Kind {
    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Why the fault can't be made here; none where it can.
    pub fn lacks(self, means: &Means) -> Option<String> {
        let why = match self {
            Self::Ring if means.nodes < 5 => "three nodes in a ring reach each other all",
            Self::IsolateLeader
            | Self::Split
            | Self::Bridge
            | Self::Ring
            | Self::OneWay
            | Self::Delay
            | Self::Loss => means.network.as_ref().err()?,
            Self::DiskFull | Self::SlowDisk | Self::IoError => means.disks.as_ref().err()?,
            Self::Clock if !means.clock => "needs libfaketime (Debian: faketime)",
            Self::Upgrade if !means.old_release => "needs --upgrade-from",
            _ => return None,
        };
        Some(why.to_owned())
    }

    /// Whether it is a course of steps, or ends in one, that needs a cluster that serves.
    pub fn needs_service(self) -> bool {
        matches!(
            self,
            Self::Truncate
                | Self::BitFlip
                | Self::Churn
                | Self::Transfer
                | Self::RollingRestart
                | Self::Upgrade
        )
    }

    /// Whether the cluster can still be expected to carry out what this needs while the other is on.
    pub fn goes_with(self, other: Self) -> bool {
        // Where answers take longer than votes are waited for, nobody is elected once a node is restarted.
        let mild = matches!(other, Self::Clock | Self::SlowDisk);
        // A disk that hangs or is broken is not filled, and a node without a process not stopped.
        let disk = |kind| {
            matches!(
                kind,
                Self::DiskFull | Self::SlowDisk | Self::IoError | Self::Kill | Self::Pause
            )
        };
        (!self.needs_service() || mild) && !(disk(self) && disk(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_why() {
        let means = Means {
            network: Ok(()),
            disks: Err("fsfreeze: not permitted".into()),
            clock: true,
            nodes: 5,
            old_release: true,
        };
        let lacks = |kind: Kind| kind.lacks(&means);
        for kind in [Kind::DiskFull, Kind::SlowDisk, Kind::IoError] {
            assert_eq!(lacks(kind).unwrap(), "fsfreeze: not permitted");
        }
        let missing = Kind::value_variants()
            .iter()
            .filter(|kind| lacks(**kind).is_some());
        assert_eq!(missing.count(), 3);
    }
}
