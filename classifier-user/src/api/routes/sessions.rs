//! Sessions of a subscriber, as they are and were.

use axum::extract::State;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::extract::{Json, Query};
use crate::api::problem::{Answer, Problem};
use crate::api::records::reading;
use crate::api::server::{LedgerPath, Shared, with};
use crate::ledger::usage::PastSession;

/// Whose sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// Id of the subscriber.
    subscriber: String,
}

/// A session that is, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct SessionView {
    /// Id of the subscriber.
    pub subscriber: String,
    /// Epoch of its counters, 16 hex digits.
    pub epoch: String,
    /// Its number in that epoch.
    pub session: u64,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; `null` while it runs, and until its end has been recorded.
    pub end: Option<Timestamp>,
    /// Its prefixes.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
}

impl SessionView {
    fn of(subscriber: &str, session: PastSession) -> Self {
        Self {
            subscriber: subscriber.to_owned(),
            epoch: format!("{:016x}", session.epoch),
            session: session.session,
            start: session.start,
            end: session.end,
            addresses: session.addresses,
        }
    }
}

/// Sessions of a subscriber of which something was recorded, oldest first, and the one that runs. None: an empty list.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "subscribers",
    params(Whose),
    responses((status = 200, body = Vec<SessionView>))
)]
pub(super) async fn list(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    Query(Whose { subscriber }): Query<Whose>,
) -> Answer<Json<Vec<SessionView>>> {
    let asked = subscriber.clone();
    let running = with(node, move |node| node.running_session(&asked)).await;
    let asked = subscriber.clone();
    let sessions = reading(ledger, move |reader| reader.sessions_of(&asked)).await;
    let mut sessions = sessions.map_err(Problem::internal)?;
    let same = |a: &PastSession, b: &PastSession| (a.epoch, a.session) == (b.epoch, b.session);
    sessions.extend(running.filter(|running| !sessions.iter().any(|known| same(known, running))));
    let views = sessions.into_iter();
    Ok(Json(
        views
            .map(|session| SessionView::of(&subscriber, session))
            .collect(),
    ))
}
