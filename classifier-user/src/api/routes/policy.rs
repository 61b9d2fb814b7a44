//! The policy in force, and the next one.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::agent::error::NodeError;
use crate::agent::reload::Reloaded;
use crate::api::extract::{Json, Query};
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

/// Whether guards are overruled, and why.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// Whether the policy's guards are overruled.
    #[serde(default)]
    force: Option<bool>,
    /// Why; a forced reload has a reason, and only that has one.
    reason: Option<String>,
}

/// Reads policy and subscribers again. All of it comes into force, or nothing.
#[utoipa::path(
    post,
    path = "/v1/policy/reload",
    tag = "policy",
    params(Force),
    responses(
        (status = 200, body = Reloaded),
        (status = 422, description = "What is wrong with policy or subscribers, with places, or which guard is in the way; nothing has changed."),
    )
)]
pub(super) async fn reload(
    State(node): State<Shared>,
    Query(force): Query<Force>,
) -> Answer<Json<Reloaded>> {
    let reason = force.reason.filter(|reason| !reason.trim().is_empty());
    if force.force.unwrap_or(false) != reason.is_some() {
        return Err(Problem::invalid(
            "a forced reload is `force=true` with a `reason`, and only that has a reason",
        ));
    }
    let reloaded = server::reload_for(node, reason).await;
    reloaded.map(Json).map_err(refused)
}
