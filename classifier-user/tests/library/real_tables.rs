//! A million real prefixes compiled into an image, asked at random addresses and at the edges of prefixes, and
//! checked against a trie that shares nothing with it. Needs the real tables (`ZERORATE_DATA`); skipped without.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use classifier::image::Image;
use flate2::read::GzDecoder;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use zerorate::image::{Compiled, Source};

use crate::skip::skip;

/// Classes the prefixes are spread over, by AS number.
const CLASSES: u32 = 16;
const ASKED: u64 = 400_000;

fn read(path: &Path, into: &mut HashMap<IpNet, u32>) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let line = line.expect("a line of text");
        let (net, number) = line.split_once(' ').expect("prefix and number");
        let number: u64 = number.trim().parse().expect("an AS number");
        into.insert(
            net.parse::<IpNet>().expect("a prefix").trunc(),
            (number % u64::from(CLASSES)) as u32,
        );
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn class(image: &Compiled, address: IpAddr) -> u32 {
    let image = Image::new(image).expect("an image");
    match address {
        IpAddr::V4(address) => image.remote4(address.to_bits()).class(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            image.remote6([(bits >> 64) as u64, bits as u64]).class()
        }
    }
}

#[test]
fn a_million_real_prefixes() {
    let Some(data) = env::var_os("ZERORATE_DATA").map(PathBuf::from) else {
        return skip("ZERORATE_DATA is not set: no real routing tables to compile");
    };
    let mut prefixes = HashMap::new();
    for name in ["asn2026", "routeviews20151101"] {
        for family in ["ipv4", "ipv6"] {
            read(
                &data.join(format!("bgp/{name}-{family}.txt.gz")),
                &mut prefixes,
            );
        }
    }
    assert!(prefixes.len() > 1_200_000, "{} prefixes", prefixes.len());
    let (mut trie4, mut trie6) = (
        PrefixMap::<Ipv4Net, u32>::new(),
        PrefixMap::<Ipv6Net, u32>::new(),
    );
    for (net, class) in &prefixes {
        match net {
            IpNet::V4(net) => drop(trie4.insert(*net, *class)),
            IpNet::V6(net) => drop(trie6.insert(*net, *class)),
        }
    }
    let nets: Vec<IpNet> = prefixes.keys().copied().collect();
    let source = Source {
        default_class: CLASSES,
        classes: prefixes.into_iter().collect(),
        ..Source::default()
    };
    let begun = Instant::now();
    let image = source.compile().unwrap();
    println!(
        "{} prefixes: an image of {} bytes in {:.2?}",
        nets.len(),
        image.words().len() * 4,
        begun.elapsed()
    );

    let expected = |address: IpAddr| match address {
        IpAddr::V4(address) => trie4
            .get_lpm(&Ipv4Net::from(address))
            .map_or(CLASSES, |found| *found.1),
        IpAddr::V6(address) => trie6
            .get_lpm(&Ipv6Net::from(address))
            .map_or(CLASSES, |found| *found.1),
    };
    let mut random = Random(20_261_122);
    let mut asked = [0_u64; 2];
    for round in 0..ASKED {
        let address = match round % 3 {
            0 => IpAddr::V4((random.next() as u32).into()),
            // Inside a prefix, or just beside it.
            _ => {
                let net = nets[(random.next() % nets.len() as u64) as usize];
                let (first, last, width) = match net {
                    IpNet::V4(net) => (
                        net.network().to_bits().into(),
                        net.broadcast().to_bits().into(),
                        32,
                    ),
                    IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits(), 128),
                };
                let bits: u128 = match random.next() % 4 {
                    0 => first,
                    1 => last,
                    2 => u128::wrapping_sub(first, 1),
                    _ => {
                        first
                            + (u128::from(random.next()) << 64 | u128::from(random.next()))
                                % (last - first + 1)
                    }
                };
                match width {
                    32 => IpAddr::V4((bits as u32).into()),
                    _ => IpAddr::V6(bits.into()),
                }
            }
        };
        asked[usize::from(address.is_ipv6())] += 1;
        assert_eq!(class(&image, address), expected(address), "{address}");
    }
    println!("asked at {} IPv4 and {} IPv6 addresses", asked[0], asked[1]);
    assert!(asked[0] > ASKED / 2 && asked[1] > ASKED / 20);
}
