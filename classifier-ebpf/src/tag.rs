//! What the rest of the stack is told of a packet: its class and who pays, as bits of a mark, or its class as a DSCP.
//!
//! The low four bits under the administrator's mask say who pays ([`Payer`]), the others are the number the
//! administrator gave the class, so that nftables and `ip rule` can ask for either alone. Mask and numbers stand in the
//! image: they change with it, all at once, and packets that are not to be tagged never read them.

use crate::image::{Image, Words};

/// Bits under the mask that say who pays.
pub const PAYER_BITS: u32 = 4;

/// What a hook tells of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tagging {
    /// Nothing.
    #[default]
    None,
    /// Class and payer, in the mark.
    Mark,
    /// The class, in the DSCP.
    Dscp,
}

/// Who pays for a packet: the number that stands in its mark. No enumeration: who pays at the end of a chain differs from
/// packet to packet, and becomes a number without a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer(u32);

impl Payer {
    /// No subscriber is known.
    pub const UNATTRIBUTED: Self = Self(0);
    /// Nobody: it is free.
    pub const FREE: Self = Self(1);
    /// The subscriber, by volume.
    pub const METERED: Self = Self(2);
    /// A bucket.
    pub const BUCKET: Self = Self(3);
    /// Nobody: it was to be dropped, and passes because it is web traffic and its interface marks such.
    pub const BLOCKED: Self = Self(4);
    /// Nobody: it is to be dropped, and if it passes then because its interface does not enforce that, or the gateway
    /// itself sent it.
    pub const DROPPED: Self = Self(5);

    /// Who pays where a chain ends in `free`, or in `metered`.
    #[inline(always)]
    #[must_use]
    pub const fn at_end(free: bool) -> Self {
        Self(Self::METERED.0 - free as u32)
    }
    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
    /// Who has a number.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of_number(number: u32) -> Self {
        Self(number)
    }
}

/// What a packet is to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Bits of the mark that are set or cleared; zero where the mark stays as it is.
    pub mask: u32,
    /// What they are set to.
    pub mark: u32,
    /// The DSCP, 0 to 63, if it is to be another.
    pub dscp: Option<u32>,
}

impl Tag {
    /// The packet stays as it is.
    pub const NONE: Self = Self {
        mask: 0,
        mark: 0,
        dscp: None,
    };

    /// A mark in which the bits of this tag are as they should be, and all others as they were.
    #[inline(always)]
    #[must_use]
    pub const fn put_in(self, mark: u32) -> u32 {
        mark & !self.mask | self.mark
    }
}

/// How a class is known outside: its bits of the mark in the low half, its DSCP above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(u64);

impl Label {
    const HAS_DSCP: u64 = 1 << 63;

    /// The label of a class with a number under a mask; what the number is too large for stays zero, or unsaid.
    #[must_use]
    pub fn new(number: u32, mask: u32) -> Self {
        let mark = u64::from(number) << (mask.trailing_zeros() + PAYER_BITS) & u64::from(mask);
        let dscp = if number < 64 {
            Self::HAS_DSCP | u64::from(number) << 32
        } else {
            0
        };
        Self(mark | dscp)
    }
    /// As it stands in an image.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }
    /// From how it stands in an image.
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> Self {
        Self(word)
    }
    #[inline(always)]
    const fn mark(self) -> u32 {
        self.0 as u32
    }
    #[inline(always)]
    const fn dscp(self) -> Option<u32> {
        if self.0 & Self::HAS_DSCP == 0 {
            None
        } else {
            Some((self.0 >> 32) as u32 & 63)
        }
    }
}

/// What a packet of a class that somebody pays for is to carry.
#[inline(always)]
pub fn of<W: Words>(image: Image<W>, tagging: Tagging, class: u32, payer: Payer) -> Tag {
    match tagging {
        Tagging::None if payer != Payer::BLOCKED => Tag::NONE,
        Tagging::None => marked(image, 0, payer),
        Tagging::Mark => marked(image, image.label(class).mark(), payer),
        Tagging::Dscp => {
            let dscp = image.label(class).dscp();
            let tag = if payer == Payer::BLOCKED {
                marked(image, 0, payer)
            } else {
                Tag::NONE
            };
            Tag { dscp, ..tag }
        }
    }
}

#[inline(always)]
fn marked<W: Words>(image: Image<W>, class: u32, payer: Payer) -> Tag {
    let mask = image.tag_mask();
    // The lowest bit of the mask, times the payer's number: the number at its place.
    let unit = mask & mask.wrapping_neg();
    Tag {
        mask,
        mark: class | unit.wrapping_mul(payer.number()),
        dscp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_a_number_twice() {
        let label = Label::new(2, 0x0fff_0000);
        assert_eq!((label.mark(), label.dscp()), (0x0020_0000, Some(2)));
        let label = Label::new(255, 0x0fff_0000);
        assert_eq!((label.mark(), label.dscp()), (0x0ff0_0000, None));
        // Too large for the mask: nothing beside it is touched.
        assert_eq!(Label::new(2, 0x1f).mark(), 0);
        assert_eq!(Label::new(u32::MAX, 0xffff_ffff).mark(), 0xffff_fff0);
        // No number is not number zero.
        assert_eq!(Label::of_word(0).dscp(), None);
        assert_eq!(Label::new(0, 0x0fff_0000).dscp(), Some(0));
    }

    #[test]
    fn bits_beside_the_mask_stay() {
        let tag = Tag {
            mask: 0x0fff_0000,
            mark: 0x0024_0000,
            dscp: None,
        };
        assert_eq!(tag.put_in(0xffff_ffff), 0xf024_ffff);
        assert_eq!(Tag::NONE.put_in(0x1234_5678), 0x1234_5678);
    }
}
