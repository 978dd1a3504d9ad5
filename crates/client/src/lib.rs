//! The front-end's library: find the leader, keep a lease, admit locally.
//!
//! A [`Holder`] keeps a lease alive in the background and sizes it by demand. [`Holder::try_seat`] admits
//! one user from it without I/O or a lock; dropping the [`Seat`] frees its slot. Slots are never used
//! past the instant at which the cluster may count them as free again, whatever happens in between.
//!
//! ```no_run
//! # async fn front_end() -> Result<(), client::ConnectError> {
//! let holder = client::Holder::connect(["127.0.0.1:4501", "127.0.0.1:4502"])
//!     .pool("ent")
//!     .region("normandie")
//!     .name("portal-7")
//!     .await?;
//! if let Some(seat) = holder.try_seat() {
//!     // The user is in for as long as the seat lives.
//!     drop(seat);
//! }
//! holder.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`FrontEnd`] has a queue as well: users [arrive](FrontEnd::arrive), wait their turn by a signed ticket,
//! and sit by a signed seat, in the order that the region's rules say, whichever of its front-ends they came
//! through. [`queue`] is that queue by itself, without I/O.
//!
//! [`Nodes`] is the way to the cluster for everything else: any call, to whichever node can answer it.

#[doc(hidden)]
pub mod clock;
mod door;
mod front;
mod front_end;
mod holder;
mod keeper;
pub mod keys;
mod nodes;
pub mod queue;
mod reason;
#[cfg(test)]
mod region_tests;
mod reports;
mod requests;
mod resume;
mod seats;
mod sizing;
mod task;
pub mod tokens;
#[doc(hidden)]
pub mod untrusted;
mod wire;

pub use front_end::{FrontEnd, QueueStatus, Turn};
pub use holder::{Builder, ConnectError, Holder, Seats, Status};
pub use keeper::usable;
pub use nodes::{AddressError, MAX_CONNECTIONS, MAX_NODES, Nodes, Options};
pub use reason::{current_epoch, leader_address, reason, retry_after};
pub use resume::Life;
pub use seats::{MAX_SEATS, Seat};
