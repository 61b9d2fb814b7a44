//! `[events]` of the configuration: what the agent is told of by packets, and what it does with it.

use classifier::events::Kind;
use serde::{Deserialize, Serialize};

use crate::datapath::events_map::{MAX_RING_BYTES, MIN_RING_BYTES};
use crate::diagnostic::Diagnostics;
use crate::image::Watch;
use crate::policy::Place;

/// What the agent is told of by packets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Percent of what the plan grants that are used when a bucket is `low`.
    pub low: u8,
    /// What is wanted.
    pub kinds: Vec<EventKind>,
    /// What of it is in the log.
    pub log: Vec<EventKind>,
    /// How many of the latest events are kept for readers.
    pub keep: usize,
    /// Bytes of the ring in which events wait for the agent.
    pub ring_bytes: u32,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A bucket fell to its low mark.
    Low,
    /// A bucket ran out.
    Empty,
    /// The first packet of a subscriber was dropped.
    Blocked,
    /// A subscriber used a class for the first time.
    ClassFirstUsed,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Low, Self::Empty, Self::Blocked, Self::ClassFirstUsed];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Empty => "empty",
            Self::Blocked => "blocked",
            Self::ClassFirstUsed => "class_first_used",
        }
    }

    /// What packets have to tell for it.
    const fn told_by(self) -> Kind {
        match self {
            Self::Low => Kind::Low,
            Self::Empty => Kind::Empty,
            Self::Blocked => Kind::Blocked,
            Self::ClassFirstUsed => Kind::Used,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            low: 80,
            kinds: EventKind::ALL.into(),
            log: vec![EventKind::Low, EventKind::Empty, EventKind::Blocked],
            keep: 10_000,
            ring_bytes: 1 << 20,
        }
    }
}

/// Most events that are kept.
const MOST_KEPT: usize = 10_000_000;

impl Events {
    /// What packets are to tell.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let bits = self.kinds.iter().map(|kind| kind.told_by().bit());
        Watch {
            kinds: bits.fold(0, |kinds, bit| kinds | bit),
            low: self.low,
        }
    }

    pub(super) fn check(&self, start: &Place, out: &mut Diagnostics) {
        let mut error =
            |message: String, help: &str| out.error(start.clone(), "config", message, help);
        if !(1..=99).contains(&self.low) {
            error(
                format!("`low` under [events] is {}", self.low),
                "write how many percent are used, 1 to 99; leave \"low\" out of `kinds` if nobody is to be told",
            );
        }
        if !self.ring_bytes.is_power_of_two()
            || !(MIN_RING_BYTES..=MAX_RING_BYTES).contains(&self.ring_bytes)
        {
            error(
                format!(
                    "`ring_bytes` is {}, and no power of two from {MIN_RING_BYTES} to {MAX_RING_BYTES}",
                    self.ring_bytes
                ),
                "an event takes 32 bytes; 1048576 hold 32,768 of them",
            );
        }
        if !(1..=MOST_KEPT).contains(&self.keep) {
            error(
                format!("`keep` under [events] is {}", self.keep),
                "keep 1 to 10000000 of the latest events for those who ask",
            );
        }
    }
}
