//! Orders of billing for buckets.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::charging::orders::{Answer as Followed, OrderError};
use crate::api::extract::{Json, Path};
use crate::api::problem::{Answer, Problem};
use crate::api::server::{Shared, with};
use crate::balance::money::Amount;
use crate::balance::{Action, Order};

/// An order for the bucket the path names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The caller's id: an order counts once, however often it is sent.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// How many bytes, where the action says so.
    #[serde(default)]
    pub bytes: u64,
    /// How much money, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub reason: Option<String>,
}

/// Does something to a bucket, once for each id.
///
/// `grant`, `debit` and `set` say how many bytes, or how much money; `return` and `restart` do not.
#[utoipa::path(
    post,
    path = "/v1/subscribers/{id}/buckets/{bucket}/{action}",
    tag = "buckets",
    params(
        ("id" = String, Path, description = "Id of the subscriber."),
        ("bucket" = String, Path, description = "Name of the bucket."),
        ("action" = Action, Path, description = "What to do."),
    ),
    request_body = NewOrder,
    responses(
        (status = 200, description = "What was booked and what is left; the same again for the same order.", body = Followed),
        (status = 404, description = "There is no such subscriber or bucket."),
        (status = 409, description = "The id was another order's; both are told."),
    )
)]
pub(super) async fn order(
    State(node): State<Shared>,
    Path((subscriber, bucket, action)): Path<(String, String, Action)>,
    Json(new): Json<NewOrder>,
) -> Answer<Json<Followed>> {
    follow(node, subscriber, Some(bucket), action, new).await
}

/// Begins a new cycle: restarts all packages of the subscriber's plan.
#[utoipa::path(
    post,
    path = "/v1/subscribers/{id}/restart",
    tag = "buckets",
    params(("id" = String, Path, description = "Id of the subscriber.")),
    request_body = NewOrder,
    responses(
        (status = 200, description = "What was booked and what is left.", body = Followed),
        (status = 404, description = "There is no such subscriber."),
        (status = 409, description = "The id was another order's; both are told."),
    )
)]
pub(super) async fn restart(
    State(node): State<Shared>,
    Path(subscriber): Path<String>,
    Json(new): Json<NewOrder>,
) -> Answer<Json<Followed>> {
    follow(node, subscriber, None, Action::Restart, new).await
}

async fn follow(
    node: Shared,
    subscriber: String,
    bucket: Option<String>,
    action: Action,
    new: NewOrder,
) -> Answer<Json<Followed>> {
    let order = Order {
        id: new.id,
        subscriber,
        bucket,
        action,
        bytes: new.bytes,
        amount: new.amount,
        reason: new.reason,
    };
    let followed = with(node, move |node| node.order(order)).await;
    followed.map(Json).map_err(|error| {
        let status = match &error {
            OrderError::Subscriber(_) | OrderError::Bucket { .. } => StatusCode::NOT_FOUND,
            OrderError::Conflict(_) => StatusCode::CONFLICT,
            OrderError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OrderError::Ledger(_) | OrderError::Node(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    })
}
