//! What one subscriber may know: what is its own, also while it is suspended, and nothing of anybody else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::subscribers::{Period, shown, stated};
use crate::agent::subscribers::SubscriberView;
use crate::api::access::{Gate, Own};
use crate::api::extract::{Json, Query};
use crate::api::problem::{Answer, Problem};
use crate::api::server::{LedgerPath, Shared};
use crate::report::statement::Statement;

/// How long a token is good when nobody says: long enough to look.
const USUAL: u64 = 15 * 60;
/// The longest one is good, in seconds.
const LONGEST: u64 = 24 * 3600;

/// For whom a token is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSelfToken {
    /// Id of the subscriber.
    pub subscriber: String,
    /// How many seconds it is good: 900 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub lifetime_seconds: Option<u64>,
}

/// A token for one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct SelfToken {
    /// The token, to be sent as `Authorization: Bearer TOKEN`. It is not kept anywhere.
    pub token: String,
    /// Id of the subscriber.
    pub subscriber: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// Makes a token with which one subscriber, or a portal for it, sees what is its own.
#[utoipa::path(
    post,
    path = "/v1/self-tokens",
    tag = "self",
    request_body = NewSelfToken,
    responses(
        (status = 200, body = SelfToken),
        (status = 404, description = "Nothing is known of it."),
    )
)]
pub(super) async fn token(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    State(gate): State<Arc<Gate>>,
    Json(new): Json<NewSelfToken>,
) -> Answer<([(HeaderName, &'static str); 1], Json<SelfToken>)> {
    let lifetime = new.lifetime_seconds.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&lifetime) {
        return Err(Problem::invalid(format!(
            "`lifetime_seconds` is {lifetime}: a token is good for 1 to {LONGEST} seconds"
        )));
    }
    // Whoever has left may still see its last statement.
    let now = Some(Timestamp::now().to_string());
    let recent = Period::of(now.clone(), now);
    stated(node, ledger, new.subscriber.clone(), recent).await?;
    let lifetime = SignedDuration::from_secs(i64::try_from(lifetime).unwrap_or(i64::MAX));
    let made = gate
        .own_tokens
        .make(&new.subscriber, Timestamp::now(), lifetime);
    let made = made.ok_or_else(|| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no token could be made: what time is it?",
        )
    })?;
    let token = SelfToken {
        token: made.token,
        subscriber: new.subscriber,
        expires: made.expires,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(token)))
}

/// The subscriber itself: plan, state, what is left in its buckets, and time, speed and volume of its session.
#[utoipa::path(
    get,
    path = "/v1/self",
    tag = "self",
    responses((status = 200, body = SubscriberView), (status = 404, description = "It has no session."))
)]
pub(super) async fn one(State(node): State<Shared>, Own(id): Own) -> Answer<Json<SubscriberView>> {
    shown(node, id).await.map(Json)
}

/// What it used in a period: time, speed and volume, sent and received, by class and charge.
#[utoipa::path(
    get,
    path = "/v1/self/statement",
    tag = "self",
    params(Period),
    responses(
        (status = 200, body = Statement),
        (status = 404, description = "Nothing is known of it."),
        (status = 422, description = "A bound is no time, or the period ends before it begins."),
    )
)]
pub(super) async fn statement(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    Own(id): Own,
    Query(period): Query<Period>,
) -> Answer<Json<Statement>> {
    stated(node, ledger, id, period).await.map(Json)
}
