//! Prefixes that are legal but rarely meant: special-purpose address space, very short prefixes,
//! duplicates, sets without any. Each kind has a name, by which a set can say that it is meant:
//! `expect = ["multicast"]`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::Ipv6Addr;

use ipnet::IpNet;

use super::model::Place;
use super::names::suggest;
use super::prefix::Range;
use super::section::At;
use crate::diagnostic::{Diagnostics, quote};

/// A kind of warning about the prefixes of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7.
    Private,
    /// 100.64.0.0/10, between a provider and its carrier-grade NAT.
    Shared,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// 127.0.0.0/8, ::1/128.
    Loopback,
    /// 255.255.255.255/32.
    Broadcast,
    /// 0.0.0.0/32, ::/128.
    Unspecified,
    /// 198.18.0.0/15, 2001:2::/48.
    Benchmarking,
    /// ::ffff:0:0/96, which stands for IPv4 in programs and not on the wire.
    Mapped,
    /// 0.0.0.0/8, 192.0.0.0/24, 240.0.0.0/4, and IPv6 outside what is allocated for any use.
    Reserved,
    /// Shorter than /8 (IPv4) or /16 (IPv6).
    Wide,
    /// The same prefix twice in one class at the same time.
    Duplicate,
    /// No prefix at all.
    Empty,
}

/// Every kind, in the order help texts list them.
pub const KINDS: [Kind; 14] = [
    Kind::Multicast,
    Kind::Documentation,
    Kind::Private,
    Kind::Shared,
    Kind::LinkLocal,
    Kind::Loopback,
    Kind::Broadcast,
    Kind::Unspecified,
    Kind::Benchmarking,
    Kind::Mapped,
    Kind::Reserved,
    Kind::Wide,
    Kind::Duplicate,
    Kind::Empty,
];

impl Kind {
    /// The name that `expect` uses.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Multicast => "multicast",
            Kind::Documentation => "documentation",
            Kind::Private => "private",
            Kind::Shared => "shared",
            Kind::LinkLocal => "link-local",
            Kind::Loopback => "loopback",
            Kind::Broadcast => "broadcast",
            Kind::Unspecified => "unspecified",
            Kind::Benchmarking => "benchmarking",
            Kind::Mapped => "mapped",
            Kind::Reserved => "reserved",
            Kind::Wide => "wide",
            Kind::Duplicate => "duplicate",
            Kind::Empty => "empty",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// What a prefix of this kind is or contains.
    fn describe(self) -> &'static str {
        match self {
            Kind::Multicast => "multicast address space",
            Kind::Documentation => "documentation address space",
            Kind::Private => "private address space",
            Kind::Shared => "shared (carrier-grade NAT) address space",
            Kind::LinkLocal => "link-local address space",
            Kind::Loopback => "loopback address space",
            Kind::Broadcast => "the broadcast address",
            Kind::Unspecified => "the unspecified address",
            Kind::Benchmarking => "benchmarking address space",
            Kind::Mapped => "IPv4-mapped address space, which no packet carries",
            Kind::Reserved => "reserved address space",
            Kind::Wide => "very wide",
            Kind::Duplicate => "listed twice",
            Kind::Empty => "empty",
        }
    }
}

/// A special-purpose block (RFC 6890 and its registries); `None` is a block that is ordinary all
/// the same.
struct Block {
    range: Range,
    kind: Option<Kind>,
}

const fn v4(address: [u8; 4], length: u32, kind: Kind) -> Block {
    let first = u32::from_be_bytes(address) as u128;
    let last = first | (u32::MAX as u128 >> length);
    let range = Range {
        v6: false,
        first,
        last,
    };
    Block {
        range,
        kind: Some(kind),
    }
}

