//! How the node is, and what it counts now.

use axum::extract::State;

use crate::agent::views::Status;
use crate::api::extract::Json;
use crate::api::problem::{Answer, Problem};
use crate::api::server::{Shared, with};
use crate::report::Report;

/// How the node is: policy in force, interfaces, whether the books close.
#[utoipa::path(get, path = "/v1/status", tag = "node", responses((status = 200, body = Status)))]
pub(super) async fn status(State(node): State<Shared>) -> Answer<Json<Status>> {
    let status = with(node, |node| node.status()).await;
    status.map(Json).map_err(Problem::internal)
}

/// What every subscriber used in its running session, unattributed traffic, and the books.
#[utoipa::path(get, path = "/v1/usage", tag = "node", responses((status = 200, body = Report)))]
pub(super) async fn usage(State(node): State<Shared>) -> Answer<Json<Report>> {
    let report = with(node, |node| node.usage()).await;
    report.map(Json).map_err(Problem::internal)
}
