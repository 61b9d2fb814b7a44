//! The prefixes everything is measured with: real routing tables where `ZERORATE_DATA` says they are, or made up
//! with the real tables' shares of prefix lengths.

use std::collections::HashSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::random::Random;

/// The variable that names the directory of real tables.
const DATA: &str = "ZERORATE_DATA";

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

/// Prefixes of both families, in an order that has nothing to do with their addresses.
pub(crate) struct Tables {
    v4: Vec<IpNet>,
    v6: Vec<IpNet>,
    /// Where they come from, in words.
    pub(crate) origin: String,
}

/// Prefixes made up where there is no real table.
const MADE_UP: [usize; 2] = [1_000_000, 200_000];

impl Tables {
    /// Reads the real tables, or makes some up, `most` of a family at the most.
    pub(crate) fn find(most: usize) -> Result<Self> {
        let mut random = Random::new(0x7461_626c);
        let (mut tables, origin) = match directory() {
            Some(directory) => {
                let tables = [read(&directory, "ipv4")?, read(&directory, "ipv6")?];
                (tables, "real routing tables".to_owned())
            }
            None => {
                let tables = [
                    make_up4(MADE_UP[0].min(most), &mut random),
                    make_up6(MADE_UP[1].min(most), &mut random),
                ];
                (
                    tables,
                    format!("made-up prefixes of real lengths ({DATA} is not set)"),
                )
            }
        };
        for table in &mut tables {
            random.shuffle(table);
        }
        let [v4, v6] = tables;
        Ok(Self { v4, v6, origin })
    }

    /// The first `count` prefixes of a family, or all if there are fewer; smaller tables are part of larger ones.
    pub(crate) fn take(&self, family: Family, count: usize) -> &[IpNet] {
        let table = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        &table[..count.min(table.len())]
    }
}

fn directory() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os(DATA)?).join("bgp");
    directory.is_dir().then_some(directory)
}

/// All prefixes of a family, nested ones included, each once.
fn read(directory: &Path, family: &str) -> Result<Vec<IpNet>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(&format!("{family}.txt.gz"))
        })
        .collect();
    files.sort();
    let mut prefixes = Vec::new();
    for path in files {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let line = line.with_context(|| format!("cannot read {}", path.display()))?;
            let word = line.split(' ').next().unwrap_or_default();
            let net: IpNet = word
                .parse()
                .with_context(|| format!("{}: `{word}`", path.display()))?;
            prefixes.push(net.trunc());
        }
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(prefixes)
}

/// Prefixes of each length in the real IPv4 tables.
const LENGTHS4: [(u8, u32); 25] = [
    (8, 25),
    (9, 19),
    (10, 67),
    (11, 192),
    (12, 520),
    (13, 1_001),
    (14, 2_155),
    (15, 4_257),
    (16, 22_470),
    (17, 14_642),
    (18, 25_061),
    (19, 49_450),
    (20, 72_771),
    (21, 88_177),
    (22, 169_012),
    (23, 161_266),
    (24, 542_593),
    (25, 2_509),
    (26, 2_430),
    (27, 2_504),
    (28, 1_227),
    (29, 1_956),
    (30, 2_292),
    (31, 71),
    (32, 4_051),
];

/// Prefixes of each length in the real IPv6 tables; the few longer than /64 are left out.
const LENGTHS6: [(u8, u32); 42] = [
    (20, 19),
    (21, 10),
    (22, 19),
    (23, 25),
    (24, 71),
    (25, 46),
    (26, 83),
    (27, 81),
    (28, 245),
    (29, 11_269),
    (30, 1_074),
    (31, 1_594),
    (32, 35_603),
    (33, 2_121),
    (34, 2_386),
    (35, 2_831),
    (36, 5_864),
    (37, 2_768),
    (38, 3_533),
    (39, 3_812),
    (40, 9_242),
    (41, 3_950),
    (42, 4_568),
    (43, 5_248),
    (44, 10_960),
    (45, 5_128),
    (46, 6_708),
    (47, 9_823),
    (48, 53_469),
    (49, 410),
    (50, 410),
    (51, 419),
    (52, 537),
    (53, 492),
    (54, 387),
    (56, 637),
    (57, 384),
    (59, 683),
    (61, 835),
    (62, 870),
    (63, 891),
    (64, 2_484),
];

fn length(shares: &[(u8, u32)], random: &mut Random) -> u8 {
    let total: u32 = shares.iter().map(|(_, share)| share).sum();
    let mut point = random.below(total as usize) as u32;
    for (length, share) in shares {
        if point < *share {
            return *length;
        }
        point -= share;
    }
    unreachable!("the point is below the sum of all shares")
}

fn make_up4(count: usize, random: &mut Random) -> Vec<IpNet> {
    let mut found = HashSet::with_capacity(count);
    while found.len() < count {
        let length = length(&LENGTHS4, random);
        // 1.0.0.0 up to 223.255.255.255: what can be routed.
        let address = 0x0100_0000 + random.below(0xdf00_0000) as u32;
        found.extend(Ipv4Net::new(Ipv4Addr::from(address), length).map(|net| net.trunc()));
    }
    sorted(found.into_iter().map(IpNet::V4))
}

/// What the registries give out of, as the upper 12 bits: where real prefixes are.
const REGISTRIES6: [u128; 7] = [0x200, 0x240, 0x260, 0x280, 0x2a0, 0x2a1, 0x2c0];

fn make_up6(count: usize, random: &mut Random) -> Vec<IpNet> {
    // Longer prefixes are parts of what somebody has been given: a /32.
    let given: Vec<u128> = (0..count.div_ceil(5).max(1))
        .map(|_| {
            let registry = REGISTRIES6[random.below(REGISTRIES6.len())];
            (registry << 20 | random.wide() & 0xf_ffff) << 96
        })
        .collect();
    let mut found = HashSet::with_capacity(count);
    while found.len() < count {
        let length = length(&LENGTHS6, random);
        let address = given[random.below(given.len())] | random.wide() >> 32;
        found.extend(Ipv6Net::new(Ipv6Addr::from(address), length).map(|net| net.trunc()));
    }
    sorted(found.into_iter().map(IpNet::V6))
}

/// A set's own order is another one in every run.
fn sorted(prefixes: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    let mut prefixes: Vec<IpNet> = prefixes.collect();
    prefixes.sort_unstable();
    prefixes
}
