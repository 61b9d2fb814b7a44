//! Everything one replay needs, at random; and how it is written to files.

use std::path::Path;

use proptest::prelude::*;
use zerorate_tests::oracle::write::Format;
use zerorate_tests::oracle::{Address, Captured, Prefix, Role};

use super::packets::{self, Packet};
use super::policy::{self, Policy};
use super::subscribers::{self, Subscriber};

/// The second all times of a world are counted from: 2024-03-10T12:00:00Z.
pub(crate) const NOON: i128 = 1_710_072_000;

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) role: Role,
    format: Format,
    link: u32,
    policy: Policy,
    subscribers: Vec<Subscriber>,
    packets: Vec<Packet>,
}

/// All cases.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let role = prop_oneof![Just(Role::Access), Just(Role::Core), Just(Role::Auto)];
    let format = prop::sample::select(Format::all().to_vec());
    // Ethernet most of the time.
    let link = prop_oneof![
        6 => Just(1),
        1 => prop::sample::select(vec![0, 12, 14, 101, 108, 113, 228, 229, 276]),
    ];
    let subscribers = prop::collection::vec(subscribers::subscribers(), 0..9);
    let packets = prop::collection::vec(packets::packets(), 0..80);
    (role, format, link, policy::policies(), subscribers, packets).prop_map(
        |(role, format, link, policy, subscribers, packets)| World {
            role,
            format,
            link,
            policy,
            subscribers,
            packets,
        },
    )
}

impl World {
    /// The packets as they stand in the capture.
    pub(crate) fn captured(&self) -> Vec<Captured> {
        let places = Places {
            sets: self.policy.prefixes(),
            subscribers: subscribers::prefixes(&self.subscribers)
                .into_iter()
                .flatten()
                .collect(),
        };
        let mut captured: Vec<Captured> = self
            .packets
            .iter()
            .flat_map(|packet| packet.captured(self.link, &places))
            .collect();
        if !self.format.nanoseconds {
            for packet in &mut captured {
                packet.time -= packet.time % 1000;
            }
        }
        captured
    }

    /// Writes `policy/`, `subscribers.csv` and `capture` into a folder.
    pub(crate) fn write(&self, folder: &Path) {
        self.policy.write(&folder.join("policy"));
        let table = subscribers::table(&self.subscribers, &self.policy);
        std::fs::write(folder.join("subscribers.csv"), table).expect("the subscribers are written");
        let capture = self.format.write(&self.captured());
        std::fs::write(folder.join("capture"), capture).expect("the capture is written");
    }
}

/// Prefixes that addresses are picked from, so that packets meet the policy.
pub(crate) struct Places {
    pub(crate) sets: Vec<Prefix>,
    pub(crate) subscribers: Vec<Prefix>,
}

/// A few numbers most prefixes and addresses lie near, so that they nest and touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    v6: bool,
    base: u8,
    /// One bit of it turned over, counted from the top.
    flipped: Option<u8>,
    noise: Option<u128>,
}

/// An address near one of the bases.
pub(crate) fn seeds() -> impl Strategy<Value = Seed> {
    let noise = prop::option::weighted(0.15, any::<u128>());
    (any::<bool>(), 0..4u8, prop::option::of(0..128u8), noise).prop_map(
        |(v6, base, flipped, noise)| Seed {
            v6,
            base,
            flipped,
            noise,
        },
    )
}

impl Seed {
    /// The address it stands for.
    pub(crate) fn address(&self) -> Address {
        const V4: [u128; 4] = [0x0a00_0000, 0xc633_6400, 0xffff_ffff, 0x0000_0000];
        const V6: [u128; 4] = [
            0x2001_0db8_0000_0000_0000_0000_0000_0000,
            0x2001_0db8_00aa_0100_0000_0000_0000_0001,
            u128::MAX,
            0xffff_0a00_0000,
        ];
        let (bases, width) = if self.v6 { (V6, 128) } else { (V4, 32) };
        let mut bits = bases[usize::from(self.base)];
        if let Some(flipped) = self.flipped {
            bits ^= 1 << (width - 1 - u32::from(flipped) % width);
        }
        if let Some(noise) = self.noise {
            bits = noise;
        }
        let bits = if self.v6 {
            bits
        } else {
            bits & u128::from(u32::MAX)
        };
        Address { v6: self.v6, bits }
    }

    /// The prefix of some length around it.
    pub(crate) fn prefix(&self, length: u8) -> Prefix {
        let address = self.address();
        let width = address.width();
        Prefix::around(address, u32::from(length) % (width + 1))
    }
}

/// How long a prefix is: any length, and often a host's.
pub(crate) fn lengths() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => 0..=128u8,
        1 => Just(32u8),
        1 => Just(128u8),
        1 => Just(1u8),
        1 => Just(0u8),
    ]
}
