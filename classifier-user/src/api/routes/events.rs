//! Events over HTTP, one JSON object a line: what is kept, and, with `follow`, what comes.
//!
//! Each reader has a task of its own that goes on only as fast as its reader reads; whatever is not kept any more by
//! then is told as a number.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::agent::events::{Event, Feed, Gap};
use crate::api::body::Pieces;
use crate::api::extract::Query;

/// A line of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = EventLine)]
#[serde(untagged)]
pub enum Line {
    /// An event.
    Event(Event),
    /// Events that are not there any more: `{"event":"gap","missed":...,"restarted":...}`.
    Gap {
        /// `gap`.
        event: GapWord,
        /// How many.
        #[serde(flatten)]
        gap: Gap,
    },
}

/// What stands for [`Line::Gap`] where events have their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapWord {
    /// A gap.
    Gap,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those behind this number; how many of them are kept no longer is told.
    #[serde(default)]
    #[param(required = false, format = "uint64")]
    after: u64,
    /// Only of this subscriber.
    subscriber: Option<String>,
    /// Goes on with those that come, until the agent stops.
    #[serde(default)]
    #[param(required = false)]
    follow: bool,
}

/// Events in a piece of the answer.
const AT_ONCE: usize = 256;

/// Events that are kept and, with `follow`, those that come: a JSON object a line, an `EventLine` each.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(Which),
    responses((status = 200, body = String, content_type = "application/x-ndjson"))
)]
pub(super) async fn list(State(feed): State<Arc<Feed>>, Query(which): Query<Which>) -> Response {
    // One piece under way: the task waits for its reader.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(feed, which, sender));
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(Pieces(receiver))).into_response()
}

/// Hands over what there is, and what comes, until the reader is gone or the agent stops.
async fn send(feed: Arc<Feed>, which: Which, sender: mpsc::Sender<Result<Bytes, Infallible>>) {
    let mut state = feed.listen();
    let mut after = which.after;
    loop {
        // Seen before it is read: what comes in between wakes us again.
        let ended = state.borrow_and_update().ended;
        let batch = feed.after(after, AT_ONCE);
        let is_last = batch.events.len() < AT_ONCE;
        after = batch.next;
        let gap = batch.gap.map(|gap| Line::Gap {
            event: GapWord::Gap,
            gap,
        });
        let wanted = |event: &Event| {
            let of = which.subscriber.as_ref();
            of.is_none_or(|subscriber| event.subscriber == *subscriber)
        };
        let events = batch.events.into_iter().filter(wanted).map(Line::Event);
        let mut piece = Vec::new();
        for line in gap.into_iter().chain(events) {
            // Writing to memory, of what has no keys but strings, does not fail.
            if serde_json::to_writer(&mut piece, &line).is_ok() {
                piece.push(b'\n');
            }
        }
        if !piece.is_empty() && sender.send(Ok(piece.into())).await.is_err() {
            return;
        }
        if !is_last {
            continue;
        }
        if !which.follow || ended {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            // The feed lives as long as we hold it.
            _ = state.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_stands_where_events_stand() {
        let gap = Line::Gap {
            event: GapWord::Gap,
            gap: Gap {
                missed: 12,
                restarted: false,
            },
        };
        let text = serde_json::to_string(&gap).unwrap();
        assert_eq!(text, r#"{"event":"gap","missed":12,"restarted":false}"#);
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), gap);
        let event = r#"{"seq":7,"time":"2026-03-14T09:26:53.58979Z","event":"blocked","subscriber":"anna","plan":"small","class":"internet"}"#;
        let line: Line = serde_json::from_str(event).unwrap();
        assert!(matches!(&line, Line::Event(event) if event.seq == 7));
        assert_eq!(serde_json::to_string(&line).unwrap(), event);
    }
}
