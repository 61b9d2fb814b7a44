//! Policy versions: staged, put in force now or later, gone back to, shown, and what was written down about them.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/policy/stage?reason=TEXT` | keeps the [`Files`] of the body if they could come into force: [`Reloaded`], or 422 |
//! | `GET /v1/policy/versions/{version}` | a [`Version`]; the beginning of its name is enough, as below |
//! | `POST /v1/policy/versions/{version}/activate?reason=TEXT&force=true` | [`Reloaded`](crate::agent::reload::Reloaded), 404, or 422 with what is wrong as text |
//! | the same with `&at=TIME` | a [`Scheduled`](crate::history::Scheduled) |
//! | `POST /v1/policy/rollback?reason=TEXT&version=VERSION` | [`Reloaded`](crate::agent::reload::Reloaded); without a version the one before |
//! | `GET /v1/policy/scheduled` | list of [`Scheduled`](crate::history::Scheduled), the next first |
//! | `DELETE /v1/policy/scheduled/{number}?reason=TEXT` | gives one up, or 404 |
//! | `GET /v1/policy/audit` | the audit log as it is: an [`Entry`](crate::history::Entry) a line |
//!
//! [`Reloaded`]: crate::agent::reload::Reloaded

use std::fmt::Display;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::server::{Shared, refused_with, with};
use crate::agent::activation::{self, Act, blocking};
use crate::agent::error::NodeError;
use crate::history::{Action, Files, HistoryError, audit, kept};

/// Largest policy that can be handed in: a million prefixes fit many times over.
const MOST_BYTES: usize = 1 << 28;

/// A kept version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its whole name.
    pub version: String,
    /// Its files.
    pub files: Files,
}

pub(super) fn routes() -> Router<Shared> {
    let stage = post(stage).layer(DefaultBodyLimit::max(MOST_BYTES));
    Router::new()
        .route("/v1/policy/stage", stage)
        .route("/v1/policy/versions/{version}", get(version))
        .route("/v1/policy/versions/{version}/activate", post(activate))
        .route("/v1/policy/rollback", post(rollback))
        .route("/v1/policy/scheduled", get(scheduled))
        .route("/v1/policy/scheduled/{number}", delete(unschedule))
        .route("/v1/policy/audit", get(log))
}

/// Why, when, and whether guards are overruled.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    reason: Option<String>,
    at: Option<Timestamp>,
    #[serde(default)]
    force: bool,
    version: Option<String>,
}

impl How {
    fn act(&self, action: Action, peer: Peer) -> Act {
        Act {
            action,
            by: peer.into(),
            reason: self.reason.clone(),
            force: self.force,
        }
    }
}

fn answer<T: Serialize>(result: Result<T, NodeError>) -> Response {
    refused_with(result, |error| match error {
        NodeError::History(HistoryError::Unknown(_) | HistoryError::NoneBefore(_)) => {
            StatusCode::NOT_FOUND
        }
        NodeError::History(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    })
}

async fn stage(
    State(node): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(how): Query<How>,
    Json(files): Json<Files>,
) -> Response {
    answer(activation::stage(node, how.act(Action::Stage, peer), files).await)
}

async fn activate(
    State(node): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(version): Path<String>,
    Query(how): Query<How>,
) -> Response {
    match how.at {
        Some(at) => {
            let act = how.act(Action::Schedule, peer);
            answer(activation::schedule(node, act, &version, at).await)
        }
        None => {
            let act = how.act(Action::Activate, peer);
            answer(activation::activate(node, act, &version).await)
        }
    }
}

async fn rollback(
    State(node): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(how): Query<How>,
) -> Response {
    let act = how.act(Action::Rollback, peer);
    answer(activation::roll_back(node, act, how.version.as_deref()).await)
}

async fn scheduled(State(node): State<Shared>) -> Response {
    Json(with(node, |node| node.history().scheduled().to_vec()).await).into_response()
}

async fn unschedule(
    State(node): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(number): Path<u64>,
    Query(how): Query<How>,
) -> Response {
    let act = how.act(Action::Unschedule, peer);
    match with(node, move |node| node.unschedule_policy(&act, number)).await {
        Ok(None) => {
            let none = format!("no activation is scheduled under the number {number}");
            (StatusCode::NOT_FOUND, none).into_response()
        }
        result => answer(result),
    }
}

async fn version(State(node): State<Shared>, Path(given): Path<String>) -> Response {
    let dir = with(node, |node| node.history().dir().to_owned()).await;
    let found = blocking(move || {
        let version = kept::resolve(&dir, &given)?;
        let files = Files::of(&kept::load(&dir, &version)?.policy)?;
        Ok(Version { version, files })
    });
    answer(found.await)
}

async fn log(State(node): State<Shared>) -> Response {
    let dir = with(node, |node| node.history().dir().to_owned()).await;
    let path = dir.join(audit::FILE);
    match tokio::fs::read(&path).await {
        Ok(log) => log.into_response(),
        Err(error) => failed(format_args!("{}: {error}", path.display())),
    }
}

fn failed(what: impl Display) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, what.to_string()).into_response()
}
