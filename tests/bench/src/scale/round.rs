//! What a round of sharing costs: by the rules alone, in this process, for from outside a node nobody can tell it
//! from the rest.

use std::time::{Duration, Instant};

use preau::parts::Failure;
use quota::limits::{MAX_CHANGES, MAX_SLOTS, REPORTING_ROUND_MS};
use quota::{
    Batch, Change, Command, Configure, LeaseId, Outcome, Renew, Reply, SetPool, SetRegion, State,
    Take,
};

use crate::figures::Spread;

/// Rounds that are measured.
const ROUNDS: usize = 200;
const POOL: &str = "pool";
/// Slots that each region is guaranteed, and wants more or less.
const NOMINAL: u64 = 64;

/// How long it takes to share one pool out among so many regions, each with a holder, where together they want more
/// than there is: a renewal that changes what its region wants, and the round that follows from it. The median.
///
/// # Errors
/// Where the rules refuse what must be right.
pub fn cost(regions: usize) -> Result<Duration, Failure> {
    let (mut state, leases) = country(regions)?;
    let mut took = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // Each wants one more, then one less.
        let turn = (round / regions) as u64;
        let renew = Renew {
            lease: leases[round % regions],
            seq: 2 + turn,
            kept: 0,
            wanted: NOMINAL + (turn + 1) % 2,
        };
        let batch = Batch {
            // As far apart as rounds are at least.
            time_ms: state.now_ms() + REPORTING_ROUND_MS,
            commands: vec![Command::Renew(renew)],
        };
        let began = Instant::now();
        let outcomes = state.apply(&batch);
        took.push(began.elapsed().as_secs_f64());
        outcomes
            .into_iter()
            .try_for_each(|outcome| done(outcome).map(drop))?;
    }
    let spread = Spread::of(took);
    Ok(Duration::from_secs_f64(
        spread.map_or(0.0, |spread| spread.median),
    ))
}

/// A pool with a holder in each region, and one that wants all the rest.
fn country(regions: usize) -> Result<(State, Vec<LeaseId>), Failure> {
    let mut state = State::default();
    let region = |number: usize| format!("region-{number:04}");
    let mut changes = vec![Change::SetPool(SetPool {
        name: POOL.into(),
        capacity: NOMINAL * regions as u64,
        ttl_ms: Some(3_600_000),
        drift_ppm: None,
    })];
    changes.extend((0..=regions).map(|number| {
        Change::SetRegion(SetRegion {
            pool: POOL.into(),
            name: region(number),
            nominal: if number < regions { NOMINAL } else { 0 },
            ceiling: None,
            weight: 1,
        })
    }));
    let configures = changes.chunks(MAX_CHANGES).enumerate();
    let configures = configures.map(|(number, changes)| {
        Command::Configure(Configure {
            request_id: format!("bench-{number}"),
            expected_revision: None,
            changes: changes.to_vec(),
        })
    });
    let commands = configures.collect();
    let made = state.apply(&Batch {
        time_ms: 0,
        commands,
    });
    made.into_iter()
        .try_for_each(|outcome| done(outcome).map(drop))?;
    let mut leases = Vec::with_capacity(regions);
    for number in 0..=regions {
        let take = Take {
            pool: POOL.into(),
            region: region(number).into(),
            holder: format!("holder-{number}").into(),
            epoch: 1,
            seq: 1,
            wanted: if number < regions { NOMINAL } else { MAX_SLOTS },
        };
        let commands = vec![Command::Take(take)];
        let taken = state.apply(&Batch {
            time_ms: 0,
            commands,
        });
        for outcome in taken {
            if let Reply::Grant(grant) = done(outcome)? {
                leases.push(grant.lease);
            }
        }
    }
    // All but the one that wants the rest.
    leases.truncate(regions);
    Ok((state, leases))
}

fn done(outcome: Outcome) -> Result<Reply, Failure> {
    outcome.map_err(|refusal| Failure::operation(format!("the rules refuse: {refusal}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_due_after_each_renewal() {
        let (mut state, leases) = country(5).unwrap();
        assert_eq!(leases.len(), 5);
        let pool = state.pool(POOL).unwrap();
        assert!(pool.wanted > pool.capacity);
        let renew = Renew {
            lease: leases[0],
            seq: 2,
            kept: 0,
            wanted: 1,
        };
        let now_ms = state.now_ms() + REPORTING_ROUND_MS;
        let before: Vec<u64> = state.regions(POOL).iter().map(|r| r.target).collect();
        state.apply(&Batch {
            time_ms: now_ms,
            commands: vec![Command::Renew(renew)],
        });
        let after: Vec<u64> = state.regions(POOL).iter().map(|r| r.target).collect();
        assert_eq!((before[0], after[0]), (NOMINAL, 1));
        assert_eq!(after[5], before[5] + NOMINAL - 1, "what is idle is lent");
        assert!(cost(1).is_ok() && cost(300).is_ok());
    }
}
