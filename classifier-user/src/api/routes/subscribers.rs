//! Subscribers: who they are, what they used, and what becomes of them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::agent::at_once;
use crate::agent::error::NodeError;
use crate::agent::records::statement::Recorded;
use crate::agent::service::{ServiceError, Wanted};
use crate::agent::subscribers::SubscriberView;
use crate::api::extract::{Json, Path, Query};
use crate::api::problem::{Answer, Problem};
use crate::api::records::reading;
use crate::api::server::{LedgerPath, Shared, with};
use crate::api::times::times;
use crate::report::statement::Statement;
use crate::subscribers::{Planned, Scheduled, State as SubscriberState, Step};

/// Why a subscriber stays as it is.
pub(super) fn refused(error: ServiceError) -> Problem {
    let status = match &error {
        ServiceError::Unknown(_) => StatusCode::NOT_FOUND,
        ServiceError::Exists(_) => StatusCode::CONFLICT,
        ServiceError::Invalid(_)
        | ServiceError::Node(
            NodeError::Full(_) | NodeError::TooMany { .. } | NodeError::TooLarge(_),
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        ServiceError::Node(_) | ServiceError::Ledger(_) | ServiceError::Late(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    Problem::new(status, error.to_string())
}

/// All subscribers with a session.
#[utoipa::path(
    get,
    path = "/v1/subscribers",
    tag = "subscribers",
    responses((status = 200, body = Vec<SubscriberView>))
)]
pub(super) async fn list(State(node): State<Shared>) -> Json<Vec<SubscriberView>> {
    Json(with(node, |node| node.subscribers()).await)
}

/// One subscriber, with what is left in its buckets, and time, speed and volume of its session.
#[utoipa::path(
    get,
    path = "/v1/subscribers/{id}",
    tag = "subscribers",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, body = SubscriberView),
        (status = 404, description = "It has no session."),
    )
)]
pub(super) async fn one(
    State(node): State<Shared>,
    Path(id): Path<String>,
) -> Answer<Json<SubscriberView>> {
    shown(node, id).await.map(Json)
}

/// One subscriber as it is now.
pub(super) async fn shown(node: Shared, id: String) -> Answer<SubscriberView> {
    let asked = id.clone();
    match with(node, move |node| node.shown(&asked)).await {
        Ok(Some(view)) => Ok(view),
        Ok(None) => Err(Problem::not_found(format!(
            "no subscriber `{id}` has a session"
        ))),
        Err(error) => Err(Problem::internal(error)),
    }
}

/// A period.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// It begins after this: a time such as `2026-03-01T00:00:00+05:00`, or a date in the configured time zone. Left out:
    /// with the first session.
    from: Option<String>,
    /// It ends with this. Left out: now.
    to: Option<String>,
}

impl Period {
    /// A period between two times.
    pub(super) const fn of(from: Option<String>, to: Option<String>) -> Self {
        Self { from, to }
    }
}

/// What a subscriber used in a period: time, speed and volume, sent and received, by class and charge.
#[utoipa::path(
    get,
    path = "/v1/subscribers/{id}/usage",
    tag = "subscribers",
    params(("id" = String, Path, description = "Id of the subscriber."), Period),
    responses(
        (status = 200, body = Statement),
        (status = 404, description = "Nothing is known of it."),
        (status = 422, description = "A bound is no time, or the period ends before it begins."),
    )
)]
pub(super) async fn statement(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    Path(id): Path<String>,
    Query(period): Query<Period>,
) -> Answer<Json<Statement>> {
    stated(node, ledger, id, period).await.map(Json)
}

/// One subscriber's statement. What was recorded is read beside the node: there may be years of it.
pub(super) async fn stated(
    node: Shared,
    ledger: LedgerPath,
    id: String,
    period: Period,
) -> Answer<Statement> {
    let [from, to] = times(&node, [period.from, period.to]).await?;
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Problem::invalid(format!(
            "the period begins at {from}, after its end {to}"
        )));
    }
    let asked = id.clone();
    let recorded = reading(ledger, move |reader| {
        Recorded::read(reader, &asked, from, to)
    })
    .await;
    let recorded = recorded.map_err(Problem::internal)?;
    match with(node, move |node| node.statement(recorded)).await {
        Ok(Some(statement)) => Ok(statement),
        Ok(None) => Err(Problem::not_found(format!(
            "nothing is known of a subscriber `{id}`"
        ))),
        Err(error) => Err(Problem::internal(error)),
    }
}

