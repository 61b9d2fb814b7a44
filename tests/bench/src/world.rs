//! What a row of figures is measured in: so many prefixes, so many subscribers, and how they are charged.
//!
//! Each prefix has one of seven classes, by a hash of the prefix, so neighbours rarely have the same: that is the
//! unfavourable case for any table that folds equal neighbours together. What no prefix names is of class 0.

use std::net::{Ipv4Addr, Ipv6Addr};

use classifier::events::Kind;
use classifier::image::Binding;
use classifier::layout::{CHUNK_LINES, RowHead, row_lines};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use zerorate::engine::lines::Lines;
use zerorate::image::{ChainEntry, PlanEntry, Source, Watch};

use crate::random::mix;
use crate::tables::{Family, Tables};

/// Classes, the default one included.
pub(crate) const CLASSES: u32 = 8;

/// Size of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) family: Family,
    pub(crate) prefixes: usize,
    pub(crate) subscribers: usize,
}

/// How packets are charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charging {
    /// Half of the classes are free, half metered; a row has eight meters.
    Plain,
    /// The same in rows of 24 meters: what [`Self::Buckets`] is held against.
    PlainWide,
    /// A gate, and chains whose first bucket is empty and whose second pays.
    Buckets,
}

/// Plan bucket that pays, and opens the gate.
const FULL: u8 = 0;
/// Plan bucket that holds nothing.
const EMPTY: u8 = 2;

impl Charging {
    /// Meters of a class: these many, one behind the other.
    const fn meters_of_class(self) -> u32 {
        match self {
            Self::Plain => 1,
            Self::PlainWide | Self::Buckets => 3,
        }
    }

    const fn has_buckets(self) -> bool {
        matches!(self, Self::Buckets)
    }

    fn chain(self, class: u32) -> ChainEntry {
        let first = (class * self.meters_of_class()) as u8;
        let last = ((class + 1) * self.meters_of_class() - 1) as u8;
        ChainEntry {
            steps: if self.has_buckets() {
                vec![(EMPTY, first), (FULL, first + 1)]
            } else {
                Vec::new()
            },
            end: Some(last),
            free: !self.has_buckets() && class % 2 == 1,
            ..ChainEntry::default()
        }
    }

    fn plan(self) -> PlanEntry {
        PlanEntry {
            count_up: true,
            count_down: true,
            gate: if self.has_buckets() {
                vec![FULL]
            } else {
                Vec::new()
            },
            chains: (0..CLASSES).map(|class| Some(self.chain(class))).collect(),
            ..PlanEntry::default()
        }
    }
}

/// A world: everything an image is compiled from, and where each subscriber's row is.
pub(crate) struct World {
    pub(crate) size: Size,
    pub(crate) charging: Charging,
    pub(crate) prefixes: Vec<(IpNet, u32)>,
    pub(crate) subscribers: Vec<(IpNet, u32)>,
    /// First line behind all rows.
    rows_end: u32,
}

impl World {
    pub(crate) fn new(tables: &Tables, wanted: Size, charging: Charging) -> Self {
        let prefixes: Vec<_> = tables
            .take(wanted.family, wanted.prefixes)
            .iter()
            .map(|net| (*net, class_of(net)))
            .collect();
        // Line 0 stays zero: it is the buckets of who has none. As in the agent, who has buckets has them in the line
        // before the row.
        let block = u32::from(charging.has_buckets());
        let lines = block + row_lines(CLASSES * charging.meters_of_class());
        let mut rows_end = 1;
        let mut addresses: Vec<IpNet> = (0..wanted.subscribers)
            .map(|number| subscriber(wanted.family, number as u32))
            .collect();
        // As the agent gives rows out.
        addresses.sort_unstable();
        let subscribers = addresses.into_iter().map(|address| {
            // A row never crosses from one chunk into the next.
            if rows_end % CHUNK_LINES + lines > CHUNK_LINES {
                rows_end = rows_end.next_multiple_of(CHUNK_LINES);
            }
            let row = rows_end + block;
            rows_end += lines;
            (address, row)
        });
        let subscribers = subscribers.collect();
        Self {
            size: Size {
                prefixes: prefixes.len(),
                ..wanted
            },
            charging,
            prefixes,
            subscribers,
            rows_end,
        }
    }

