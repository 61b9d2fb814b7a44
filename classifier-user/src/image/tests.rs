//! Compiled tables against a search through all prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::image::Image;
use classifier::image::subscribers::NODE_BITS;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;

/// The value of the longest prefix that holds an address.
fn naive(prefixes: &[(IpNet, u32)], address: IpAddr, default: u32) -> u32 {
    prefixes
        .iter()
        .filter(|(net, _)| net.contains(&address))
        .max_by_key(|(net, _)| net.prefix_len())
        .map_or(default, |(_, value)| *value)
}

fn any_prefix() -> impl Strategy<Value = IpNet> {
    // Few distinct upper bits, so that prefixes nest and meet.
    let v4 = (any::<u32>(), 0..=32_u8, any::<bool>()).prop_map(|(bits, len, near)| {
        let bits = if near {
            0x0a00_0000 | bits & 0x3ff
        } else {
            bits
        };
        IpNet::V4(
            Ipv4Net::new(Ipv4Addr::from_bits(bits), len)
                .unwrap()
                .trunc(),
        )
    });
    let v6 = (any::<u128>(), 0..=128_u8, any::<bool>()).prop_map(|(bits, len, near)| {
        let bits = if near {
            0x2001_0db8 << 96 | bits & 0xff_0000_0000_0000_00ff
        } else {
            bits
        };
        IpNet::V6(
            Ipv6Net::new(Ipv6Addr::from_bits(bits), len)
                .unwrap()
                .trunc(),
        )
    });
    prop_oneof![v4, v6]
}

/// Both ends of a prefix and their neighbours outside.
fn edges(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                .into()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
                .into()
        }
    }
}

/// Those of the prefixes that do not overlap an earlier one, with a row each.
fn apart(prefixes: &[(IpNet, u32)]) -> Vec<(IpNet, u32)> {
    let mut kept: Vec<(IpNet, u32)> = Vec::new();
    for (i, (net, _)) in prefixes.iter().enumerate() {
        if !kept
            .iter()
            .any(|(other, _)| other.contains(net) || net.contains(other))
        {
            kept.push((*net, 1000 + i as u32));
        }
    }
    kept
}

fn bound(prefixes: &[(IpNet, u32)]) -> Vec<(IpNet, Binding)> {
    prefixes
        .iter()
        .map(|(net, line)| (*net, Binding::new(*line, 0, false)))
        .collect()
}

fn found(image: &Compiled, address: IpAddr) -> (u32, u32) {
    let image = Image::new(image).expect("an image");
    match address {
        IpAddr::V4(address) => (
            image.remote4(address.to_bits()).class(),
            image.subscriber4(address.to_bits()).line(),
        ),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let bits = [(bits >> 64) as u64, bits as u64];
            (image.remote6(bits).class(), image.subscriber6(bits).line())
        }
    }
}

proptest! {
    #[test]
    fn every_edge_of_every_prefix_is_found(
        prefixes in prop::collection::btree_map(any_prefix(), 0..64_u32, 0..40),
        default in 0..64_u32,
        other in any::<u32>(),
    ) {
        let classes: Vec<_> = prefixes.into_iter().collect();
        let subscribers = bound(&apart(&classes));
        let source = Source { default_class: default, classes, subscribers, ..Source::default() };
        let image = source.compile().unwrap();
        let mut addresses: Vec<_> = source.classes.iter().flat_map(|(net, _)| edges(*net)).collect();
        addresses.push(IpAddr::V4(Ipv4Addr::from_bits(other)));
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(u128::from(other) << 96)));
        for address in addresses {
            let expected = (naive(&source.classes, address, default), naive(&apart(&source.classes), address, 0));
            prop_assert_eq!(found(&image, address), expected, "{}", address);
        }
    }
}

/// An image in which a few lines are free.
struct Roomy {
    image: Compiled,
    free: Vec<u32>,
    /// Given back since the last look: packets may still be reading them.
    resting: Vec<u32>,
}

