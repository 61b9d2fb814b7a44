//! Events: what packets have to tell beside what they are charged to, read from the kernel's ring, given the names of those
//! they are about, logged, and handed to whoever asks.
//!
//! Programs write an event before they add its packet to a row, and leave it out where the ring is full. Nothing that is counted
//! depends on what is done here.

mod feed;
mod first_uses;
mod owners;

use std::collections::VecDeque;
use std::iter;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use classifier::events::{self as kernel, Kind};
use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use self::first_uses::FirstUses;
use self::owners::Owners;
use super::node::Node;
use crate::accounts::{Accounts, Change, Charged, Layout};
use crate::api::server::{Shared, with};
use crate::config::{self, EventKind};
use crate::datapath::events_map::Ring;
use crate::datapath::maps::{Maps, MapsError};
use crate::engine::lines::Lines;

pub use self::feed::{Batch, Event, Feed, Gap, State};

/// Most events that are read in one go: nobody has to wait long for the node.
const AT_ONCE: usize = 4096;

/// How long a CPU keeps a first packet to itself at most.
const NOTED: Duration = Duration::from_millis(100);

/// What a node knows about events.
#[derive(Debug)]
pub(super) struct News {
    ring: Ring,
    /// Events of before the start.
    waiting: VecDeque<kernel::Event>,
    /// The ring of the programs of an earlier agent, if it had another size, until they are replaced.
    earlier: Option<Ring>,
    first_uses: FirstUses,
    owners: Owners,
    feed: Arc<Feed>,
    /// Events that were lost, of which the log knows.
    lost: u64,
    /// Rows nobody has, of which the log knows.
    strange: bool,
}

impl News {
    /// Takes over the ring, with what is in it.
    ///
    /// # Errors
    /// When the kernel refuses a ring of the configured size.
    pub(super) fn take_over(
        maps: &mut Maps,
        lines: &Lines,
        accounts: &Accounts,
        config: &config::Events,
    ) -> Result<Self, MapsError> {
        let mut earlier = maps.events.resize(config.ring_bytes)?;
        let mut ring = maps.events.ring()?;
        let mut waiting = VecDeque::new();
        let mut drain = || {
            let rings = earlier.iter_mut().chain([&mut ring]);
            for ring in rings {
                waiting.extend(ring);
            }
        };
        // Whatever has counted its first packet before now has told of it before now: it was read by an earlier agent, or
        // it is among what waits.
        drain();
        let mut first_uses = FirstUses::counted(lines, accounts.next_line);
        drain();
        for event in &waiting {
            if matches!(Kind::of(event.kind), Some(Kind::Used | Kind::Blocked)) {
                first_uses.remove(event.line, event.number.into());
            }
        }
        Ok(Self {
            ring,
            waiting,
            earlier,
            first_uses,
            owners: Owners::of(accounts),
            feed: Arc::new(Feed::new(config.keep, Timestamp::now())),
            lost: 0,
            strange: false,
        })
    }

    /// Learns which rows a change gives out, and that none of them has counted anything.
    pub(super) fn learn(&mut self, change: &Change) {
        self.owners.learn(change);
        for (line, length) in &change.reused {
            self.first_uses.forget(*line, *length);
        }
    }

    /// Whose row begins at a line, or was it last.
    pub(super) fn whose(&self, line: u32) -> Option<&Arc<str>> {
        self.owners.find(line)
    }

    /// Forgets the ring of programs that were replaced.
    pub(super) fn replaced(&mut self) {
        if let Some(mut earlier) = self.earlier.take() {
            self.waiting.extend(&mut earlier);
        }
    }

    fn next(&mut self) -> Option<kernel::Event> {
        self.waiting.pop_front().or_else(|| self.ring.next())
    }

    /// The next events, not too many of them.
    fn some(&mut self) -> Vec<kernel::Event> {
        iter::from_fn(|| self.next()).take(AT_ONCE).collect()
    }
}

