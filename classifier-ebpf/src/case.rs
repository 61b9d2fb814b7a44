//! What the next packet can be told by the one before it: packets come in bursts of one flow, and what was decided about the
//! one is true of the other as long as all is equal that the decision depends on.
//!
//! Whose an address is, and who is suspended, is looked up for each packet: it changes in place. What its class is and who
//! pays for that is fixed in an image. A bucket's level is asked by each packet, so its answer is not kept.

use crate::charge::{Direction, by_chain};
use crate::events::Kind;
use crate::image::{Binding, Image, Remote, Words};
use crate::layout::Place;
use crate::tag::{Payer, Tagging};

/// An address of either family. A trait and no choice at run time: each family has code of its own.
pub(crate) trait Address: Copy {
    fn subscriber<W: Words>(self, image: Image<W>) -> Binding;
    fn remote<W: Words>(self, image: Image<W>) -> Remote;
    /// As a case holds it, and a number for the family.
    fn words(self) -> ([u64; 2], u64);
    /// Whether what it is as a remote may be asked later: many are asked at a time then. The search for one of IPv6 is so
    /// many instructions that the processor has no room for several of them.
    const WAITS: bool;
}

impl Address for u32 {
    #[inline(always)]
    fn subscriber<W: Words>(self, image: Image<W>) -> Binding {
        image.subscriber4(self)
    }
    #[inline(always)]
    fn remote<W: Words>(self, image: Image<W>) -> Remote {
        image.remote4(self)
    }
    #[inline(always)]
    fn words(self) -> ([u64; 2], u64) {
        ([0, self as u64], 0)
    }
    const WAITS: bool = true;
}

impl Address for [u64; 2] {
    #[inline(always)]
    fn subscriber<W: Words>(self, image: Image<W>) -> Binding {
        image.subscriber6(self)
    }
    #[inline(always)]
    fn remote<W: Words>(self, image: Image<W>) -> Remote {
        image.remote6(self)
    }
    #[inline(always)]
    fn words(self) -> ([u64; 2], u64) {
        (self, 1)
    }
    const WAITS: bool = false;
}

/// All that a packet's charge depends on where no bucket is asked: the image, the direction, the subscriber's row, plan and
/// state, and the remote's address; and whether it has to be known while the packet is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Whose it is.
    pub binding: Binding,
    /// The remote's address; of IPv4 the last 32 bits.
    pub remote: [u64; 2],
    /// Whether the packet is to carry a tag, the serial number of the image, the family, and the direction.
    pub image: u64,
}

impl Case {
    const TAGGED: u64 = 1 << 63;
    const SERIAL_BIT: u32 = 2;

    #[inline(always)]
    pub(crate) fn new<W: Words>(
        image: Image<W>,
        direction: Direction,
        tagging: Tagging,
        binding: Binding,
        remote: impl Address,
    ) -> Self {
        let (remote, family) = remote.words();
        let serial = u64::from(image.serial()) << Self::SERIAL_BIT;
        let word = serial | family << 1 | u64::from(direction.is_down());
        Self {
            binding,
            remote,
            // A branch, which the verifier leaves out: an interface's tagging is a constant.
            image: if tagging == Tagging::None {
                word
            } else {
                word | Self::TAGGED
            },
        }
    }

    /// Serial number of the image.
    #[inline(always)]
    #[must_use]
    pub const fn serial(self) -> u32 {
        (self.image >> Self::SERIAL_BIT) as u32
    }
    #[inline(always)]
    const fn is_down(self) -> bool {
        self.image & 1 != 0
    }
}

/// A packet whose class, and with it who pays, is found later, together with those of others, by the same image: it passes
/// whatever they are. As it stands in the place of a note; the remote's address stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferred {
    binding: Binding,
    down: bool,
}

impl Deferred {
    // Neither is ever set in the binding of an address, nor the first in a place.
    const MARK: u64 = 1 << 63;
    const DOWN: u64 = 1 << 61;

    /// The packet of a case.
    #[inline(always)]
    #[must_use]
    pub const fn of(case: Case) -> Self {
        Self {
            binding: case.binding,
            down: case.is_down(),
        }
    }
    /// As it stands in a note.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.binding.word() | Self::MARK | if self.down { Self::DOWN } else { 0 }
    }
    /// From the place of a note, if it is no place.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Option<Self> {
        if word & Self::MARK == 0 {
            return None;
        }
        Some(Self {
            binding: Binding::of_word(word & !(Self::MARK | Self::DOWN)),
            down: word & Self::DOWN != 0,
        })
    }
    /// Where it is counted, found in the image it was judged by.
    #[inline(always)]
    pub fn decide<W: Words>(self, image: Image<W>, remote: u32) -> Place {
        let class = image.remote4(remote).class();
        let charge = by_chain(image.chain(self.binding.plan(), class));
        Place {
            line: self.binding.line(),
            meter: charge.meter,
            down: self.down,
            news: image.wants(Kind::Used).then_some(Kind::Used),
        }
    }
}

/// What was decided in a case in which no bucket was asked, and the packet passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// Number of the service class.
    pub class: u32,
    /// Who pays.
    pub payer: Payer,
}

impl Ruling {
    /// As it stands in memory.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.payer.number() as u64) << 32 | self.class as u64
    }
    /// From how it stands in memory.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Self {
        Self {
            class: word as u32,
            payer: Payer::of_number((word >> 32) as u32),
        }
    }
}