impl bindings::Room for Roomy {
    fn get(&self, index: u32) -> u64 {
        (&self.image).long(index)
    }
    fn set(&mut self, index: u32, word: u64) {
        self.image.words[index as usize * 2] = word as u32;
        self.image.words[index as usize * 2 + 1] = (word >> 32) as u32;
    }
    fn take(&mut self, bits: u32) -> Option<u32> {
        if bits > NODE_BITS {
            let lines = self.image.words.len() as u32 / LINE_WORDS;
            let more = (bindings::node_lines(bits) * LINE_WORDS) as usize;
            self.image.words.resize(self.image.words.len() + more, 0);
            return Some(lines);
        }
        let lines = self.free.pop()?;
        let begin = (lines * LINE_WORDS) as usize;
        self.image.words[begin..begin + 2 * LINE_WORDS as usize].fill(0);
        Some(lines)
    }
    fn give_back(&mut self, lines: u32) {
        self.resting.push(lines);
    }
}

proptest! {
    #[test]
    fn an_index_changed_in_place_answers_like_one_compiled_anew(
        before in prop::collection::btree_map(any_prefix(), 0..64_u32, 0..40),
        after in prop::collection::btree_map(any_prefix(), 0..64_u32, 0..40),
        keep in any::<u64>(),
        room in 0..200_usize,
    ) {
        let before = apart(&before.into_iter().collect::<Vec<_>>());
        // Some stay, some stay with another row, some go.
        let mut wanted: Vec<(IpNet, u32)> = Vec::new();
        for (i, (net, row)) in before.iter().enumerate() {
            match (keep >> (2 * (i % 32))) & 3 {
                0 => {}
                1 => wanted.push((*net, row + 5000)),
                _ => wanted.push((*net, *row)),
            }
        }
        wanted.extend(after);
        let wanted = apart(&wanted).into_iter().map(|(net, _)| net).zip(7000..).collect::<Vec<_>>();
        let compiled = Source { subscribers: bound(&before), ..Source::default() }.compile().unwrap();
        let lines = compiled.words.len() as u32 / LINE_WORDS;
        let mut image = Roomy { image: compiled, free: Vec::new(), resting: Vec::new() };
        image.image.words.resize(image.image.words.len() + 2 * room * LINE_WORDS as usize, 0);
        image.free.extend((0..room as u32).map(|n| lines + 2 * n).rev());
        for (net, _) in &before {
            if !wanted.iter().any(|(other, _)| other == net) {
                prop_assert!(bindings::unbind(&mut image, net).is_ok());
            }
        }
        let mut fitting = Vec::new();
        for (net, row) in &wanted {
            if bindings::bind(&mut image, net, Binding::new(*row, 0, false)).is_ok() {
                fitting.push((*net, *row));
            }
            let rested = std::mem::take(&mut image.resting);
            image.free.extend(rested);
        }
        let mut addresses: Vec<_> = before.iter().chain(&wanted).flat_map(|(net, _)| edges(*net)).collect();
        addresses.dedup();
        for address in addresses {
            prop_assert_eq!(found(&image.image, address).1, naive(&fitting, address, 0), "{}", address);
        }
        // No line is lost, and none is in use twice: a compiled copy needs no more room than there was.
        let unique: std::collections::BTreeSet<_> = image.free.iter().collect();
        prop_assert_eq!(unique.len(), image.free.len());
    }

    #[test]
    fn crowded_tables_are_searched_right(
        hosts in prop::collection::btree_set((0..6_u128, any::<u16>(), 0..3_u128), 0..600),
        classes in 1..64_u32,
    ) {
        // Many prefixes behind few second-level entries, and many hosts that share 32 digits.
        let classes: Vec<(IpNet, u32)> = hosts
            .iter()
            .map(|(near, bits, kind)| {
                let bits = u128::from(*bits);
                let (address, len) = match kind {
                    0 => (0x2a00 << 112 | near << 100 | bits << 80, 48),
                    1 => (0x2a00 << 112 | near << 100 | bits << 84, 44),
                    _ => (0x2a00 << 112 | near << 100 | bits, 128),
                };
                let net = Ipv6Net::new(Ipv6Addr::from_bits(address), len).unwrap().trunc();
                (IpNet::V6(net), (bits as u32 * 7 + len as u32) % classes)
            })
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect();
        let source = Source { default_class: 63, classes, ..Source::default() };
        let image = source.compile().unwrap();
        for address in source.classes.iter().flat_map(|(net, _)| edges(*net)) {
            prop_assert_eq!(found(&image, address).0, naive(&source.classes, address, 63), "{}", address);
        }
    }
}

