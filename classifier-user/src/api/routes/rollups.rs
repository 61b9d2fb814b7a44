//! Usage by the hour and by the day, over any time, also of records that are sealed or were pruned.

use std::io;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::records::{COUNT, NEXT_AFTER, accepted};
use crate::api::client::escape;
use crate::api::extract::Query;
use crate::api::problem::{Answer, Problem};
use crate::api::records::{Form, reading};
use crate::api::server::{LedgerPath, Shared};
use crate::api::times::times;
use crate::ledger::rollups::{Page, Place, Rolled, Rollup, Sought, Span};

/// Rows of a page when nobody says how many.
const USUAL: usize = 10_000;
/// Most rows of a page.
const MOST: usize = 100_000;

/// Header: records up to this number are in the answer.
const ROLLED_THROUGH: &str = "zerorate-rolled-through";
/// Header: all that moved until then is in the answer.
pub const COMPLETE_UNTIL: &str = "zerorate-complete-until";

/// Which usage, and how it is put together.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// `hour` or `day`.
    span: Span,
    /// Periods that do not begin before this: RFC 3339, or a date, which is its first moment in `timezone`.
    from: Option<String>,
    /// And do not end after this.
    to: Option<String>,
    /// Only of this subscriber.
    subscriber: Option<String>,
    /// Only of this class.
    class: Option<String>,
    /// Only what is charged so: `free`, `metered`, a bucket's name, or `dropped`.
    charged: Option<String>,
    /// Over all subscribers.
    #[serde(default)]
    #[param(required = false)]
    sum: bool,
    /// Where the page before ended, as its answer said.
    after: Option<String>,
    /// At most so many rows: 10000 if nothing is said, never more than 100000. Rows of a subscriber and period, or of a
    /// period's sum, are never parted: there may be more where these alone are.
    limit: Option<usize>,
}

/// What usage records add up to, by hours or days of the configured time zone, oldest first: a row for each period,
/// subscriber, plan, class, charge and version of the policy. An array, with `Accept: application/x-ndjson` an object a line,
/// with `Accept: text/csv` a table.
///
/// A record counts for the period in which it ends. A period that is over does not change any more when everything until its
/// end is in: `Zerorate-Complete-Until`.
#[utoipa::path(
    get,
    path = "/v1/usage/rollup",
    tag = "records",
    params(Which),
    responses(
        (
            status = 200,
            content(
                (Vec<Rollup> = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
            ),
            headers(
                ("Zerorate-Next-After" = String, description = "`after` of the next page; left out on the last."),
                ("Zerorate-Count" = u64, description = "How many rows the page holds."),
                ("Zerorate-Rolled-Through" = u64, description = "Records up to this number are in it."),
                ("Zerorate-Complete-Until" = String, description = "All that moved until then is in it; left out where that \
                    is not known yet."),
                ("Link" = String, description = "The next page, as `rel=\"next\"`; left out on the last."),
            ),
        ),
        (status = 406, description = "None of the three forms is accepted."),
        (status = 422, description = "A bound is no time, `after` is not the end of a page, or a sum is asked for of one."),
    )
)]
pub(super) async fn list(
    State(node): State<Shared>,
    State(ledger): State<LedgerPath>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Answer<Response> {
    let form = accepted(&headers)?;
    if which.sum && which.subscriber.is_some() {
        return Err(Problem::invalid(
            "`sum` is over all subscribers: leave it out, or `subscriber`",
        ));
    }
    let [from, to] = times(&node, [which.from.clone(), which.to.clone()]).await?;
    let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
    if from > to {
        return Err(Problem::invalid(format!("from {from} is after to {to}")));
    }
    let after = which.after.as_deref().map(str::parse::<Place>);
    let after = after
        .transpose()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let asked = which.clone();
    let read = reading(ledger, move |reader| {
        // First: what is added meanwhile is in the rows, and not said to be.
        let rolled = reader.rolled()?;
        let page = reader.rollups(Sought {
            span: asked.span,
            from,
            to,
            subscriber: asked.subscriber.as_deref(),
            class: asked.class.as_deref(),
            charged: asked.charged.as_deref(),
            sum: asked.sum,
            after,
            limit: asked.limit.unwrap_or(USUAL).clamp(1, MOST),
        })?;
        Ok((rolled, page))
    });
    let (rolled, page) = read.await.map_err(Problem::internal)?;
    let headers = said(&which, &page, rolled, form)?;
    let body = body(form, &page.rows).map_err(Problem::internal)?;
    Ok((headers, body).into_response())
}

fn said(which: &Which, page: &Page, rolled: Rolled, form: Form) -> Answer<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(COUNT, page.rows.len().into());
    headers.insert(ROLLED_THROUGH, rolled.through.into());
    let mut put = |name, text: String| {
        let value = text.try_into().map_err(Problem::internal)?;
        headers.insert(name, value);
        Ok::<_, Problem>(())
    };
    if let Some(complete) = rolled.complete {
        put(COMPLETE_UNTIL, complete.to_string())?;
    }
    if let Some(next) = page.next {
        put(NEXT_AFTER, next.to_string())?;
        let mut link = format!(
            "</v1/usage/rollup?span={}&after={next}",
            which.span.as_str()
        );
        let limit = which.limit.map(|limit| limit.to_string());
        for (name, value) in [
            ("from", &which.from),
            ("to", &which.to),
            ("subscriber", &which.subscriber),
            ("class", &which.class),
            ("charged", &which.charged),
            ("limit", &limit),
            ("sum", &which.sum.then(|| "true".to_owned())),
        ] {
            if let Some(value) = value {
                link += &format!("&{name}={}", escape(value));
            }
        }
        let name = LINK.as_str();
        let value = format!("{link}>; rel=\"next\"").try_into();
        headers.insert(name, value.map_err(Problem::internal)?);
    }
    Ok(headers)
}

fn body(form: Form, rows: &[Rollup]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match form {
        Form::Json => serde_json::to_writer(&mut out, rows)?,
        Form::Lines => {
            for row in rows {
                serde_json::to_writer(&mut out, row)?;
                out.push(b'\n');
            }
        }
        Form::Csv { header } => {
            let mut csv = csv::Writer::from_writer(&mut out);
            if header {
                csv.write_record(Rollup::FIELDS)?;
            }
            for row in rows {
                csv.write_record(row.cells())?;
            }
            csv.flush()?;
            drop(csv);
        }
    }
    Ok(out)
}
