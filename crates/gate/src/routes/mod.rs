//! What is served, by path.

pub mod api;
mod own;
mod ways;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;

use crate::app::App;

/// Everything below `/preau`.
pub fn router(app: &Arc<App>, body_bytes: usize) -> Router {
    let router = Router::new()
        .merge(ways::router())
        .merge(own::router())
        .merge(api::router());
    router
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(Arc::clone(app))
}
