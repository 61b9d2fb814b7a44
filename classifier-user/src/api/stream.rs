//! Events over HTTP, one JSON object a line: what is kept, and, with `follow`, what comes.
//!
//! Each reader has a task of its own that goes on only as fast as its reader reads; whatever is not kept any more by
//! then is told as a number.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::body::{Bytes, Frame};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::agent::events::{Event, Feed, Gap};

/// A line of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapWord {
    /// A gap.
    Gap,
}

/// Which events.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    after: u64,
    subscriber: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// Events in a piece of the answer.
const AT_ONCE: usize = 256;

pub(super) fn routes(feed: Arc<Feed>) -> Router {
    Router::new()
        .route("/v1/events", get(events))
        .with_state(feed)
}

async fn events(State(feed): State<Arc<Feed>>, Query(which): Query<Which>) -> Response {
    // One piece under way: the task waits for its reader.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(feed, which, sender));
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(Pieces(receiver))).into_response()
}

/// Hands over what there is, and what comes, until the reader is gone or the agent stops.
async fn send(feed: Arc<Feed>, which: Which, sender: mpsc::Sender<Bytes>) {
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
        if !piece.is_empty() && sender.send(piece.into()).await.is_err() {
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

/// The answer's body.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
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
