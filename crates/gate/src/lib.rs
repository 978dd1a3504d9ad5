//! The waiting room: a front-end of a pool, before a portal that knows nothing of it.
//!
//! Whoever comes is invited, comes back with the invitation, and has a place from then on or is in; [`desk`] decides
//! that, whichever way somebody is asked about: by nginx, Traefik or Caddy (`routes/ways.rs`), by Envoy
//! ([`ext_authz`]), by an app (`routes/api.rs`), or on the way through, where the gate is the portal's proxy
//! (`proxy.rs`). [`page`] is what people see meanwhile.

mod address;
mod admin;
mod app;
mod body;
mod config;
mod cookies;
mod desk;
mod drain;
mod ext_authz;
mod gate;
mod identity;
mod invited;
mod last_life;
mod limits;
mod metrics;
mod open;
mod opening;
mod pace;
pub mod page;
mod people;
mod proxy;
mod routes;
mod server;
mod stream;
#[doc(hidden)]
pub mod untrusted;
pub mod view;
mod visitor;

pub use config::{Config, ConfigError, Cookie, Https, Limits, NodeTls, Page as PageSettings};
pub use gate::{Gate, StartError};
pub use routes::api::document;
