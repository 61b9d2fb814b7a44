//! The policy in force, and the next one.

use axum::extract::State;

use crate::agent::error::NodeError;
use crate::agent::reload::Reloaded;
use crate::api::extract::Json;
use crate::api::problem::{Answer, Problem};
use crate::api::server::{self, Shared};

/// Why it stays as it is.
fn refused(error: NodeError) -> Problem {
    Problem::invalid(error.to_string())
}

/// What a reload would change, without doing it.
#[utoipa::path(
    get,
    path = "/v1/policy/diff",
    tag = "policy",
    responses(
        (status = 200, body = Reloaded),
        (status = 422, description = "What is wrong with policy or subscribers, with places."),
    )
)]
pub(super) async fn diff(State(node): State<Shared>) -> Answer<Json<Reloaded>> {
    server::preview(node).await.map(Json).map_err(refused)
}

/// Reads policy and subscribers again. All of it comes into force, or nothing.
#[utoipa::path(
    post,
    path = "/v1/policy/reload",
    tag = "policy",
    responses(
        (status = 200, body = Reloaded),
        (status = 422, description = "What is wrong with policy or subscribers, with places; nothing has changed."),
    )
)]
pub(super) async fn reload(State(node): State<Shared>) -> Answer<Json<Reloaded>> {
    server::reload(node).await.map(Json).map_err(refused)
}
