//! The policy in force, the next one, and those there were: staged, put in force now or later, gone back to.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::agent::activation::{self, Act, blocking};
use crate::agent::error::NodeError;
use crate::agent::reload::Reloaded;
use crate::agent::sources::Want;
use crate::api::access::Asker;
use crate::api::extract::{Json, Path, Query};
use crate::api::problem::{Answer, Problem};
use crate::api::server::{self, Shared, with};
use crate::api::times::times;
use crate::history::{Action, Files, HistoryError, Scheduled, audit, kept};

/// Largest policy that can be handed in, in bytes: a million prefixes fit many times over.
pub(super) const MOST_BYTES: usize = 1 << 28;

/// Why it stays as it is.
fn refused(error: NodeError) -> Problem {
    match error {
        NodeError::History(HistoryError::Unknown(_) | HistoryError::NoneBefore(_)) => {
            Problem::not_found(error.to_string())
        }
        NodeError::History(HistoryError::Io { .. } | HistoryError::Damaged { .. }) => {
            Problem::internal(error)
        }
        error => Problem::invalid(error.to_string()),
    }
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
    Asker(by): Asker,
    Query(force): Query<Force>,
) -> Answer<Json<Reloaded>> {
    let reason = force.reason.filter(|reason| !reason.trim().is_empty());
    if force.force.unwrap_or(false) != reason.is_some() {
        return Err(Problem::invalid(
            "a forced reload is `force=true` with a `reason`, and only that has a reason",
        ));
    }
    let act = Act {
        action: Action::Reload,
        by,
        force: reason.is_some(),
        reason,
    };
    let reloaded = server::load(node, act, Want::Configured).await;
    reloaded.map(Json).map_err(refused)
}

/// Why something is done; kept in the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why.
    reason: Option<String>,
}

/// Why a policy is handed in, and what as.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Staging {
    /// Why.
    reason: Option<String>,
    /// Whether it is a bundle: a key under `[trust]` has to have signed its `bundle.json`, which is among the files that change
    /// nothing, and its serial number may not be below the one in force.
    bundle: Option<bool>,
    /// Whether that is overruled as to the serial number; there has to be a reason then.
    force: Option<bool>,
}

/// Keeps a policy, if it could come into force, and says what activating it would change.
#[utoipa::path(
    post,
    path = "/v1/policy/stage",
    tag = "policy",
    params(Staging),
    request_body = Files,
    responses(
        (status = 200, body = Reloaded),
        (status = 422, description = "What is wrong with it; it is not kept."),
    )
)]
pub(super) async fn stage(
    State(node): State<Shared>,
    Asker(by): Asker,
    Query(how): Query<Staging>,
    Json(files): Json<Files>,
) -> Answer<Json<Reloaded>> {
    let act = Act {
        action: Action::Stage,
        by,
        reason: how.reason,
        force: how.force.unwrap_or(false),
    };
    let staged = activation::stage(node, act, files, how.bundle.unwrap_or(false)).await;
    staged.map(Json).map_err(refused)
}

/// When a version is to come into force, why, and whether guards are overruled.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Activation {
    /// Why; kept in the audit log.
    reason: Option<String>,
    /// When: a time such as `2026-03-01T00:00:00+05:00`, or a date in the configured time zone; at once, if nothing is said.
    at: Option<String>,
    /// Whether the policy's guards are overruled; there has to be a reason then.
    force: Option<bool>,
}

/// What activating a version did, or when it will be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Activated {
    /// It is in force.
    Done(Reloaded),
    /// It will be.
    Later(Scheduled),
}

/// Puts a kept version in force, at once or at a time.
#[utoipa::path(
    post,
    path = "/v1/policy/versions/{version}/activate",
    tag = "policy",
    params(("version" = String, Path, description = "The version, or its beginning."), Activation),
    responses(
        (status = 200, body = Activated),
        (status = 404, description = "No such version is kept."),
        (status = 422, description = "What is wrong with it, or which guard is in the way; nothing has changed."),
    )
)]
pub(super) async fn activate(
    State(node): State<Shared>,
    Asker(by): Asker,
    Path(version): Path<String>,
    Query(how): Query<Activation>,
) -> Answer<Json<Activated>> {
    let [at] = times(&node, [how.at]).await?;
    let act = |action| Act {
        action,
        by,
        reason: how.reason,
        force: how.force.unwrap_or(false),
    };
    let activated = match at {
        Some(at) => activation::schedule(node, act(Action::Schedule), &version, at)
            .await
            .map(Activated::Later),
        None => activation::activate(node, act(Action::Activate), &version)
            .await
            .map(Activated::Done),
    };
    activated.map(Json).map_err(refused)
}