const fn v6(address: [u16; 8], length: u32, kind: Option<Kind>) -> Block {
    let [a, b, c, d, e, f, g, h] = address;
    let first = Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits();
    // Shifting twice, since one shift by all 128 bits is none.
    let last = first | (u128::MAX >> (length / 2) >> (length - length / 2));
    let range = Range {
        v6: true,
        first,
        last,
    };
    Block { range, kind }
}

/// Smaller blocks before the larger ones they lie in: the first that contains a prefix says what it
/// is.
const BLOCKS: [Block; 30] = [
    v4([255, 255, 255, 255], 32, Kind::Broadcast),
    v4([0, 0, 0, 0], 32, Kind::Unspecified),
    v4([192, 0, 2, 0], 24, Kind::Documentation),
    v4([198, 51, 100, 0], 24, Kind::Documentation),
    v4([203, 0, 113, 0], 24, Kind::Documentation),
    v4([192, 0, 0, 0], 24, Kind::Reserved),
    v4([169, 254, 0, 0], 16, Kind::LinkLocal),
    v4([192, 168, 0, 0], 16, Kind::Private),
    v4([198, 18, 0, 0], 15, Kind::Benchmarking),
    v4([172, 16, 0, 0], 12, Kind::Private),
    v4([100, 64, 0, 0], 10, Kind::Shared),
    v4([0, 0, 0, 0], 8, Kind::Reserved),
    v4([10, 0, 0, 0], 8, Kind::Private),
    v4([127, 0, 0, 0], 8, Kind::Loopback),
    v4([224, 0, 0, 0], 4, Kind::Multicast),
    v4([240, 0, 0, 0], 4, Kind::Reserved),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Some(Kind::Unspecified)),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Some(Kind::Loopback)),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Some(Kind::Mapped)),
    // Addresses that NAT64 makes of IPv4 ones are on the wire.
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, None),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, None),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Some(Kind::Benchmarking)),
    v6(
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        Some(Kind::Documentation),
    ),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Some(Kind::Documentation)),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Some(Kind::LinkLocal)),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Some(Kind::Multicast)),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Some(Kind::Private)),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, Some(Kind::Reserved)),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, Some(Kind::Reserved)),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, Some(Kind::Reserved)),
];

/// What is special about the prefix `net`: kinds, and whether it lies in such space or only
/// contains some.
pub(crate) fn kinds_of(net: &IpNet) -> impl Iterator<Item = (Kind, Within)> {
    let range = Range::of(net);
    let inside = BLOCKS.iter().find(|block| block.range.contains(&range));
    let wide = net.prefix_len() < if range.v6 { 16 } else { 8 };
    let (one, search): (_, &[Block]) = match inside {
        Some(block) => (block.kind.map(|kind| (kind, Within::Whole)), &[]),
        None if wide => (Some((Kind::Wide, Within::Whole)), &[]),
        None => (None, &BLOCKS),
    };
    let parts = search
        .iter()
        .filter(move |block| range.contains(&block.range))
        .filter_map(|block| Some((block.kind?, Within::Part)));
    one.into_iter().chain(parts)
}

/// How much of a prefix is special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// All its addresses.
    Whole,
    /// Some of its addresses.
    Part,
}

/// Says what is special about `net`.
pub(crate) fn describe(net: &IpNet, kind: Kind, within: Within) -> String {
    let verb = match within {
        Within::Whole => "is",
        Within::Part => "contains",
    };
    format!("{net} {verb} {}", kind.describe())
}

/// The warnings one set gives cause for, one of each kind, and those it expects.
pub(crate) struct Findings {
    found: BTreeMap<Kind, Finding>,
    /// Whether all prefixes of the set could be read.
    complete: bool,
}

struct Finding {
    place: Place,
    message: String,
    more: usize,
}

impl Findings {
    pub(crate) fn new(complete: bool) -> Self {
        Findings {
            found: BTreeMap::new(),
            complete,
        }
    }

