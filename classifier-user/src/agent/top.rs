//! Who moves most now: rates between the last two looks at all rows, which the agent takes every checkpoint anyway.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::node::Node;
use crate::accounts::activity::Rate;

/// What the subscribers move now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Top {
    /// When all of them were looked at last.
    pub time: Timestamp,
    /// How many moved since the look before.
    pub moving: u64,
    /// How fast they were together.
    #[serde(flatten)]
    pub total: Speed,
    /// The fastest of them, fastest first.
    pub subscribers: Vec<TopSubscriber>,
}

/// One subscriber, and what it moves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopSubscriber {
    /// Id.
    pub subscriber: String,
    /// Plan.
    pub plan: String,
    /// How fast it is.
    #[serde(flatten)]
    pub speed: Speed,
}

/// IP bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Speed {
    /// Sent and let through.
    pub up_bps: u64,
    /// Received and let through.
    pub down_bps: u64,
    /// Either way, and not let through.
    pub dropped_bps: u64,
}

impl From<Rate> for Speed {
    fn from(rate: Rate) -> Self {
        Self {
            up_bps: rate.up,
            down_bps: rate.down,
            dropped_bps: rate.dropped,
        }
    }
}

/// What makes a subscriber one of the fastest.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Fastest {
    /// What it sends and receives.
    #[default]
    All,
    /// What it sends.
    Up,
    /// What it receives.
    Down,
    /// What is not let through of it.
    Dropped,
}

impl Fastest {
    const fn of(self, rate: Rate) -> u64 {
        match self {
            Self::All => rate.up.saturating_add(rate.down),
            Self::Up => rate.up,
            Self::Down => rate.down,
            Self::Dropped => rate.dropped,
        }
    }
}

impl Node {
    /// The subscribers that move most now, at most so many.
    #[must_use]
    pub fn top(&self, by: Fastest, limit: usize) -> Top {
        let watch = &self.recording.watch;
        let mut fastest: Vec<&(u32, Rate)> = watch.rates().iter().collect();
        let total = fastest
            .iter()
            .fold(Rate::default(), |sum, (_, rate)| sum.plus(*rate));
        let moving = fastest.len() as u64;
        let key = |(line, rate): &&(u32, Rate)| (std::cmp::Reverse(by.of(*rate)), *line);
        if limit < fastest.len() {
            fastest.select_nth_unstable_by_key(limit, key);
            fastest.truncate(limit);
        }
        fastest.sort_unstable_by_key(key);
        let fastest = fastest.into_iter().filter(|(_, rate)| by.of(*rate) > 0);
        let subscribers = fastest.filter_map(|(line, rate)| {
            let layout = watch.layout(*line)?;
            Some(TopSubscriber {
                subscriber: self.news.whose(*line)?.to_string(),
                plan: self.accounts.catalog.layouts[layout as usize].plan.clone(),
                speed: (*rate).into(),
            })
        });
        Top {
            time: self.recording.looked,
            moving,
            total: total.into(),
            subscribers: subscribers.collect(),
        }
    }
}
