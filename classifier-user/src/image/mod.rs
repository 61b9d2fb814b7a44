//! Compiling a policy image: the writing half of [`classifier::image`], whose module page says what stands where.
//!
//! Everything is turned into elementary intervals first (ascending ranges that share one answer), which folds
//! neighbours of the same class together; the tables are then filled from those.

pub mod bindings;
mod index;
pub(crate) mod intervals;
mod labels;
mod plans;
mod table4;
mod table6;

pub use self::labels::Labels;
pub use self::plans::{ChainEntry, PlanEntry};

use classifier::image::{Binding, HEADER_WORDS, LINE_WORDS, MAGIC, MAX_WORDS, Remote, Words, at};
use classifier::layout::LAYOUT_VERSION;
use ipnet::IpNet;
use jiff::Timestamp;

use self::intervals::{Interval, intervals, overlay};
use crate::accounts::Change;
use crate::policy::Policy;

/// What an image is compiled from. Numbers (classes, rows, plan layouts) are the node's own.
#[derive(Debug, Default)]
pub struct Source {
    /// Serial number of the image.
    pub serial: u32,
    /// Class of every address no prefix names.
    pub default_class: u32,
    /// Prefixes and their classes; the longest wins.
    pub classes: Vec<(IpNet, u32)>,
    /// Prefixes of subscribers and who they belong to. Of two that overlap, one lies inside the other and belongs
    /// to the same.
    pub subscribers: Vec<(IpNet, Binding)>,
    /// Addresses the gateway itself answers to, broadcast addresses of its links included.
    pub gateway: Vec<IpNet>,
    /// Plan layouts by number.
    pub plans: Vec<(u32, PlanEntry)>,
    /// What classes are called in tags.
    pub labels: Labels,
    /// What packets are to tell.
    pub watch: Watch,
}

/// What packets are to tell; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Kinds of events that are wanted: the sum of their [`classifier::events::Kind::bit`].
    pub kinds: u32,
    /// Percent of what its plan grants that are used when a bucket counts as low; 0 or 100: none ever does.
    pub low: u8,
}

/// A compiled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    words: Vec<u32>,
}

/// The image is larger than word numbers can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the policy image needs {words} words; at most {} can be addressed",
    MAX_WORDS
)]
pub struct TooLarge {
    /// Words it would need.
    pub words: usize,
}

/// Addresses whose packets keep a link alive as their source, and as their destination.
const LINK_SOURCES: [&str; 4] = ["0.0.0.0/32", "169.254.0.0/16", "::/128", "fe80::/10"];
const LINK_DESTINATIONS: [&str; 5] = [
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "fe80::/10",
    "ff00::/8",
];

impl Source {
    /// What the image of a planned change is compiled from: the policy as it is at a time, and the gateway's
    /// own addresses. No class has a number for tags.
    #[must_use]
    pub fn new(
        policy: &Policy,
        change: &Change,
        at: Timestamp,
        gateway: &[IpNet],
        serial: u32,
    ) -> Self {
        let numbers = &change.numbers;
        Self {
            serial,
            default_class: numbers.classes[policy.default_class],
            classes: policy
                .active_prefixes(at)
                .map(|(set, prefix)| (prefix.net, numbers.classes[set.class]))
                .collect(),
            subscribers: change.bindings.clone(),
            gateway: gateway.to_vec(),
            plans: (0..policy.plans.len())
                .map(|plan| {
                    (
                        numbers.layouts[plan],
                        change.catalog.entry(policy, plan, numbers),
                    )
                })
                .collect(),
            labels: Labels::default(),
            watch: Watch::default(),
        }
    }

    /// The same for packets that are to tell of events.
    #[must_use]
    pub fn watching(self, watch: Watch) -> Self {
        Self { watch, ..self }
    }

