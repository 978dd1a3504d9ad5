//! The morning, replayed: users, front-ends, network and faults on one seeded clock.
//!
//! A [`Scenario`] says who comes when, what there is and what goes wrong. [`replay`] plays it under one
//! [`Way`] of deciding and gives its [`Figures`]. The same scenario, seed and way give the same figures.

mod calendar;
mod central;
mod clock;
mod figures;
mod meter;
pub mod page;
mod play;
mod portals;
mod preau;
mod random;
mod report;
mod scenario;
mod users;

pub use clock::{Offset, TimeOfDay};
pub use figures::{Figures, Morning, Way};
pub use meter::Sample;
pub use play::Estimates;
pub use report::report;
pub use scenario::{
    Arrivals, Class, Fault, FrontEnds, Overload, Patience, Region, Retry, Rules, Scenario,
    Sessions, Shape, Strangers,
};
pub use users::Visit;
