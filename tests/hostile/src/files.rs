//! Files that people write.

use client::keys::Keys;
use quota::{Batch, Command, Configure, Reply, State};

use crate::{said, text};

pub fn settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match preau::untrusted::settings(text) {
        Ok(config) => assert_eq!(config.validate(), Ok(()), "settings that no node runs by"),
        Err(why) => said(&why),
    }
}

pub fn budget(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match preau::untrusted::budget(text) {
        Ok(changes) => configure(changes),
        Err(why) => said(&why),
    }
}

/// A file that can be read is one that the rules take, but for what only a whole budget shows.
fn configure(changes: Vec<api::v1::Change>) {
    let request = api::v1::ConfigureRequest {
        request_id: "file".into(),
        expected_revision: 0,
        changes,
    };
    let configure = Configure::try_from(request).expect("the command line says every change");
    if configure.changes.is_empty() || configure.changes.len() > quota::limits::MAX_CHANGES {
        return;
    }
    let batch = Batch {
        time_ms: 1,
        commands: vec![Command::Configure(configure)],
    };
    let mut state = State::default();
    match state.apply(&batch).pop() {
        Some(Ok(Reply::Configured(_))) => crate::snapshot::round_trip(&state),
        Some(Err(refusal)) => said(&refusal.to_string()),
        other => panic!("a budget was answered {other:?}"),
    }
}

pub fn plan(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match preau::untrusted::plan(text) {
        Ok(table) => assert!(table.contains("slots granted")),
        Err(why) => said(&why),
    }
}

pub fn scenario(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match sim::Scenario::parse(text) {
        Ok(scenario) => {
            assert!(!scenario.classes().is_empty());
            for factor in [1e-3, 0.5, 1.0, 16.0] {
                if let Err(why) = scenario.scaled(factor) {
                    said(&why);
                }
            }
        }
        Err(why) => said(&why),
    }
}

pub fn keys(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Keys::parse(text) {
        Ok(keys) => crate::tokens::signs(&keys),
        Err(why) => said(&why.to_string()),
    }
}