#[test]
fn pools_are_tables_and_change_in_place() {
    // Two pools and a few strays of each family; every third address of a pool is free.
    let v4 = |n: u32| -> IpNet { IpNet::from(IpAddr::from(Ipv4Addr::from_bits(n))) };
    let v6 = |bits: u128, len| IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap());
    let mut wanted: std::collections::BTreeMap<IpNet, u32> = std::collections::BTreeMap::new();
    let pool = |n: u32| [0x6440_0000 + n, 0x0a00_0000 + n].map(v4);
    let pool6 = |n: u32| {
        [0x2001_0db8_u128 << 96, 0x2a00 << 112].map(|base| v6(base | u128::from(n) << 72, 56))
    };
    for n in (0..6000).filter(|n| n % 3 != 0) {
        for net in pool(n).into_iter().chain(pool6(n)) {
            wanted.insert(net, 1 + n);
        }
    }
    for n in 0..50_u32 {
        wanted.insert(v4(n.wrapping_mul(0x0905_3b21) | 0xc000_0000), 100_000 + n);
        wanted.insert(v6(0xfd << 120 | u128::from(n) << 60, 128), 200_000 + n);
    }
    let all: Vec<(IpNet, u32)> = wanted.iter().map(|(net, row)| (*net, *row)).collect();
    let subscribers = bound(&all);
    let image = Source {
        subscribers,
        ..Source::default()
    }
    .compile()
    .unwrap();
    // Nodes of sixteen entries alone would take several times as much.
    assert!(image.words.len() < 500_000, "{}", image.words.len());
    let lines = image.words.len() as u32 / LINE_WORDS;
    let mut image = Roomy {
        image,
        free: (0..2000).map(|n| lines + 2 * n).rev().collect(),
        resting: Vec::new(),
    };
    image
        .image
        .words
        .resize((lines + 4000) as usize * LINE_WORDS as usize, 0);
    // The free ones are taken, every seventh of the others is given up, every fifth changes hands.
    for n in 0..6000 {
        for net in pool(n).into_iter().chain(pool6(n)) {
            if n % 3 == 0 || n % 5 == 0 {
                bindings::bind(&mut image, &net, Binding::new(50_000 + n, 3, true)).unwrap();
                wanted.insert(net, 50_000 + n);
            } else if n % 7 == 0 {
                bindings::unbind(&mut image, &net).unwrap();
                wanted.remove(&net);
            }
        }
    }
    for n in 0..6100 {
        for net in pool(n).into_iter().chain(pool6(n)) {
            let expected = wanted.get(&net).copied().unwrap_or(0);
            for address in [net.network(), net.broadcast()] {
                assert_eq!(found(&image.image, address).1, expected, "{address}");
            }
        }
    }
    for (net, row) in &wanted {
        assert_eq!(found(&image.image, net.network()).1, *row, "{net}");
    }
}

