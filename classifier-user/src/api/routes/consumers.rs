//! Who pulls records, and how far each has come.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::extract::{Json, Path};
use crate::api::problem::{Answer, Problem};
use crate::api::records::reading;
use crate::api::server::{LedgerPath, Shared, with};
use crate::ledger::consumers::{Consumer, ConsumerError};

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// It has all records up to this number.
    pub acknowledged: u64,
    /// Also if it had acknowledged more.
    #[serde(default)]
    #[schema(required = false)]
    pub rewind: bool,
}

fn refused(error: ConsumerError) -> Problem {
    let status = match &error {
        ConsumerError::Name(_) | ConsumerError::Beyond { .. } | ConsumerError::Full => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ConsumerError::Back { .. } => StatusCode::CONFLICT,
        ConsumerError::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("no consumer `{name}` has acknowledged anything"))
}

/// Who pulls records, by name.
#[utoipa::path(get, path = "/v1/consumers", tag = "records", responses((status = 200, body = Vec<Consumer>)))]
pub(super) async fn list(State(ledger): State<LedgerPath>) -> Answer<Json<Vec<Consumer>>> {
    let consumers = reading(ledger, |reader| reader.consumers()).await;
    consumers.map(Json).map_err(Problem::internal)
}

/// How far one has come.
#[utoipa::path(
    get,
    path = "/v1/consumers/{name}",
    tag = "records",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, body = Consumer), (status = 404, description = "It has acknowledged nothing."))
)]
pub(super) async fn one(
    State(ledger): State<LedgerPath>,
    Path(name): Path<String>,
) -> Answer<Json<Consumer>> {
    let asked = name.clone();
    let found = reading(ledger, move |reader| reader.consumer(&asked)).await;
    let found = found.map_err(Problem::internal)?;
    found.map(Json).ok_or_else(|| unknown(&name))
}

/// Notes how far a consumer has come; said again, nothing is different. Nothing is dropped by it.
#[utoipa::path(
    put,
    path = "/v1/consumers/{name}",
    tag = "records",
    params((
        "name" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$",
        description = "Its name: letters, digits, `.`, `_` and `-`.",
    )),
    request_body = Acknowledgement,
    responses(
        (status = 200, body = Consumer),
        (status = 409, description = "It had acknowledged more, and `rewind` is not said."),
        (status = 422, description = "There is no such record yet, or it is no name."),
    )
)]
pub(super) async fn acknowledge(
    State(node): State<Shared>,
    Path(name): Path<String>,
    Json(new): Json<Acknowledgement>,
) -> Answer<Json<Consumer>> {
    let noted = with(node, move |node| {
        node.acknowledge(&name, new.acknowledged, new.rewind)
    })
    .await;
    noted.map(Json).map_err(refused)
}

/// Forgets a consumer.
#[utoipa::path(
    delete,
    path = "/v1/consumers/{name}",
    tag = "records",
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 204, description = "It is forgotten."),
        (status = 404, description = "It has acknowledged nothing."),
    )
)]
pub(super) async fn forget(
    State(node): State<Shared>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let asked = name.clone();
    let known = with(node, move |node| node.forget_consumer(&asked)).await;
    match known.map_err(refused)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}