    /// Notes a finding; the first of each kind is told, the others are counted.
    pub(crate) fn note(&mut self, kind: Kind, place: &Place, message: impl FnOnce() -> String) {
        match self.found.entry(kind) {
            Entry::Occupied(mut seen) => seen.get_mut().more += 1,
            Entry::Vacant(first) => {
                first.insert(Finding {
                    place: place.clone(),
                    message: message(),
                    more: 0,
                });
            }
        }
    }

    /// Warns of what was found and is not in `expect`, and of what is in `expect` and was not
    /// found.
    pub(crate) fn report(mut self, set: &str, expect: &[At<String>], out: &mut Diagnostics) {
        for expected in expect {
            let Some(kind) = Kind::from_name(&expected.value) else {
                out.error(
                    expected.place.clone(),
                    "unknown-warning",
                    format!(
                        "{} is not a warning that a set can expect",
                        quote(&expected.value)
                    ),
                    suggest(&expected.value, "warnings", KINDS.map(Kind::name)),
                );
                continue;
            };
            if self.found.remove(&kind).is_none() && self.complete {
                out.warn(
                    expected.place.clone(),
                    "expect-unused",
                    format!(
                        "set {} expects the warning {:?}, which nothing causes",
                        quote(set),
                        kind.name()
                    ),
                    "remove it from expect, so that it is heard should it ever come",
                );
            }
        }
        for (kind, finding) in self.found {
            let more = match finding.more {
                0 => String::new(),
                more => format!(" (and {more} more like it)"),
            };
            out.warn(
                finding.place,
                kind.name(),
                format!("set {}: {}{more}", quote(set), finding.message),
                format!(
                    "if this is meant, add expect = [{:?}] to the set",
                    kind.name()
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(net: &str) -> Vec<(Kind, Within)> {
        kinds_of(&net.parse().unwrap()).collect()
    }

    #[test]
    fn special_space_is_recognised() {
        use Kind::*;
        for (net, kind) in [
            ("224.0.0.0/4", Multicast),
            ("239.255.255.250/32", Multicast),
            ("ff02::/16", Multicast),
            ("203.0.113.128/25", Documentation),
            ("2001:db8:10::/48", Documentation),
            ("10.0.0.0/8", Private),
            ("172.31.0.0/16", Private),
            ("fd00::/8", Private),
            ("100.64.0.0/10", Shared),
            ("169.254.0.0/16", LinkLocal),
            ("fe80::/10", LinkLocal),
            ("127.0.0.1/32", Loopback),
            ("::1/128", Loopback),
            ("255.255.255.255/32", Broadcast),
            ("0.0.0.0/32", Unspecified),
            ("::/128", Unspecified),
            ("198.19.0.0/16", Benchmarking),
            ("::ffff:203.0.113.0/120", Mapped),
            ("240.0.0.0/4", Reserved),
            ("0.0.0.0/8", Reserved),
            ("8000::/1", Reserved),
            ("4000::/16", Reserved),
            ("64.0.0.0/7", Wide),
            ("2000::/3", Wide),
            ("128.0.0.0/1", Wide),
        ] {
            assert_eq!(kinds(net), [(kind, Within::Whole)], "{net}");
        }
    }

    #[test]
    fn ordinary_space_is_not() {
        for net in [
            "8.8.8.0/24",
            "172.32.0.0/16",
            "11.0.0.0/8",
            "2a00::/16",
            "2001:db9::/32",
            "64:ff9b::/96",
        ] {
            assert_eq!(kinds(net), [], "{net}");
        }
    }

    #[test]
    fn ordinary_prefixes_may_contain_special_space() {
        assert_eq!(kinds("100.0.0.0/8"), [(Kind::Shared, Within::Part)]);
        assert_eq!(
            describe(&"100.0.0.0/8".parse().unwrap(), Kind::Shared, Within::Part),
            "100.0.0.0/8 contains shared (carrier-grade NAT) address space"
        );
    }

    #[test]
    fn names_are_unique() {
        for kind in KINDS {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
