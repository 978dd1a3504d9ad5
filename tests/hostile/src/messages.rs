//! Messages, from the bytes that gRPC carries to the types of the rules and back.

use api::v1;
use bytes::Bytes;
use client::queue::Grant;
use client::untrusted::{KnownRules, response};
use prost::Message;
use quota::{
    Batch, Command, Configure, Outcome, RemoveHolder, Renew, Reported, Return, State, Take,
};

use crate::{said, snapshot};

/// The first byte says which message the rest is.
pub fn requests(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    let mut state = snapshot::lived_in();
    let command = match which % 6 {
        0 => decode::<v1::LeaseRequest>(data).map(|m| Command::Take(Take::from(m))),
        1 => decode::<v1::RenewRequest>(data).map(|m| Command::Renew(Renew::from(m))),
        2 => decode::<v1::ReturnRequest>(data).map(|m| Command::Return(Return::from(m))),
        3 => decode::<v1::RemoveHolderRequest>(data)
            .map(|m| Command::RemoveHolder(RemoveHolder::from(m))),
        4 => decode::<v1::ConfigureRequest>(data).and_then(|m| {
            let configure = refused(Configure::try_from(m))?;
            Some(Command::Configure(configure))
        }),
        _ => decode::<v1::ReportRequest>(data).and_then(|message| {
            let pool = state.pools().next()?;
            let report = refused(api::report(message.clone(), &pool.rules))?;
            said_again(&message, &report, &pool.rules);
            Some(Command::ReportV2(report))
        }),
    };
    let Some(command) = command else { return };
    let batch = Batch {
        time_ms: state.now_ms().saturating_add(1),
        commands: vec![command],
    };
    if let Ok(bytes) = batch.encode() {
        assert_eq!(Batch::decode(&bytes).as_ref(), Ok(&batch));
    }
    for outcome in state.apply(&batch) {
        answer(outcome, &state);
    }
    snapshot::round_trip(&state);
    views(&state);
}

/// A report says the same in the rules' types as in the message.
fn said_again(message: &v1::ReportRequest, report: &quota::Report, rules: &quota::Rules) {
    let users = |class: &v1::Waiting| class.buckets.iter().map(|b| b.users).sum::<u64>();
    let said: u64 = message.waiting.iter().map(users).sum();
    let read: u64 = report.waiting.iter().map(|b| u64::from(b.users)).sum();
    assert_eq!(said, read);
    let classes = rules.classes.len();
    assert!(
        report
            .waiting
            .iter()
            .all(|b| usize::from(b.class) < classes)
    );
}

/// Every answer can be said, whatever kind of request it is taken for.
pub fn answer(outcome: Outcome, state: &State) {
    match outcome {
        Ok(reply) => {
            let _ = api::grant(reply.clone());
            let _ = api::returned(reply.clone());
            let _ = api::configured(reply.clone());
            let _ = api::holder_removed(reply.clone());
            if let Ok(reported) = api::answered(reply) {
                arrives(reported, state);
            }
        }
        Err(refusal) => {
            let status = api::status::refused(&refusal);
            said(status.message());
            let failure = api::status::failure(&status);
            assert!(!failure.reason.is_empty(), "{failure:?}");
        }
    }
}

/// What the rules answer is what the front-end understands.
fn arrives(reported: Reported, state: &State) {
    let Some(lease) = state.lease(reported.grant.lease) else {
        return;
    };
    let Some(pool) = state.pool(&lease.pool) else {
        return;
    };
    let meant = Grant::from(&reported);
    let said = api::reported(reported, &pool.rules, pool.rules_revision, 0);
    let carried = v1::ReportResponse::decode(&*said.encode_to_vec()).expect("what was written");
    let (read, rules) = response(carried, &KnownRules::default());
    assert_eq!(read, meant);
    assert_eq!(rules.map(|rules| rules.revision), Some(pool.rules_revision));
}

/// Everything that can be listed.
pub fn views(state: &State) {
    for pool in state.pools() {
        for region in state.regions(&pool.name) {
            api::region(region, None, &pool.rules).encode_to_vec();
        }
        for lease in state.leases(&pool.name, None, None, None, 64) {
            api::lease(lease, None).encode_to_vec();
        }
        for entry in state.calendar(&pool.name) {
            let message = v1::CalendarEntry::from(entry.scheduled.entry.clone());
            entry_again(&message, entry.pool);
        }
        let rules = v1::Rules::from(&pool.rules);
        let set = v1::SetRules {
            pool: pool.name.clone(),
            rules: Some(rules),
        };
        match change(v1::change::Change::SetRules(set)) {
            quota::Change::SetRules { rules, .. } => assert_eq!(rules, pool.rules),
            other => panic!("rules came back as {other:?}"),
        }
        v1::PoolStatus::from(pool).encode_to_vec();
    }
}

/// What is listed can be set as it is.
fn entry_again(message: &v1::CalendarEntry, pool: &str) {
    let set = v1::SetCalendar {
        pool: pool.into(),
        entries: vec![message.clone()],
        since_unix_s: 0,
    };
    match change(v1::change::Change::SetCalendar(set)) {
        quota::Change::SetCalendar { entries, .. } => {
            assert_eq!(v1::CalendarEntry::from(entries[0].clone()), *message);
        }
        other => panic!("a calendar came back as {other:?}"),
    }
}

fn change(change: v1::change::Change) -> quota::Change {
    let request = v1::ConfigureRequest {
        changes: vec![v1::Change {
            change: Some(change),
        }],
        ..v1::ConfigureRequest::default()
    };
    let mut configure = Configure::try_from(request).expect("what was said can be said again");
    configure.changes.remove(0)
}

/// The first byte says which message the rest is.
pub fn peers(data: &[u8]) {
    use node::untrusted as read;
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    match which % 4 {
        0 => stays(decode(data), read::append),
        1 => stays(decode(data), read::appended),
        2 => stays(decode(data), read::snapshot_meta),
        _ => stays(decode(data).map(Some), |ballot| {
            read::ballot(ballot).map(Some)
        }),
    }
}

/// A message that was understood is understood the same once more.
fn stays<M: Clone + PartialEq + std::fmt::Debug>(
    message: Option<M>,
    read: impl Fn(M) -> Result<M, String>,
) {
    let Some(message) = message else { return };
    match read(message) {
        Ok(said) => assert_eq!(read(said.clone()), Ok(said)),
        Err(why) => said(&why),
    }
}

fn decode<M: Message + Default>(data: &[u8]) -> Option<M> {
    M::decode(Bytes::copy_from_slice(data)).ok()
}

fn refused<T>(read: Result<T, quota::Refusal>) -> Option<T> {
    read.inspect_err(|refusal| said(&refusal.to_string())).ok()
}