#[test]
fn rows_in_the_order_of_their_addresses_need_no_table() {
    let pool = |base: u32, n: u32| IpNet::from(IpAddr::from(Ipv4Addr::from_bits(base + n)));
    let delegated = |n: u32| {
        let bits = 0x2001_0db8_u128 << 96 | u128::from(n) << 72;
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), 56).unwrap())
    };
    // Three pools whose rows are 6, 6 and 3 lines apart; in the second they leave a gap, as at the end of a chunk.
    let mut wanted = std::collections::BTreeMap::new();
    for n in 0..8192 {
        wanted.insert(pool(0x6440_0000, n), 7 + 6 * n);
        wanted.insert(
            pool(0x0a00_0000, n),
            60_000 + 6 * n + if n > 5000 { 4 } else { 0 },
        );
        wanted.insert(delegated(n), 200_000 + 3 * n);
    }
    let subscribers = bound(&wanted.clone().into_iter().collect::<Vec<_>>());
    let image = Source {
        subscribers,
        ..Source::default()
    }
    .compile()
    .unwrap();
    let without = Source::default().compile().unwrap();
    let taken = image.words.len() - without.words.len();
    // A table of 2^16 entries that tells the pools apart, and little besides.
    assert!(taken < (2 << 16) + 8_000, "{taken} words");
    let lines = image.words.len() as u32 / LINE_WORDS;
    let mut image = Roomy {
        image,
        free: (0..100).map(|n| lines + 2 * n).rev().collect(),
        resting: Vec::new(),
    };
    image
        .image
        .words
        .resize((lines + 200) as usize * LINE_WORDS as usize, 0);
    let check = |image: &Roomy, wanted: &std::collections::BTreeMap<IpNet, u32>| {
        for n in 0..8300 {
            for net in [pool(0x6440_0000, n), pool(0x0a00_0000, n), delegated(n)] {
                let expected = wanted.get(&net).copied().unwrap_or(0);
                for address in [net.network(), net.broadcast()] {
                    assert_eq!(found(&image.image, address).1, expected, "{address}");
                }
            }
        }
    };
    check(&image, &wanted);
    for (net, row) in [
        (pool(0x6440_0000, 77), 5),
        (pool(0x0a00_0000, 8000), 0),
        (delegated(4099), 9),
    ] {
        match row {
            0 => {
                bindings::unbind(&mut image, &net).unwrap();
                wanted.remove(&net);
            }
            row => {
                bindings::bind(&mut image, &net, Binding::new(row, 1, true)).unwrap();
                wanted.insert(net, row);
            }
        }
    }
    check(&image, &wanted);
    // Of a run, plan and state are those of all its addresses.
    let whose = Image::new(&image.image)
        .unwrap()
        .subscriber4(0x6440_0000 + 77);
    assert_eq!((whose.plan(), whose.is_suspended()), (1, true));
    let whose = Image::new(&image.image)
        .unwrap()
        .subscriber4(0x6440_0000 + 78);
    assert_eq!((whose.plan(), whose.is_suspended()), (0, false));
}

#[test]
fn the_value_that_stands_for_an_escape_is_found_like_any_other() {
    let classes = ["169.254.0.0/17", "fe80::/11"];
    let classes = classes.map(|net| (net.parse().unwrap(), 63)).to_vec();
    let image = Source {
        classes,
        ..Source::default()
    }
    .compile()
    .unwrap();
    for address in ["169.254.1.1", "fe80::1"] {
        assert_eq!(found(&image, address.parse().unwrap()).0, 63, "{address}");
    }
    assert_eq!(found(&image, "169.254.128.1".parse().unwrap()).0, 0);
    assert_eq!(found(&image, "fea0::1".parse().unwrap()).0, 0);
}

#[test]
fn link_addresses_are_marked_whatever_their_class() {
    let source = Source {
        default_class: 3,
        classes: vec![
            ("224.0.0.0/8".parse().unwrap(), 5),
            ("fe80::1/128".parse().unwrap(), 6),
        ],
        gateway: vec!["10.0.0.1/32".parse().unwrap()],
        ..Source::default()
    };
    let compiled = source.compile().unwrap();
    let image = Image::new(&compiled).unwrap();
    let v4 = |text: &str| image.remote4(text.parse::<Ipv4Addr>().unwrap().to_bits());
    let marks = |remote: Remote| {
        (
            remote.class(),
            remote.is_link_source(),
            remote.is_link_destination(),
        )
    };
    assert_eq!(marks(v4("224.1.2.3")), (5, false, true));
    assert_eq!(marks(v4("239.1.2.3")), (3, false, true));
    assert_eq!(marks(v4("169.254.0.9")), (3, true, true));
    assert_eq!(marks(v4("0.0.0.0")), (3, true, false));
    assert_eq!(marks(v4("0.0.0.1")), (3, false, false));
    assert_eq!(marks(v4("10.0.0.1")), (3, false, true));
    assert_eq!(marks(v4("255.255.255.255")), (3, false, true));
    let bits = "fe80::1".parse::<Ipv6Addr>().unwrap().to_bits();
    let remote = image.remote6([(bits >> 64) as u64, bits as u64]);
    assert_eq!(marks(remote), (6, true, true));
}
