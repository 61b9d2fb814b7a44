//! Records, as billing pulls them: by number, in pages, waiting for new ones if there are none.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::agent::events::Feed;
use crate::api::body::Pieces;
use crate::api::client::escape;
use crate::api::extract::Query;
use crate::api::problem::{Answer, Problem};
use crate::api::records::{Asked, Form, Page, reading, send};
use crate::api::server::LedgerPath;
use crate::ledger::usage::AnyRecord;

/// Kinds of records.
pub const KINDS: [&str; 11] = [
    "usage",
    "grant",
    "debit",
    "return",
    "expire",
    "write_off",
    "state",
    "outage",
    "correction",
    "gap",
    "prune",
];

/// Records of a page when nobody says how many.
const USUAL: u64 = 10_000;
/// Most records of a page.
const MOST: u64 = 1_000_000;
/// Longest time new records are waited for.
const LONGEST_WAIT: u64 = 60;
/// How often it is looked whether there are new ones.
const PAUSE: Duration = Duration::from_millis(100);

/// Header: the number to ask for next.
pub const NEXT_AFTER: &str = "zerorate-next-after";
/// Header: how many records a page holds.
pub const COUNT: &str = "zerorate-count";
/// Header: number of the last record there is.
pub const LAST: &str = "zerorate-last";

/// Which records.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those behind this number. Numbers go on over restarts of the agent, reboots, and other counters.
    #[serde(default)]
    #[param(required = false, format = "uint64")]
    after: u64,
    /// Only of this subscriber.
    subscriber: Option<String>,
    /// Only of this kind: `usage`, `grant`, `debit`, `return`, `expire`, `write_off`, `state`, `outage`,
    /// `correction`, `gap` or `prune`.
    kind: Option<String>,
    /// At most so many: 10000 if nothing is said, never more than 1000000.
    #[param(format = "uint64")]
    limit: Option<u64>,
    /// If there are none, waits so many seconds for some to come, never longer than 60.
    #[serde(default)]
    #[param(required = false, format = "uint64")]
    wait: u64,
}

/// Records behind a number, oldest first: an array, with `Accept: application/x-ndjson` an object a line, with
/// `Accept: text/csv` a table (`text/csv; header=absent`: without its head).
///
/// An empty page is an answer. The same range is the same bytes at any time. If an answer ends before its end, the connection
/// is cut.
#[utoipa::path(
    get,
    path = "/v1/records",
    tag = "records",
    params(Which),
    responses(
        (
            status = 200,
            content(
                (Vec<AnyRecord> = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
            ),
            headers(
                ("Zerorate-Next-After" = u64, description = "`after` of the next page."),
                ("Zerorate-Count" = u64, description = "How many records the page holds."),
                ("Zerorate-Last" = u64, description = "Number of the last record there was."),
                ("Link" = String, description = "The next page, as `rel=\"next\"`."),
            ),
        ),
        (status = 406, description = "None of the three forms is accepted."),
        (status = 422, description = "There are no records of this kind."),
    )
)]
pub(super) async fn list(
    State(ledger): State<LedgerPath>,
    State(feed): State<Arc<Feed>>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Answer<Response> {
    let form = accepted(&headers)?;
    if let Some(kind) = &which.kind
        && !KINDS.contains(&kind.as_str())
    {
        return Err(Problem::invalid(format!(
            "there are no records of kind `{kind}`: {}",
            KINDS.join(", ")
        )));
    }
    let asked = Asked {
        // What SQLite's numbers hold.
        after: which.after.min(i64::MAX.unsigned_abs()),
        subscriber: which.subscriber,
        kind: which.kind,
        limit: which.limit.unwrap_or(USUAL).min(MOST),
    };
    let wait = Duration::from_secs(which.wait.min(LONGEST_WAIT));
    let page = settle(&ledger, &feed, &asked, wait).await?;
    let headers = said(&asked, page, form)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(ledger, asked, page, form, sender));
    Ok((headers, Body::new(Pieces(receiver))).into_response())
}

