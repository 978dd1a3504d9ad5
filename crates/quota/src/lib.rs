//! The rules of Préau: who may use how many slots of a budget, and until when.
//!
//! A [`State`] takes [`Batch`]es and gives one [`Outcome`] for each command. It does no I/O and knows no
//! clock, no randomness and no hash order, so that every replica that applies the same batches is in the
//! same state, byte for byte, and answers the same. What a command did once it does for ever: a change
//! of behaviour is a new command.

mod batch;
mod calendar;
mod check;
mod claims;
mod codec;
mod command;
mod configure;
mod door;
mod draft;
mod floors;
mod holder;
mod lease;
pub mod limits;
mod order;
mod outcome;
mod places;
mod pool;
mod queue_view;
mod ranked;
mod report;
mod requests;
mod restore;
mod restore_region;
mod rules;
mod seat_at_once;
mod seat_in_turn;
mod serve;
mod share;
mod snapshot;
mod snapshot_v1;
mod snapshot_v2;
mod soonest;
mod speak;
mod state;
mod turns;
mod view;
mod wait;
mod waiting;

pub use batch::{Batch, DecodeError, EncodeError};
pub use calendar::{Action, CalendarEntry, Scheduled, When};
pub use claims::KEPT;
pub use command::{
    Bucket, Change, Command, Configure, Due, RemoveHolder, Renew, Report, Return, SetPool,
    SetRegion, Take, TokenClaim,
};
pub use outcome::{
    Admission, Claimed, Configured, Draining, DueDone, Flow, Grant, HolderRemoved, LeaseId,
    Outcome, Refusal, Reply, Reported, Returned,
};
pub use queue_view::{ClassView, QueueView, ReportView};
pub use report::issuer;
pub use rules::{Class, Mode, Reclaim, Rules, SessionRules};
pub use share::{Claim, share};
pub use state::State;
pub use view::{EntryView, FloorView, LeasePhase, LeaseView, PoolView, RegionView};
pub use wait::{Wait, estimate};
