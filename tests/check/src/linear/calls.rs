//! What requests are about.

use crate::history::{Answer, Call, Change, Operation};

/// Whether a change is one of this pool's capacity.
pub fn is_of(change: &Change, pool: &str) -> bool {
    match change {
        Change::Capacity { pool: of, .. } | Change::RemovePool { pool: of } => of == pool,
        Change::Other(_) => false,
    }
}

pub fn removes(change: &Change) -> bool {
    matches!(change, Change::RemovePool { .. })
}

/// Whether the pool was removed, and with it all that is remembered of its holders.
pub fn removed(operations: &[&Operation]) -> bool {
    operations.iter().any(|operation| match &operation.call {
        Call::Configure { changes, .. } => changes.iter().any(removes),
        _ => false,
    })
}

/// Whether a model can say anything of it.
pub fn matters(operation: &Operation) -> bool {
    let stale = match operation.call {
        Call::Inspect { stale, .. } | Call::Leases { stale, .. } | Call::Budget { stale } => stale,
        _ => false,
    };
    match operation.answer {
        Answer::Failed(_) => false,
        Answer::Unknown(_) => !reads(&operation.call),
        _ => !stale,
    }
}

fn reads(call: &Call) -> bool {
    matches!(
        call,
        Call::Inspect { .. } | Call::Leases { .. } | Call::Budget { .. }
    )
}

pub fn request_id(call: &Call) -> Option<&str> {
    match call {
        Call::Configure { request_id, .. } | Call::RemoveHolder { request_id, .. } => {
            Some(request_id)
        }
        _ => None,
    }
}

pub fn pool_of(call: &Call) -> Option<&str> {
    match call {
        Call::Take { pool, .. }
        | Call::Renew { pool, .. }
        | Call::Report { pool, .. }
        | Call::Return { pool, .. }
        | Call::Inspect { pool, .. }
        | Call::Leases { pool, .. } => Some(pool),
        Call::RemoveHolder { pool, .. } => pool.as_deref(),
        Call::Configure { .. } | Call::Budget { .. } => None,
    }
}
