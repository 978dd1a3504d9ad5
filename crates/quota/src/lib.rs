//! The rules of Préau: who may use how many slots of a budget, and until when.
//!
//! A [`State`] takes [`Batch`]es and gives one [`Outcome`] for each command. It does no I/O and knows no
//! clock, no randomness and no hash order, so that every replica that applies the same batches is in the
//! same state, byte for byte, and answers the same. What a command did once it does for ever: a change
//! of behaviour is a new command.

mod check;
mod codec;
mod command;
mod configure;
mod lease;
pub mod limits;
mod outcome;
mod pool;
mod ranked;
mod requests;
mod restore;
mod serve;
mod share;
mod snapshot;
mod state;
mod view;

pub use command::{
    Batch, Change, Command, Configure, DecodeError, EncodeError, RemoveHolder, Renew, Return,
    SetPool, SetRegion, Take,
};
pub use outcome::{
    Configured, Draining, Grant, HolderRemoved, LeaseId, Outcome, Refusal, Reply, Returned,
};
pub use share::{Claim, share};
pub use state::State;
pub use view::{LeasePhase, LeaseView, PoolView, RegionView};
