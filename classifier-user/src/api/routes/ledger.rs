//! What becomes of records that nobody has to keep any longer.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::records::prune::Asked;
use crate::agent::records::statement::parse_time;
use crate::api::access::Asker;
use crate::api::extract::Json;
use crate::api::problem::{Answer, Problem};
use crate::api::server::{Shared, with};
use crate::ledger::records::Record;
use crate::ledger::sealed::PruneError;

/// What is to be pruned, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Prune)]
pub struct PruneRequest {
    /// Sealed files all of whose records ended before this, or at it: RFC 3339, or a date, which is its first moment in
    /// `timezone`. Left out: what is older than `retention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Why. It is recorded.
    #[schema(min_length = 1, max_length = 512)]
    pub reason: String,
    /// Also what is younger than `retention`, and what consumers or sinks do not have yet.
    #[serde(default)]
    #[schema(required = false)]
    pub force: bool,
    /// Only to say what would be pruned.
    #[serde(default)]
    #[schema(required = false)]
    pub dry_run: bool,
}

/// What was pruned, or would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Pruned)]
pub struct PruneAnswer {
    /// Number of the first record that is gone,
    pub first_seq: u64,
    /// and of the last.
    pub last_seq: u64,
    /// How many files they were in.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// When the latest of these records ended.
    pub latest: Timestamp,
    /// The record that says so; null where it was only asked.
    pub record: Option<Record>,
}

fn refused(error: PruneError) -> Problem {
    let status = match &error {
        PruneError::Reason => StatusCode::UNPROCESSABLE_ENTITY,
        PruneError::Young { .. }
        | PruneError::Nothing(_)
        | PruneError::Behind { .. }
        | PruneError::NotRolledUp { .. } => StatusCode::CONFLICT,
        PruneError::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

/// Removes sealed files whose records nobody has to keep any longer, for good. A record of kind `prune` says so.
#[utoipa::path(
    post,
    path = "/v1/ledger/prune",
    tag = "records",
    request_body = PruneRequest,
    responses(
        (status = 200, body = PruneAnswer),
        (status = 409, description = "Nothing is that old, or it has to be kept, or somebody does not have it yet."),
        (status = 422, description = "There is no reason, or `before` is no time."),
    )
)]
pub(super) async fn prune(
    State(node): State<Shared>,
    Asker(by): Asker,
    Json(request): Json<PruneRequest>,
) -> Answer<Json<PruneAnswer>> {
    let pruned = with(node, move |node| {
        let before = request
            .before
            .map(|text| parse_time(&text, node.timezone()));
        let asked = Asked {
            before: before.transpose().map_err(Problem::invalid)?,
            reason: request.reason,
            force: request.force,
            dry_run: request.dry_run,
        };
        node.prune(asked, &by).map_err(refused)
    });
    let (pruned, record) = pruned.await?;
    Ok(Json(PruneAnswer {
        first_seq: pruned.first,
        last_seq: pruned.last,
        files: pruned.files,
        bytes: pruned.bytes,
        latest: pruned.latest,
        record,
    }))
}
