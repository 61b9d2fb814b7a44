//! Whether the agent is alive and can do its work; which version it is; what there is to be asked.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::extract::Json;
use crate::api::openapi;
use crate::api::server::{Shared, with};

/// How long the node may keep somebody waiting who asks whether it can work.
const PATIENCE: Duration = Duration::from_secs(5);

/// The agent is alive.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Alive {
    /// That it is.
    pub alive: bool,
}

/// Whether the agent can do its work.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Ready {
    /// Whether it can do all of it.
    pub ready: bool,
    /// What is in the way, for those who have the role `read`.
    pub reasons: Vec<String>,
}

/// Which version it is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Version {
    /// Name of the node.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// Version of the API: the first part of its paths.
    pub api: String,
}

/// The agent is alive: it answers.
#[utoipa::path(get, path = "/healthz", tag = "node", responses((status = 200, body = Alive)))]
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { alive: true })
}

/// Whether the agent can do all of its work.
///
/// It cannot when usage cannot be recorded, the latest reload or start was refused, an interface is not attached, or a change cannot be
/// put in force. What is counted goes on being counted.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "node",
    responses(
        (status = 200, description = "It can.", body = Ready),
        (status = 503, description = "It cannot; the reasons say why.", body = Ready),
    )
)]
pub(super) async fn ready(State(node): State<Shared>, caller: Extension<Caller>) -> Response {
    let asked = with(node, |node| node.in_the_way());
    let reasons = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(reasons) => reasons,
        Err(_) => vec![format!(
            "the agent has been busy for {} s",
            PATIENCE.as_secs()
        )],
    };
    let ready = reasons.is_empty();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    // They name interfaces and files.
    let reasons = match (ready, &*caller) {
        (true, _) | (_, Caller::Staff { .. }) => reasons,
        _ => vec!["whoever has the role `read` is told why".to_owned()],
    };
    (status, Json(Ready { ready, reasons })).into_response()
}

/// Which version it is.
#[utoipa::path(get, path = "/v1/version", tag = "node", responses((status = 200, body = Version)))]
pub(super) async fn version(State(node): State<Shared>) -> Json<Version> {
    Json(Version {
        node: with(node, |node| node.name().to_owned()).await,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
    })
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "node",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object))
)]
pub(super) async fn described() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi::text);
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
