//! Special-purpose address space, default routes and very short prefixes: legal, and rarely meant.

use std::net::Ipv6Addr;

use ipnet::IpNet;

use super::findings::Kind;
use super::prefix::Range;

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

/// Prefix lengths: what is shorter is very wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widest {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
}

impl Default for Widest {
    fn default() -> Self {
        Widest { v4: 8, v6: 16 }
    }
}

impl Widest {
    /// The length that bounds prefixes of one address family.
    pub(crate) fn length(self, v6: bool) -> u8 {
        if v6 { self.v6 } else { self.v4 }
    }
}

/// Whether all of a range is of one special kind, or is nothing ordinary.
pub(super) fn is_special(range: &Range) -> bool {
    BLOCKS.iter().any(|block| block.range.contains(range))
}

/// What is special about the prefix `net`: kinds, and whether it lies in such space or only
/// contains some.
pub(crate) fn kinds_of(net: &IpNet, widest: Widest) -> impl Iterator<Item = (Kind, Within)> {
    let range = Range::of(net);
    let inside = BLOCKS.iter().find(|block| block.range.contains(&range));
    let wide = net.prefix_len() < widest.length(range.v6);
    let (one, search): (_, &[Block]) = match inside {
        Some(block) => (block.kind.map(|kind| (kind, Within::Whole)), &[]),
        None if net.prefix_len() == 0 => (Some((Kind::DefaultRoute, Within::Whole)), &[]),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(net: &str) -> Vec<(Kind, Within)> {
        kinds_of(&net.parse().unwrap(), Widest::default()).collect()
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
            ("0.0.0.0/0", DefaultRoute),
            ("::/0", DefaultRoute),
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
}
