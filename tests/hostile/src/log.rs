//! Records of the log, as the disk gives them back: the checksum was right, and the rest is anything.

use bytes::Bytes;
use quota::{Batch, State};

use crate::said;

pub fn records(data: &[u8]) {
    match node::untrusted::entry(Bytes::copy_from_slice(data)) {
        Ok(entry) => {
            let again = node::untrusted::entry(entry.clone()).expect("what was written");
            assert_eq!(again, entry, "an entry that changes as it is read");
        }
        Err(why) => said(&why),
    }
    match Batch::decode(data) {
        Ok(batch) => apply(&batch),
        Err(why) => said(&why.to_string()),
    }
}

fn apply(batch: &Batch) {
    // Not always the same bytes: there is more than one way to write a number.
    let bytes = batch.encode().expect("no larger than it was");
    assert_eq!(Batch::decode(&bytes).as_ref(), Ok(batch));
    for mut state in [State::default(), crate::snapshot::lived_in()] {
        let outcomes = state.apply(batch);
        assert_eq!(outcomes.len(), batch.commands.len());
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            said(&refusal.to_string());
        }
        crate::snapshot::round_trip(&state);
        state.next_event_ms(u64::MAX);
    }
}
