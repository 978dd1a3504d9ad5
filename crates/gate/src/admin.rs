//! Metrics and health, for those who run the gate.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// What Prometheus calls its text.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(app: &Arc<App>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move |state| ready(state, stop)))
        .with_state(Arc::clone(app))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let glance = app.desk.glance();
    ([(CONTENT_TYPE, TEXT)], app.metrics.text(glance.as_deref()))
}

/// Whether people should be sent here.
async fn ready(State(app): State<Arc<App>>, stop: CancellationToken) -> impl IntoResponse {
    match app.desk.glance() {
        _ if stop.is_cancelled() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the coordinator has not been heard yet\n",
        ),
        Some(glance) if glance.status.lease.superseded => (
            StatusCode::SERVICE_UNAVAILABLE,
            "another gate has taken over this one's name: give each its own\n",
        ),
        Some(_) => (StatusCode::OK, "ready\n"),
    }
}