    /// What its image is compiled from.
    pub(crate) fn source(&self) -> Source {
        Source {
            serial: 1,
            default_class: 0,
            classes: self.prefixes.clone(),
            subscribers: self
                .subscribers
                .iter()
                .map(|(net, row)| (*net, self.binding(*row)))
                .collect(),
            gateway: Vec::new(),
            plans: vec![(0, self.charging.plan())],
            watch: everything(),
            ..Source::default()
        }
    }

    fn binding(&self, row: u32) -> Binding {
        let binding = Binding::new(row, 0, false);
        if self.charging.has_buckets() {
            binding.with_block_before()
        } else {
            binding
        }
    }

    /// First line behind everything.
    pub(crate) const fn lines_end(&self) -> u32 {
        self.rows_end
    }

    /// Writes the rows, and buckets that last for as long as anybody measures.
    pub(crate) fn write_rows(&self, lines: &Lines) {
        if !self.charging.has_buckets() {
            return;
        }
        for (_, row) in &self.subscribers {
            let bucket_line = row - 1;
            lines.set_granted(bucket_line, u32::from(FULL), i64::MAX as u64 / 2);
            let head = RowHead {
                bucket_line,
                bucket_map: 0x7654_3210,
            };
            lines.set_head(*row, head);
        }
    }

    /// What was counted, by class.
    pub(crate) fn counted(&self, lines: &Lines) -> Counted {
        let width = self.charging.meters_of_class();
        let mut counted = Counted::default();
        for (_, row) in &self.subscribers {
            for class in 0..CLASSES {
                for meter in class * width..(class + 1) * width {
                    let meter = lines.meter(*row, meter);
                    let sum = &mut counted.0[class as usize];
                    sum[0] += meter.bytes_up;
                    sum[1] += meter.packets_up;
                }
            }
        }
        counted
    }
}

/// Bytes and packets of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted(pub(crate) [[u64; 2]; CLASSES as usize]);

impl Counted {
    pub(crate) fn packets(&self) -> u64 {
        self.0.iter().map(|[_, packets]| packets).sum()
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        for (now, then) in difference.0.iter_mut().zip(before.0) {
            now[0] -= then[0];
            now[1] -= then[1];
        }
        difference
    }
}

/// All that packets can tell of, as the agent wants it when nothing is configured.
fn everything() -> Watch {
    Watch {
        kinds: Kind::ALL
            .into_iter()
            .fold(0, |kinds, kind| kinds | kind.bit()),
        low: 80,
    }
}

/// The class of a prefix: never the default one.
pub(crate) fn class_of(net: &IpNet) -> u32 {
    let bits = match net {
        IpNet::V4(net) => u64::from(net.network().to_bits()),
        IpNet::V6(net) => (net.network().to_bits() >> 64) as u64 ^ net.network().to_bits() as u64,
    };
    1 + (mix(bits ^ mix(u64::from(net.prefix_len()))) % u64::from(CLASSES - 1)) as u32
}

/// What a subscriber holds: an address of the pool 100.64.0.0/10, every fourth one of 10.0.0.0/8; or a /56 of one
/// operator's /32.
fn subscriber(family: Family, number: u32) -> IpNet {
    match family {
        Family::V4 => {
            let address = if number % 4 == 3 {
                0x0a00_0000 + number / 4
            } else {
                0x6440_0000 + number - number / 4
            };
            IpNet::V4(Ipv4Net::from(Ipv4Addr::from(address)))
        }
        Family::V6 => {
            let bits = 0x2001_0db8_u128 << 96 | u128::from(number) << 72;
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(bits), 56))
        }
    }
}
