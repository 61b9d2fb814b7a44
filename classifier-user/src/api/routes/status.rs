//! How the node is, and what it counts now.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::agent::top::{Fastest, Top};
use crate::agent::views::Status;
use crate::api::extract::{Json, Query};
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

/// Which subscribers are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Most {
    /// What makes a subscriber one of them; `all` when nothing is said.
    #[param(inline)]
    #[serde(default)]
    by: Fastest,
    /// How many at most; 20 when nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Most subscribers that are shown.
pub(crate) const MOST: usize = 1_000;

/// The subscribers that move most now: bits a second between the last two checkpoints.
#[utoipa::path(
    get,
    path = "/v1/top",
    tag = "node",
    params(Most),
    responses(
        (status = 200, body = Top),
        (status = 422, description = "`limit` is 0, or more than 1000."),
    )
)]
pub(super) async fn top(State(node): State<Shared>, Query(most): Query<Most>) -> Answer<Json<Top>> {
    let limit = most.limit.unwrap_or(20);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid(format!(
            "`limit` is {limit}: 1 to {MOST} subscribers are shown"
        )));
    }
    Ok(Json(with(node, move |node| node.top(most.by, limit)).await))
}
