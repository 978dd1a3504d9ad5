//! Linearizability of the lease and the admin history.
//!
//! Leases are searched holder by holder, which finds whatever a holder sees by itself: what is read of several of
//! them at once is held against one instant in [`crate::reads`], and what they may use together against the
//! capacity in [`crate::budget`]. A pool of few holders and requests is searched as a whole besides, where
//! capacities and the figures of the pool count too, unless some of its holders' requests are not recorded.

mod calls;
mod requests;
mod revisions;
mod shown;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::admin::Admin;
use crate::history::{Answer, Call, Operation, Record};
use crate::lease::{Asked, Leases, Step};
use crate::verdict::{Rule, Violation, violation};
use crate::wgl::{self, Found, Timed};
use calls::{is_of, matters, pool_of, removed, removes, request_id};
use revisions::Revisions;
use shown::Shown;

/// How soon after its last request a holder may be forgotten: it is remembered for a quarter of an hour, by a clock
/// that may be fast.
const FORGETS_NS: u64 = 12 * 60 * 1_000_000_000;
/// The shortest time to live that a pool can have, at the widest drift: for leases of which nothing else is known.
const SHORTEST_LEASE_NS: u64 = 800_000_000;

/// Most holders and requests of a pool that are searched together: the ways to explain what is read of all holders
/// at once are as many as there are sets of them, and a long history has a hard place somewhere.
const MOST_TOGETHER: (usize, usize) = (4, 1_000);

/// Checks it, each search in at most so many steps.
pub fn check(history: &[Record], most_steps: u64) -> Vec<Violation> {
    let index = Index::of(history);
    let mut found = Vec::new();
    for (&pool, operations) in &index.pools {
        let mut of_holder: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in operations {
            for holder in index.concerned(pool, &operation.call) {
                of_holder.entry(holder).or_default().push(operation);
            }
        }
        let mut wrong = false;
        for (holder, operations) in of_holder {
            let before = found.len();
            found.extend(index.search(pool, Some(holder), &operations, most_steps));
            wrong |= found.len() > before;
        }
        // What one holder sees wrong the whole pool does too: said once it is enough.
        let (holders, requests) = MOST_TOGETHER;
        let few = index.holders[pool].len() <= holders && operations.len() <= requests;
        if !wrong && few && !index.partly.contains(pool) {
            found.extend(index.search(pool, None, operations, most_steps));
        }
    }
    let timed: Vec<Timed<&Operation>> = index.admin.iter().map(|o| index.timed(o)).collect();
    let model = Admin {
        retried: &index.retried,
    };
    let place = "the budget";
    found.extend(verdict(
        wgl::check(&model, &timed, most_steps),
        place,
        &timed,
        |o| format!("{:?} was answered {:?}", o.call, o.answer),
    ));
    found
}

/// What the searches have in common.
struct Index<'a> {
    pools: BTreeMap<&'a str, Vec<&'a Operation>>,
    admin: Vec<&'a Operation>,
    /// All holders that ever took a lease, by pool.
    holders: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Pools with holders of whom it is recorded what they use and not what they ask.
    partly: BTreeSet<&'a str>,
    owners: BTreeMap<u64, (&'a str, u64)>,
    retried: BTreeSet<&'a str>,
    /// When requests of operators were first answered.
    answered: BTreeMap<&'a str, u64>,
    revisions: Revisions,
    end_ns: u64,
}