/// Settles what the page holds, and waits for it to hold something.
async fn settle(ledger: &LedgerPath, feed: &Feed, asked: &Asked, wait: Duration) -> Answer<Page> {
    let deadline = Instant::now() + wait;
    let mut state = feed.listen();
    let mut from = asked.after;
    let mut known = None;
    loop {
        let of = asked.clone();
        let looked = reading(ledger.clone(), move |reader| {
            // Nothing new, nothing to look through.
            if known == Some(reader.last_seq()?) {
                return Ok(None);
            }
            of.page(reader, from).map(Some)
        });
        let page = looked.await.map_err(Problem::internal)?;
        if let Some(page) = page {
            from = page.through;
            known = Some(page.last);
            if page.count > 0 {
                return Ok(page);
            }
        }
        let empty = Page {
            count: 0,
            through: from,
            last: known.unwrap_or(0),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || asked.limit == 0 || state.borrow().ended {
            return Ok(empty);
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(PAUSE)) => {}
            ended = state.wait_for(|state| state.ended) => {
                drop(ended);
                return Ok(empty);
            }
        }
    }
}

/// The headers of a page.
fn said(asked: &Asked, page: Page, form: Form) -> Answer<HeaderMap> {
    let mut link = format!("</v1/records?after={}&limit={}", page.through, asked.limit);
    for (name, value) in [("subscriber", &asked.subscriber), ("kind", &asked.kind)] {
        if let Some(value) = value {
            link += &format!("&{name}={}", escape(value));
        }
    }
    link += ">; rel=\"next\"";
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(NEXT_AFTER, page.through.into());
    headers.insert(COUNT, page.count.into());
    headers.insert(LAST, page.last.into());
    headers.insert(LINK, link.try_into().map_err(Problem::internal)?);
    Ok(headers)
}

/// What records are to look like: the best of what is accepted, the first of those that are equally good.
pub(super) fn accepted(headers: &HeaderMap) -> Answer<Form> {
    let mut best: Option<(f32, Form)> = None;
    let mut says = false;
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            says |= !range.trim().is_empty();
            let Some((quality, form)) = form(range) else {
                continue;
            };
            if quality > 0.0 && best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, form));
            }
        }
    }
    match best {
        Some((_, form)) => Ok(form),
        None if !says => Ok(Form::Json),
        None => Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "records are application/json, application/x-ndjson or text/csv: accept one of them",
        )),
    }
}

/// What one range of media types is answered with, and how much it is wanted.
fn form(range: &str) -> Option<(f32, Form)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut header) = (1.0, true);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.trim().parse().ok()?,
            "header" => header = !value.trim().eq_ignore_ascii_case("absent"),
            _ => {}
        }
    }
    let form = match kind.as_str() {
        "*/*" | "application/*" | "application/json" => Form::Json,
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Form::Lines,
        "text/*" | "text/csv" => Form::Csv { header },
        _ => return None,
    };
    Some((quality, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_what_is_accepted_is_sent() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            accepted(&headers).map_err(|problem| problem.status)
        };
        let csv = Form::Csv { header: true };
        for (accept, expected) in [
            ("", Ok(Form::Json)),
            ("*/*", Ok(Form::Json)),
            ("application/x-ndjson", Ok(Form::Lines)),
            ("text/csv, application/json", Ok(csv)),
            ("application/json;q=0.5, Text/CSV;q=0.9", Ok(csv)),
            ("text/csv; header=absent", Ok(Form::Csv { header: false })),
            ("text/html, application/x-ndjson;q=0.1", Ok(Form::Lines)),
            ("text/html", Err(406)),
            ("application/json;q=0", Err(406)),
            ("text/csv;q=much", Err(406)),
        ] {
            assert_eq!(of(accept), expected, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()).unwrap(), Form::Json);
    }
}
