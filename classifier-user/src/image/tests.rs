//! Compiled tables against a search through all prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::image::Image;
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

fn found(image: &Compiled, address: IpAddr) -> (u32, u32) {
    let image = Image::new(image).expect("an image");
    match address {
        IpAddr::V4(address) => (
            image.remote4(address.to_bits()).class(),
            image.row4(address.to_bits()),
        ),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let bits = [(bits >> 64) as u64, bits as u64];
            (image.remote6(bits).class(), image.row6(bits))
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
        let subscribers: Vec<_> =
            classes.iter().enumerate().map(|(i, (net, _))| (*net, 1000 + i as u32)).collect();
        let source = Source { default_class: default, classes, subscribers, ..Source::default() };
        let image = source.compile().unwrap();
        let mut addresses: Vec<_> = source.classes.iter().flat_map(|(net, _)| edges(*net)).collect();
        addresses.push(IpAddr::V4(Ipv4Addr::from_bits(other)));
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(u128::from(other) << 96)));
        for address in addresses {
            let expected = (naive(&source.classes, address, default), naive(&source.subscribers, address, 0));
            prop_assert_eq!(found(&image, address), expected, "{}", address);
        }
    }
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
