//! The kernel's counters of interfaces beside the books.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::agent::activation::blocking;
use crate::api::extract::{Json, Query};
use crate::api::problem::{Answer, Problem};
use crate::api::records::reading;
use crate::api::server::{LedgerPath, Shared, with};
use crate::api::times::times;
use crate::datapath::grace;
use crate::policy::suggest;
use crate::reconcile::Reconciliation;

/// Which intervals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// Those that ended after this: a time such as `2026-03-01T00:00:00+05:00`, or a date in the configured time zone; the last
    /// day, if it is not said.
    from: Option<String>,
    /// And not after this; up to now, if it is not said.
    to: Option<String>,
    /// Of this interface only.
    interface: Option<String>,
}

/// What passed interfaces, as the kernel counted it and as the books did: interval by interval, oldest first; and what was
/// counted since the last one, up to now.
#[utoipa::path(
    get,
    path = "/v1/reconciliation",
    tag = "node",
    params(Period),
    responses(
        (status = 200, body = Vec<Reconciliation>),
        (status = 404, description = "There is no such interface."),
        (status = 422, description = "A bound is no time, or the period ends before it begins."),
    )
)]
pub(super) async fn list(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    Query(period): Query<Period>,
) -> Answer<Json<Vec<Reconciliation>>> {
    const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
    let now = Timestamp::now();
    let [since, until] = times(&node, [period.from, period.to]).await?;
    let to = until.unwrap_or(now);
    let from = since.unwrap_or_else(|| to.saturating_sub(DAY).unwrap_or(to));
    if from > to {
        return Err(Problem::invalid(format!("from {from} is after to {to}")));
    }
    // First: what is written down meanwhile is told twice by nobody.
    let pending = match until {
        None => unreconciled(&node).await.map_err(Problem::internal)?,
        Some(_) => Vec::new(),
    };
    let rows = reading(ledger, move |reader| reader.reconciliations(from, to)).await;
    let mut rows = rows.map_err(Problem::internal)?;
    let is_told = |row: &Reconciliation| {
        rows.iter()
            .any(|told| told.interface == row.interface && told.to > row.from)
    };
    let pending: Vec<_> = pending
        .into_iter()
        .filter(|row| row.to > from && row.from <= to && !is_told(row))
        .collect();
    rows.extend(pending);
    if let Some(interface) = period.interface {
        rows.retain(|row| row.interface == interface);
        if rows.is_empty() {
            // Nothing passed it, or it is misspelt.
            let known = with(node, |node| node.interface_names()).await;
            if !known.contains(&interface) {
                let known = known.iter().map(String::as_str);
                return Err(Problem::not_found(format!(
                    "there is no interface {interface:?}; {}",
                    suggest(&interface, "interfaces", known)
                )));
            }
        }
    }
    Ok(Json(rows))
}

/// What is not written down yet. Others have the node while this waits for the kernel.
async fn unreconciled(node: &Shared) -> anyhow::Result<Vec<Reconciliation>> {
    let before = with(Arc::clone(node), |node| node.before_reading()).await?;
    blocking(grace::wait).await?;
    with(Arc::clone(node), move |node| node.unreconciled(&before)).await
}