impl<'a> Index<'a> {
    fn of(history: &'a [Record]) -> Self {
        let operations = history.iter().filter_map(|record| match record {
            Record::Operation(operation) => Some(operation),
            _ => None,
        });
        // A request that is sent again is carried out once: of those whose outcome is unknown the first stands for
        // all, as it may still be carried out when the others are.
        let mut unknown = HashSet::new();
        let operations: Vec<&Operation> = operations
            .filter(|o| matters(o))
            .filter(|o| !matches!(o.answer, Answer::Unknown(_)) || unknown.insert(&o.call))
            .collect();
        let mut index = Self {
            pools: BTreeMap::new(),
            holders: BTreeMap::new(),
            partly: BTreeSet::new(),
            admin: Vec::new(),
            owners: BTreeMap::new(),
            retried: BTreeSet::new(),
            answered: BTreeMap::new(),
            revisions: Revisions::of(&operations),
            end_ns: operations.iter().map(|o| o.return_ns).max().unwrap_or(0),
        };
        let mut admin_ids = BTreeSet::new();
        for &operation in &operations {
            if let Some(id) = request_id(&operation.call) {
                if !admin_ids.insert(id) {
                    index.retried.insert(id);
                }
                if matches!(
                    operation.answer,
                    Answer::Configured { .. } | Answer::HolderRemoved { .. }
                ) {
                    let first = index.answered.entry(id).or_insert(u64::MAX);
                    *first = (*first).min(operation.return_ns);
                }
            }
            if let Some(pool) = pool_of(&operation.call) {
                index.pools.entry(pool).or_default().push(operation);
                let holders = index.holders.entry(pool).or_default();
                if let Call::Take { holder, .. } = &operation.call {
                    holders.insert(holder);
                }
            }
            match (&operation.call, &operation.answer) {
                (Call::Take { holder, epoch, .. }, Answer::Granted(granted)) => {
                    index.owners.insert(granted.lease, (holder, *epoch));
                }
                (_, Answer::Leases(listed)) => {
                    let owner = listed
                        .iter()
                        .map(|l| (l.lease, (l.holder.as_str(), l.epoch)));
                    index.owners.extend(owner);
                }
                _ => {}
            }
        }
        for record in history {
            if let Record::Use(used) = record
                && let Some(holders) = index.holders.get(used.pool.as_str())
                && !holders.contains(used.holder.as_str())
            {
                index.partly.insert(&used.pool);
            }
        }
        for &operation in &operations {
            match &operation.call {
                Call::Configure { changes, .. } => {
                    index.admin.push(operation);
                    for (pool, of_pool) in &mut index.pools {
                        if changes.iter().any(|change| is_of(change, pool)) {
                            of_pool.push(operation);
                        }
                    }
                }
                Call::RemoveHolder { pool: None, .. } => {
                    index
                        .pools
                        .values_mut()
                        .for_each(|of_pool| of_pool.push(operation));
                }
                Call::Budget { .. } => index.admin.push(operation),
                _ => {}
            }
        }
        index
    }