impl Node {
    /// Where events are to be had.
    #[must_use]
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.news.feed)
    }

    /// Becomes readable when packets have something to tell.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn events_ready(&self) -> Result<AsyncFd<OwnedFd>, MapsError> {
        self.maps.events.readable()
    }

    /// Whether somebody wants to hear of first packets in meters.
    fn awaits_first_packets(&self) -> bool {
        let first = Kind::Used.bit() | Kind::Blocked.bit();
        self.config.events.watch().kinds & first != 0
    }

    /// Reads what packets have to tell; `true` when there is more.
    pub(super) fn read_events(&mut self) -> bool {
        let mut events = self.news.some();
        let more = events.len() == AT_ONCE;
        if self.awaits_first_packets() {
            // CPUs that noted a first packet have not told of it yet; what follows from it may be told already.
            self.gather();
            events.extend(self.news.some());
            events.sort_by_key(kernel::Event::order);
        }
        let clock = Clock::now();
        let told: Vec<_> = events
            .iter()
            .filter_map(|event| self.named(event, &clock))
            .collect();
        for event in &told {
            tell(event, &self.config.events.log);
        }
        self.news.feed.push(told);
        more
    }

    /// Says in the log how many events were lost, when there are more than the last time.
    pub(super) fn tell_of_lost_events(&mut self) {
        // Whoever asks for the status is told what is in the way.
        let Ok(lost) = self.lost_events() else { return };
        if lost > self.news.lost {
            warn!(
                "{} events were lost, {lost} since the counters began: the ring had no room for them; every byte was \
                 counted all the same. If it happens again raise `ring_bytes` under [events]",
                lost - self.news.lost
            );
            self.news.lost = lost;
        }
    }

    /// The event as people know it; `None` when it is none: it was told before, or nobody wants to know.
    fn named(&mut self, event: &kernel::Event, clock: &Clock) -> Option<Event> {
        let kind = Kind::of(event.kind)?;
        let Some((subscriber, layout)) = self.row(event.line) else {
            if !self.news.strange {
                warn!(
                    line = event.line,
                    "an event of a row that nobody has was left out"
                );
                self.news.strange = true;
            }
            return None;
        };
        let layout = &self.accounts.catalog.layouts[layout as usize];
        let number = u32::from(event.number);
        let mut named = Event {
            seq: 0,
            time: clock.time(event.time),
            event: EventKind::Low,
            subscriber: subscriber.to_string(),
            plan: layout.plan.clone(),
            bucket: None,
            class: None,
            left: None,
        };
        match kind {
            Kind::Low | Kind::Empty => {
                named.event = match kind {
                    Kind::Low => EventKind::Low,
                    _ => EventKind::Empty,
                };
                named.bucket = Some(layout.buckets.get(number as usize)?.clone());
                named.left = Some(event.left);
            }
            Kind::Used | Kind::Blocked => {
                let class = layout.meters.get(number as usize)?.class;
                named.event = match kind {
                    Kind::Used => EventKind::ClassFirstUsed,
                    _ => EventKind::Blocked,
                };
                named.class = Some(self.accounts.catalog.classes[class as usize].name.clone());
                let mut like_it = alike(layout, number);
                let uses = &mut self.news.first_uses;
                let before = like_it.any(|meter| uses.contains(event.line, meter));
                if !uses.insert(event.line, number) || before {
                    return None;
                }
            }
        }
        // What waited in the ring may not be wanted any more.
        self.config
            .events
            .kinds
            .contains(&named.event)
            .then_some(named)
    }

    /// Whose a row is, and its layout.
    fn row(&self, line: u32) -> Option<(Arc<str>, u32)> {
        let id = self.news.whose(line)?;
        let account = self.accounts.subscribers.get(id)?;
        let present = account.session.as_ref().map(|session| session.row);
        let row = present.filter(|row| row.line == line).or_else(|| {
            let mut ended = self.accounts.ended.iter().rev();
            ended.find_map(|ended| (ended.row.line == line).then_some(ended.row))
        })?;
        Some((Arc::clone(id), row.layout))
    }
}

/// Meters whose first packet is the same news as a meter's: all that drop, or all of its class that do not.
fn alike(layout: &Layout, meter: u32) -> impl Iterator<Item = u32> {
    let key = layout.meters[meter as usize];
    let drops = |charged| charged == Charged::Dropped;
    let alike = (0..).zip(&layout.meters).filter(move |(_, other)| {
        drops(other.charged) == drops(key.charged)
            && (drops(key.charged) || other.class == key.class)
    });
    alike.map(|(number, _)| number)
}

/// A line in the log: for people where they want it, else for who looks closer.
fn tell(event: &Event, log: &[EventKind]) {
    let Event {
        time,
        subscriber,
        plan,
        ..
    } = event;
    let (bucket, class) = (event.bucket.as_deref(), event.class.as_deref());
    let left = event.left;
    let what = match event.event {
        EventKind::Low => "a bucket is low",
        EventKind::Empty => "a bucket ran out",
        EventKind::Blocked => "first packet dropped",
        EventKind::ClassFirstUsed => "class first used",
    };
    if log.contains(&event.event) {
        info!(%time, subscriber, plan, bucket, class, left, "{what}");
    } else {
        debug!(%time, subscriber, plan, bucket, class, left, "{what}");
    }
}

/// The two clocks, read together.
struct Clock {
    now: Timestamp,
    /// The clock the kernel's programs read.
    up: u64,
}

impl Clock {
    fn now() -> Self {
        let up = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
        let up = up.map_or(0, |up| {
            up.tv_sec() as u64 * 1_000_000_000 + up.tv_nsec() as u64
        });
        Self {
            now: Timestamp::now(),
            up,
        }
    }

    /// The time of an event that the kernel has noted.
    fn time(&self, up: u64) -> Timestamp {
        let ago = i64::try_from(self.up.saturating_sub(up)).unwrap_or(0);
        let time = self.now.checked_sub(SignedDuration::from_nanos(ago));
        time.unwrap_or(self.now)
    }
}

/// Reads events whenever the ring has some. First packets are told of when they are added to their rows: what a CPU noted is
/// not left there for long.
pub(super) async fn read(node: Shared, ring: AsyncFd<OwnedFd>) -> std::io::Result<()> {
    let awaited = with(Arc::clone(&node), |node| node.awaits_first_packets()).await;
    let mut gathering = tokio::time::interval(NOTED);
    gathering.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while with(Arc::clone(&node), Node::read_events).await {}
        tokio::select! {
            ready = ring.readable() => ready?.clear_ready(),
            _ = gathering.tick(), if awaited => {}
        }
    }
}
