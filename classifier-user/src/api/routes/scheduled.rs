//! What is to be changed later.

use axum::extract::State;

use super::subscribers::refused;
use crate::api::extract::{Json, Path};
use crate::api::problem::{Answer, Problem};
use crate::api::server::{Shared, with};
use crate::subscribers::Scheduled;

/// What is to be changed later, the next first.
#[utoipa::path(get, path = "/v1/scheduled", tag = "subscribers", responses((status = 200, body = Vec<Scheduled>)))]
pub(super) async fn list(State(node): State<Shared>) -> Json<Vec<Scheduled>> {
    Json(with(node, |node| node.scheduled()).await)
}

/// Gives a change up.
#[utoipa::path(
    delete,
    path = "/v1/scheduled/{number}",
    tag = "subscribers",
    params(("number" = u64, Path, format = "uint64", description = "Its number, as the list says it.")),
    responses(
        (status = 200, description = "It will not be made.", body = Option<Object>),
        (status = 404, description = "Nothing is scheduled under this number."),
    )
)]
pub(super) async fn give_up(
    State(node): State<Shared>,
    Path(number): Path<u64>,
) -> Answer<Json<()>> {
    match with(node, move |node| node.unschedule(number)).await {
        Ok(true) => Ok(Json(())),
        Ok(false) => Err(Problem::not_found(format!(
            "nothing is scheduled under the number {number}"
        ))),
        Err(error) => Err(refused(error)),
    }
}
