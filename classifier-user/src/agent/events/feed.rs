//! The latest events, for those who ask: numbered, as many as are kept, and a sign when there are more.
//!
//! Readers come with the number of the last event they have and take what is behind it. Nobody waits for them: one that is
//! too slow finds out how many it missed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::EventKind;

/// What happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Its number: the next one's is greater by one. An agent that starts goes on with a greater number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub event: EventKind,
    /// Id of the subscriber.
    pub subscriber: String,
    /// Its plan.
    pub plan: String,
    /// The bucket, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The service class, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Bytes that were left in the bucket then; zero or below when it ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<i64>,
}

/// Events a reader does not get, because they are not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gap {
    /// How many, of whomever, since the agent started.
    pub missed: u64,
    /// Whether the agent was started since: what an earlier one kept is gone, too.
    pub restarted: bool,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it missed before it.
    pub gap: Option<Gap>,
    /// Events, oldest first.
    pub events: Vec<Event>,
    /// The number to come again with.
    pub next: u64,
}

/// The latest events.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    state: watch::Sender<State>,
}

/// What readers wait for a change of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Number of the next event.
    next: u64,
    /// There will be no more.
    pub ended: bool,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Event>,
    most: usize,
    /// Number of the first event since the start.
    first: u64,
    next: u64,
}

impl Feed {
    /// Keeps so many events; the first gets the number of microseconds since 1970, so that numbers go on growing from one
    /// agent to the next.
    #[must_use]
    pub fn new(most: usize, now: Timestamp) -> Self {
        Self::beginning_at(most, now.as_microsecond().max(1).unsigned_abs())
    }

    fn beginning_at(most: usize, first: u64) -> Self {
        let kept = Kept {
            events: VecDeque::new(),
            most,
            first,
            next: first,
        };
        let (state, _) = watch::channel(State {
            next: first,
            ended: false,
        });
        Self {
            kept: Mutex::new(kept),
            state,
        }
    }

    /// Gives events their numbers and keeps them; the oldest make room.
    pub fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut kept = self.kept();
        for event in events {
            if kept.events.len() == kept.most {
                kept.events.pop_front();
            }
            let seq = kept.next;
            kept.events.push_back(Event { seq, ..event });
            kept.next += 1;
        }
        let next = kept.next;
        drop(kept);
        self.state.send_if_modified(|state| {
            let is_new = state.next != next;
            state.next = next;
            is_new
        });
    }

    /// Says that there will be no more.
    pub fn end(&self) {
        self.state.send_modify(|state| state.ended = true);
    }

    /// How many there were since the agent started.
    #[must_use]
    pub fn total(&self) -> u64 {
        let kept = self.kept();
        kept.next - kept.first
    }

    /// Wakes when there is something to come for.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The events behind a number, so many at the most; behind 0: all that are kept.
    #[must_use]
    pub fn after(&self, after: u64, most: usize) -> Batch {
        let kept = self.kept();
        let oldest = kept.next - kept.events.len() as u64;
        let ours = kept.first - 1..kept.next;
        let gap = if after == 0 {
            None
        } else if ours.contains(&after) {
            Some(Gap {
                missed: (oldest - 1).saturating_sub(after),
                restarted: false,
            })
        } else {
            Some(Gap {
                missed: oldest - kept.first,
                restarted: true,
            })
        };
        let from = match ours.contains(&after) {
            true => oldest.max(after + 1),
            false => oldest,
        };
        let skipped = (from - oldest) as usize;
        let events: Vec<_> = kept
            .events
            .iter()
            .skip(skipped)
            .take(most)
            .cloned()
            .collect();
        Batch {
            gap: gap.filter(|gap| gap.missed > 0 || gap.restarted),
            next: from + events.len() as u64 - 1,
            events,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            seq: 0,
            time: Timestamp::UNIX_EPOCH,
            event: EventKind::Empty,
            subscriber: "anna".to_owned(),
            plan: "small".to_owned(),
            bucket: Some("main".to_owned()),
            class: None,
            left: Some(-7),
        }
    }

    /// What a reader gets: missed, restarted, the numbers, and what to come again with.
    fn read(feed: &Feed, after: u64, most: usize) -> (u64, bool, Vec<u64>, u64) {
        let batch = feed.after(after, most);
        let gap = batch.gap.unwrap_or(Gap {
            missed: 0,
            restarted: false,
        });
        let numbers = batch.events.iter().map(|event| event.seq).collect();
        (gap.missed, gap.restarted, numbers, batch.next)
    }

    #[test]
    fn readers_get_what_is_kept_and_are_told_of_the_rest() {
        let feed = Feed::beginning_at(3, 100);
        assert_eq!(read(&feed, 0, 9), (0, false, vec![], 99));
        assert_eq!(read(&feed, 99, 9), (0, false, vec![], 99));
        feed.push([event(), event()]);
        assert_eq!(read(&feed, 0, 9), (0, false, vec![100, 101], 101));
        assert_eq!(read(&feed, 0, 1), (0, false, vec![100], 100));
        assert_eq!(read(&feed, 100, 9), (0, false, vec![101], 101));
        assert_eq!(read(&feed, 101, 9), (0, false, vec![], 101));
        feed.push([event(), event(), event()]);
        // 102 to 104 are kept: 100 and 101 are gone.
        assert_eq!(read(&feed, 0, 9), (0, false, vec![102, 103, 104], 104));
        assert_eq!(read(&feed, 99, 9), (2, false, vec![102, 103, 104], 104));
        assert_eq!(read(&feed, 100, 2), (1, false, vec![102, 103], 103));
        assert_eq!(read(&feed, 101, 9), (0, false, vec![102, 103, 104], 104));
        assert_eq!(read(&feed, 104, 9), (0, false, vec![], 104));
        // From an earlier agent, or a clock that was set back.
        assert_eq!(read(&feed, 7, 9), (2, true, vec![102, 103, 104], 104));
        assert_eq!(read(&feed, 105, 9), (2, true, vec![102, 103, 104], 104));
    }

    #[test]
    fn readers_wake_for_news_and_at_the_end() {
        let feed = Feed::new(10, Timestamp::now());
        let mut reader = feed.listen();
        assert!(!reader.has_changed().unwrap());
        feed.push([]);
        assert!(!reader.has_changed().unwrap());
        feed.push([event()]);
        assert!(reader.has_changed().unwrap());
        assert!(!reader.borrow_and_update().ended);
        feed.end();
        assert!(reader.has_changed().unwrap() && reader.borrow().ended);
    }

    #[test]
    fn numbers_grow_from_one_agent_to_the_next_and_fit_what_readers_count_in() {
        let (early, late) = (Timestamp::now(), "2200-01-01T00:00:00Z".parse().unwrap());
        let [early, late] = [early, late].map(|now| {
            let feed = Feed::new(1, now);
            feed.push([event()]);
            feed.after(0, 1).events[0].seq
        });
        assert!(early < late);
        // JSON readers hold numbers in doubles.
        assert!(late < 1 << 53);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let text = serde_json::to_string(&event()).unwrap();
        assert_eq!(
            text,
            r#"{"seq":0,"time":"1970-01-01T00:00:00Z","event":"empty","subscriber":"anna","plan":"small","bucket":"main","left":-7}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event());
    }
}
