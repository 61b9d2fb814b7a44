//! What there is to be measured, for Prometheus.

use axum::extract::State;
use axum::response::Response;

use crate::metrics::{self, Source};

/// Metrics in OpenMetrics text: traffic by class and charge, books, sessions, records, sinks. None is of one subscriber unless
/// the configuration says so.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(source): State<Source>) -> Response {
    metrics::answer(&source).await
}
