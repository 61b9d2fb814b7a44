//! What the next packet can be told by the one before it: packets come in bursts of one flow, and what was decided about the
//! one is true of the other as long as all is equal that the decision depends on.
//!
//! Whose an address is, and who is suspended, is looked up for each packet: it changes in place. What its class is and who
//! pays for that is fixed in an image. A bucket's level is asked by each packet, so its answer is not kept.

use crate::charge::Direction;
use crate::image::{Binding, Image, Remote, Words};
use crate::tag::Payer;

/// An address of either family. A trait and no choice at run time: each family has code of its own.
pub(crate) trait Address: Copy {
    fn subscriber<W: Words>(self, image: Image<W>) -> Binding;
    fn remote<W: Words>(self, image: Image<W>) -> Remote;
    /// As a case holds it, and a number for the family.
    fn words(self) -> ([u64; 2], u64);
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
}

/// All that a packet's charge depends on where no bucket is asked: the image, the direction, the subscriber's row, plan and
/// state, and the remote's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Whose it is.
    pub binding: Binding,
    /// The remote's address; of IPv4 the last 32 bits.
    pub remote: [u64; 2],
    /// Serial number of the image, then the family, then the direction.
    pub image: u64,
}

impl Case {
    #[inline(always)]
    pub(crate) fn new<W: Words>(
        image: Image<W>,
        direction: Direction,
        binding: Binding,
        remote: impl Address,
    ) -> Self {
        let (remote, family) = remote.words();
        Self {
            binding,
            remote,
            image: u64::from(image.serial()) << 2 | family << 1 | u64::from(direction.is_down()),
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