/// Why one goes back, and to what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Back {
    /// Why; kept in the audit log.
    reason: String,
    /// The version, or its beginning; the one before the present one, if nothing is said.
    version: Option<String>,
}

/// Puts an earlier version in force again.
#[utoipa::path(
    post,
    path = "/v1/policy/rollback",
    tag = "policy",
    params(Back),
    responses(
        (status = 200, body = Reloaded),
        (status = 404, description = "There is no such version, or none before."),
        (status = 422, description = "What is in the way; nothing has changed."),
    )
)]
pub(super) async fn rollback(
    State(node): State<Shared>,
    Asker(by): Asker,
    Query(back): Query<Back>,
) -> Answer<Json<Reloaded>> {
    let act = Act {
        action: Action::Rollback,
        by,
        reason: Some(back.reason),
        force: true,
    };
    let done = activation::roll_back(node, act, back.version.as_deref()).await;
    done.map(Json).map_err(refused)
}

/// What comes into force later, the next first.
#[utoipa::path(get, path = "/v1/policy/scheduled", tag = "policy", responses((status = 200, body = Vec<Scheduled>)))]
pub(super) async fn scheduled(State(node): State<Shared>) -> Json<Vec<Scheduled>> {
    Json(with(node, |node| node.history().scheduled().to_vec()).await)
}

/// Gives up what was to come into force later.
#[utoipa::path(
    delete,
    path = "/v1/policy/scheduled/{number}",
    tag = "policy",
    params(("number" = u64, Path, format = "uint64", description = "Its number, as the list says it."), Why),
    responses(
        (status = 200, description = "What does not come into force.", body = Scheduled),
        (status = 404, description = "Nothing is scheduled under this number."),
    )
)]
pub(super) async fn unschedule(
    State(node): State<Shared>,
    Asker(by): Asker,
    Path(number): Path<u64>,
    Query(why): Query<Why>,
) -> Answer<Json<Scheduled>> {
    let act = Act {
        action: Action::Unschedule,
        by,
        reason: why.reason,
        force: false,
    };
    act.check().map_err(refused)?;
    let found = with(node, move |node| node.unschedule_policy(&act, number)).await;
    found.map_err(refused)?.map(Json).ok_or_else(|| {
        Problem::not_found(format!(
            "no activation is scheduled under the number {number}"
        ))
    })
}

/// A kept version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyVersion)]
pub struct Version {
    /// Its whole name.
    pub version: String,
    /// Its files.
    pub files: Files,
}

/// The files of a version.
#[utoipa::path(
    get,
    path = "/v1/policy/versions/{version}",
    tag = "policy",
    params(("version" = String, Path, description = "The version, or its beginning.")),
    responses(
        (status = 200, body = Version),
        (status = 404, description = "No such version is kept."),
        (status = 422, description = "It is the beginning of several."),
    )
)]
pub(super) async fn version(
    State(node): State<Shared>,
    Path(given): Path<String>,
) -> Answer<Json<Version>> {
    let dir = with(node, |node| node.history().dir().to_owned()).await;
    let found = blocking(move || {
        let version = kept::resolve(&dir, &given)?;
        let files = Files::of(&kept::load(&dir, &version)?.policy)?;
        Ok(Version { version, files })
    });
    found.await.map(Json).map_err(refused)
}

/// The audit log as it is: an object a line.
#[utoipa::path(
    get,
    path = "/v1/policy/audit",
    tag = "policy",
    responses((status = 200, description = "A line for every activation, refused or not.", body = String, content_type = "application/jsonl"))
)]
pub(super) async fn log(State(node): State<Shared>) -> Answer<Response> {
    let dir = with(node, |node| node.history().dir().to_owned()).await;
    let path = dir.join(audit::FILE);
    let log = tokio::fs::read(&path).await;
    let log = log.map_err(|error| Problem::internal(format!("{}: {error}", path.display())))?;
    Ok(([("content-type", "application/jsonl")], log).into_response())
}