    /// When an operation may take effect. A request of an operator's that was sent again and answered then can have
    /// none any more after that, and changes nothing while the revision stays the same.
    fn timed(&self, operation: &'a Operation) -> Timed<&'a Operation> {
        let surely = !matches!(operation.answer, Answer::Unknown(_));
        let answered = request_id(&operation.call).and_then(|id| self.answered.get(id));
        Timed {
            from: match operation.call {
                Call::Configure { .. } if !surely => {
                    self.revisions.changed_from(operation.invoke_ns)
                }
                _ => operation.invoke_ns,
            },
            until: match surely {
                true => operation.return_ns,
                false => answered.copied().unwrap_or(u64::MAX),
            },
            surely,
            operation,
        }
    }

    /// The holders whose leases a request says something of.
    fn concerned(&self, pool: &str, call: &'a Call) -> Vec<&'a str> {
        match call {
            Call::Take { holder, .. } | Call::RemoveHolder { holder, .. } => vec![holder],
            Call::Renew { lease, .. } | Call::Report { lease, .. } | Call::Return { lease, .. } => {
                self.owners
                    .get(lease)
                    .map(|(holder, _)| *holder)
                    .into_iter()
                    .collect()
            }
            // Capacities are no holder's own.
            Call::Configure { changes, .. } if !changes.iter().any(removes) => vec![],
            Call::Leases { .. } | Call::Configure { .. } => {
                let holders = self.holders.get(pool).into_iter().flatten();
                holders.copied().collect()
            }
            Call::Inspect { .. } | Call::Budget { .. } => vec![],
        }
    }

    fn search(
        &self,
        pool: &'a str,
        holder: Option<&'a str>,
        operations: &[&'a Operation],
        most_steps: u64,
    ) -> Option<Violation> {
        let steps = self.steps(operations);
        let model = Leases {
            pool,
            holder,
            owners: &self.owners,
            retried: &self.retried,
            forgets: removed(operations)
                || steps
                    .iter()
                    .any(|s| matches!(s.operation, Step::Forgets(_))),
        };
        let place = match holder {
            Some(holder) => format!("pool {pool:?}, holder {holder:?}"),
            None => format!("pool {pool:?}"),
        };
        verdict(
            wgl::check(&model, &steps, most_steps),
            &place,
            &steps,
            |step| match step {
                Step::Asked(call, answer) => format!("{call:?} was answered {answer:?}"),
                other => format!("{other:?}"),
            },
        )
    }

    /// The requests, and what time may do to the leases that they got.
    fn steps(&self, operations: &[&'a Operation]) -> Vec<Timed<Step<'a>>> {
        let requests = self.requests(operations);
        let shown = Shown::of(operations, requests.keys().map(|asked| asked.holder));
        let mut steps: Vec<Timed<Step<'a>>> = operations
            .iter()
            .map(|o| {
                let Timed {
                    mut from,
                    mut until,
                    surely,
                    ..
                } = self.timed(o);
                let step = Step::Asked(&o.call, &o.answer);
                let asked = self.names(&o.call).filter(|_| !surely);
                if let Some((asked, request)) = asked.and_then(|a| Some((a, requests.get(&a)?))) {
                    from = shown.carried_out_from(asked, request.lease, from);
                    until = request.carried_out_by_ns;
                }
                Timed {
                    from,
                    until,
                    surely,
                    operation: step,
                }
            })
            .collect();
        for (&asked, request) in &requests {
            let expires = request.invoke_ns + request.lasts_ns.unwrap_or(SHORTEST_LEASE_NS);
            let expires = (expires, request.expires_by_ns);
            let expires = shown.expires_within(asked, request.lease, request.answered_ns, expires);
            let forgets = request.invoke_ns + FORGETS_NS;
            let ends = [
                (expires, Step::Expires(asked)),
                ((forgets, request.forgets_by_ns), Step::Forgets(asked)),
            ];
            for ((from, until), operation) in ends {
                if from < until && from <= self.end_ns {
                    steps.push(Timed {
                        from,
                        until,
                        surely: false,
                        operation,
                    });
                }
            }
        }
        steps
    }

    fn names(&self, call: &'a Call) -> Option<Asked<'a>> {
        match call {
            Call::Take {
                holder, epoch, seq, ..
            } => Some(Asked {
                holder,
                epoch: *epoch,
                seq: *seq,
            }),
            Call::Renew { lease, seq, .. }
            | Call::Report { lease, seq, .. }
            | Call::Return { lease, seq, .. } => {
                let (holder, epoch) = *self.owners.get(lease)?;
                Some(Asked {
                    holder,
                    epoch,
                    seq: *seq,
                })
            }
            _ => None,
        }
    }
}

fn verdict<T>(
    found: Found,
    of: &str,
    operations: &[Timed<T>],
    words: impl Fn(&T) -> String,
) -> Option<Violation> {
    let (rule, stuck, what) = match found {
        Found::Linearizable => return None,
        Found::Not { stuck } => (
            Rule::Linearizable,
            stuck,
            "no order of the requests explains",
        ),
        Found::Undecided { stuck } => (Rule::Undecided, stuck, "the search was given up at"),
    };
    let timed = &operations[stuck];
    let what = format!("{of}: {what} that {}", words(&timed.operation));
    Some(violation(rule, timed.until, what))
}