/// A subscriber to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubscriber {
    /// Its id.
    pub subscriber: String,
    /// Its plan.
    pub plan: String,
    /// Its prefixes.
    pub addresses: Vec<String>,
    /// Whether it has its service; it has when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SubscriberState>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub reason: Option<String>,
}

/// Adds a subscriber.
#[utoipa::path(
    post,
    path = "/v1/subscribers",
    tag = "subscribers",
    request_body = NewSubscriber,
    responses(
        (status = 200, description = "The subscriber as it is now.", body = SubscriberView),
        (status = 409, description = "It is there already."),
    )
)]
pub(super) async fn add(
    State(node): State<Shared>,
    Json(new): Json<NewSubscriber>,
) -> Answer<Json<SubscriberView>> {
    let wanted = Wanted {
        plan: Some(new.plan),
        state: new.state,
        addresses: Some(new.addresses),
        reason: new.reason,
    };
    let added = with(node, move |node| {
        node.add_subscriber(&new.subscriber, wanted)
    })
    .await;
    added.map(Json).map_err(refused)
}

/// When something is done.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct When {
    /// Not now, but then: a time such as `2026-03-01T00:00:00+05:00`, or a date in the configured time zone.
    at: Option<String>,
}

/// Changes a subscriber: its plan, state or addresses; what is not said stays.
///
/// With `at` it is noted for that time, and the answer is the note: one thing, a plan or a state.
#[utoipa::path(
    patch,
    path = "/v1/subscribers/{id}",
    tag = "subscribers",
    params(("id" = String, Path, description = "Its id."), When),
    request_body = Wanted,
    responses(
        (status = 200, description = "The subscriber as it is now, or what is to be done later.", body = Changed),
        (status = 404, description = "It has no session."),
        (status = 422, description = "It cannot be so, or the time is none, or has passed."),
    )
)]
pub(super) async fn change(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Query(when): Query<When>,
    Json(wanted): Json<Wanted>,
) -> Answer<Response> {
    let [Some(at)] = times(&node, [when.at]).await? else {
        let changed = at_once::set_subscriber(node, id, wanted).await;
        return Ok(Json(changed.map_err(refused)?).into_response());
    };
    let step = match (wanted.plan, wanted.state, wanted.addresses) {
        (Some(plan), None, None) => Step::Plan(plan),
        (None, Some(SubscriberState::Active), None) => Step::Resume,
        (None, Some(SubscriberState::Suspended), None) => Step::Suspend,
        _ => {
            return Err(Problem::invalid(
                "for a later time say one thing: a plan, or a state",
            ));
        }
    };
    schedule(node, id, step, wanted.reason, at).await
}

/// What a change answers with.
#[derive(ToSchema)]
#[schema(as = SubscriberChanged)]
#[serde(untagged)]
#[expect(dead_code, reason = "it says in OpenAPI what two handlers answer with")]
enum Changed {
    Now(SubscriberView),
    Later(Scheduled),
}

/// Why something is done, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why.
    reason: Option<String>,
    /// Not now, but then: a time such as `2026-03-01T00:00:00+05:00`, or a date in the configured time zone.
    at: Option<String>,
}

/// Removes a subscriber; the answer says what it was, and what was left in its buckets.
#[utoipa::path(
    delete,
    path = "/v1/subscribers/{id}",
    tag = "subscribers",
    params(("id" = String, Path, description = "Its id."), Why),
    responses(
        (status = 200, description = "The subscriber as it was, or what is to be done later.", body = Changed),
        (status = 404, description = "It has no session."),
        (status = 422, description = "The reason is too long, or the time is none, or has passed."),
    )
)]
pub(super) async fn remove(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Query(why): Query<Why>,
) -> Answer<Response> {
    let [at] = times(&node, [why.at]).await?;
    match at {
        Some(at) => schedule(node, id, Step::Remove, why.reason, at).await,
        None => {
            let removed = with(node, move |node| node.remove_subscriber(&id, why.reason)).await;
            Ok(Json(removed.map_err(refused)?).into_response())
        }
    }
}

async fn schedule(
    node: Shared,
    subscriber: String,
    step: Step,
    reason: Option<String>,
    at: Timestamp,
) -> Answer<Response> {
    let planned = Planned {
        subscriber,
        step,
        reason,
    };
    let scheduled = with(node, move |node| node.schedule(planned, at)).await;
    Ok(Json(scheduled.map_err(refused)?).into_response())
}
