//! Open files, of which every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a gate has open beside its connections: listeners, keys, the way to the nodes.
const OTHERS: u64 = 256;

/// Has the system allow as many open files as so many connections need, or as many as it lets this process have; and says
/// where those are fewer. Shells and service managers begin with 1,024, which a single stranger could use up.
pub fn allow(connections: u64) {
    let wanted = connections.saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let reached = |limit: Option<u64>| limit.is_none_or(|most| most >= wanted);
    if reached(limit.current) {
        return;
    }
    let raised = Rlimit {
        current: Some(limit.maximum.map_or(wanted, |most| most.min(wanted))),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let current = getrlimit(Resource::Nofile).current;
    if !reached(current) {
        tracing::warn!(
            limit = current,
            wanted,
            "the system allows fewer open files than limits.connections need: raise it (ulimit -n, LimitNOFILE)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_needed_and_no_more_than_may_be() {
        let before = getrlimit(Resource::Nofile);
        let now = || getrlimit(Resource::Nofile).current;
        let low = Rlimit {
            current: Some(OTHERS),
            ..before
        };
        setrlimit(Resource::Nofile, low).unwrap();
        allow(0);
        assert_eq!(now(), Some(OTHERS), "it was enough");
        allow(100);
        assert_eq!(now(), Some(OTHERS + 100));
        allow(u64::MAX);
        assert_eq!(now(), before.maximum.or(Some(u64::MAX)));
        setrlimit(Resource::Nofile, before).unwrap();
    }
}