    /// Compiles the image.
    ///
    /// # Errors
    /// When it does not fit word numbers (2^30 words).
    pub fn compile(&self) -> Result<Compiled, TooLarge> {
        let mut words = vec![0; HEADER_WORDS as usize];
        let (v4, v6) = self.remotes();
        table4::write(&mut words, &v4);
        table6::write(&mut words, &v6);
        plans::write(&mut words, &self.plans);
        labels::write(&mut words, &self.labels);
        plans::write_low(&mut words, &self.plans, self.watch.low);
        words[at::EVENTS as usize] = self.watch.kinds;
        let bound = outermost(&self.subscribers);
        let (bound4, bound6) =
            bound.split_at(bound.partition_point(|(net, _)| matches!(net, IpNet::V4(_))));
        index::write(&mut words, at::SUBSCRIBERS4, bound4);
        index::write(&mut words, at::SUBSCRIBERS6, bound6);
        words.resize(words.len().next_multiple_of(LINE_WORDS as usize), 0);
        words[at::MAGIC as usize] = MAGIC;
        words[at::LAYOUT as usize] = LAYOUT_VERSION;
        words[at::SERIAL as usize] = self.serial;
        if words.len() > MAX_WORDS as usize || v6.len() > table6::MAX_LONG {
            return Err(TooLarge { words: words.len() });
        }
        words[at::LENGTH as usize] = words.len() as u32;
        Ok(Compiled { words })
    }

    /// Classes and link addresses, laid over each other.
    fn remotes(&self) -> (Vec<Interval>, Vec<Interval>) {
        let fixed = |list: &[&str], flag| -> Vec<(IpNet, u32)> {
            list.iter()
                .filter_map(|text| Some((text.parse().ok()?, flag)))
                .collect()
        };
        let sources = fixed(&LINK_SOURCES, Remote::LINK_SOURCE);
        let mut destinations = fixed(&LINK_DESTINATIONS, Remote::LINK_DESTINATION);
        destinations.extend(
            self.gateway
                .iter()
                .map(|net| (*net, Remote::LINK_DESTINATION)),
        );
        let (class4, class6) = split(&self.classes);
        let mut v4 = intervals(class4, self.default_class);
        let mut v6 = intervals(class6, self.default_class);
        for flags in [sources, destinations] {
            let (flag4, flag6) = split(&flags);
            v4 = overlay(&v4, &intervals(flag4, 0));
            v6 = overlay(&v6, &intervals(flag6, 0));
        }
        (v4, v6)
    }
}

/// Prefixes without those inside another.
pub(crate) fn outermost(prefixes: &[(IpNet, Binding)]) -> Vec<(&IpNet, Binding)> {
    let mut sorted: Vec<_> = prefixes
        .iter()
        .map(|(net, binding)| (net, *binding))
        .collect();
    // Those that hold others stand before them.
    sorted.sort_unstable_by_key(|(net, _)| *net);
    sorted.dedup_by(|(inner, _), (outer, _)| outer.contains(*inner));
    sorted
}

type Spans = Vec<intervals::Span>;

/// Prefixes as ranges of their family's numbers.
fn split(prefixes: &[(IpNet, u32)]) -> (Spans, Spans) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (net, value) in prefixes {
        match net {
            IpNet::V4(net) => v4.push(intervals::Span {
                first: u128::from(net.network().to_bits()),
                last: u128::from(net.broadcast().to_bits()),
                value: *value,
            }),
            IpNet::V6(net) => v6.push(intervals::Span {
                first: net.network().to_bits(),
                last: net.broadcast().to_bits(),
                value: *value,
            }),
        }
    }
    (v4, v6)
}

impl Compiled {
    /// The words, in the order they stand in a map.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

impl Words for &Compiled {
    type Line = u32;

    fn head(self, index: u32) -> u32 {
        self.word(index)
    }
    fn long_head(self, index: u32) -> u64 {
        self.long(index)
    }
    fn word(self, index: u32) -> u32 {
        self.words.get(index as usize).copied().unwrap_or(0)
    }
    fn long(self, index: u32) -> u64 {
        u64::from(self.word(index * 2 + 1)) << 32 | u64::from(self.word(index * 2))
    }
    fn half(self, index: u32) -> u32 {
        self.word(index / 2) >> (index % 2 * 16) & 0xffff
    }
    fn byte(self, index: u32) -> u32 {
        u32::from(self.word(index / 4).to_le_bytes()[(index % 4) as usize])
    }
    fn line(self, index: u32) -> u32 {
        index * LINE_WORDS
    }
    fn in_line(self, line: u32, position: u32) -> u32 {
        self.word(line + position)
    }
    fn is_below(self, line: u32, position: u32, digit: u64) -> u64 {
        u64::from(u64::from(self.in_line(line, position)) < digit)
    }
}

#[cfg(test)]
mod tests;
