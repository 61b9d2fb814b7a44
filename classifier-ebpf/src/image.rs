//! Reading a policy image: one flat table that answers, for any address, which service class it is and whose
//! it is, and, for any plan, who pays for a class.
//!
//! The image is compiled whole in user space; a change of policy is another image and one pointer swap. Only
//! the subscriber indices inside it change in place while it is in force, one address at a time. Positions are
//! word numbers, so an image is the same bytes in a kernel map, in a file and in memory. The compiler's half of
//! this module is `classifier-user`'s `image`.
//!
//! | section | what it answers | module |
//! |---|---|---|
//! | header | where everything stands, see [`at`]; nothing before it | |
//! | remotes | address → class | [`remotes`] |
//! | subscribers, one index per family | address → row | [`subscribers`] |
//! | plans | plan layout and class → who pays; plan layout and bucket → low mark | [`plans`] |
//! | labels | class → what it is called in tags | [`tag`](crate::tag) |
//!
//! To change how addresses are looked up is to change these modules and their compilers, nothing else.

pub mod plans;
pub mod remotes;
pub mod subscribers;

pub use self::plans::{Chain, Steps};
pub use self::remotes::Remote;
pub use self::subscribers::Binding;

use crate::events::Kind;
use crate::layout::LAYOUT_VERSION;
use crate::tag::Label;

/// A policy image, however it is held. An index out of range is the holder's to make harmless (a masked read,
/// or zero): a compiled image never asks for one.
pub trait Words: Copy {
    /// A line that was found, to be read at several places.
    type Line: Copy;

    /// The 32-bit word at a constant place of the header.
    fn head(self, index: u32) -> u32;
    /// The 64-bit word at a constant place of the header, counted in 64-bit words.
    fn long_head(self, index: u32) -> u64;
    /// The 32-bit word at `index`.
    fn word(self, index: u32) -> u32;
    /// The 16-bit word at `index`, counted in 16-bit words.
    fn half(self, index: u32) -> u32;
    /// The 64-bit word at `index`, counted in 64-bit words.
    fn long(self, index: u32) -> u64;
    /// The byte at `index`, counted in bytes.
    fn byte(self, index: u32) -> u32;
    /// The line of [`LINE_WORDS`] words at `index`, counted in lines.
    fn line(self, index: u32) -> Self::Line;
    /// The word at a position of a line.
    fn in_line(self, line: Self::Line, position: u32) -> u32;
    /// One if the word at a position of a line is less than `digit`, which has 32 bits; else zero.
    fn is_below(self, line: Self::Line, position: u32, digit: u64) -> u64;
}

/// `ZRIM`: what the first word of an image's header is.
pub const MAGIC: u32 = 0x5a52_494d;
/// Words of an image's beginning: nothing, then what `at` says.
pub const HEADER_WORDS: u32 = at::START + 64;
/// Words an image can have: what can be numbered in bytes.
pub const MAX_WORDS: u32 = 1 << 30;
/// Words of a line: what one cache line holds.
pub const LINE_WORDS: u32 = 16;

/// Where things stand in the header, in words.
pub mod at {
    /// Where the header begins: in the middle of a page. Frames and their descriptors stand at the beginnings of pages, and
    /// lines at the same place of many pages crowd each other out of the cache.
    pub(super) const START: u32 = 512;
    /// [`super::MAGIC`].
    pub const MAGIC: u32 = START;
    /// [`crate::layout::LAYOUT_VERSION`].
    pub const LAYOUT: u32 = START + 1;
    /// Counts up with every image a node publishes.
    pub const SERIAL: u32 = START + 2;
    /// Narrow nodes of the remotes' IPv4 table.
    pub const NARROW4: u32 = START + 3;
    /// First word of the plans.
    pub const PLANS: u32 = START + 4;
    /// Bits of a packet's mark that tags may use.
    pub const TAG_MASK: u32 = START + 5;
    /// First of the classes' labels, in 64-bit words: one for each number a class can have.
    pub const LABELS: u32 = START + 6;
    /// First of the low marks, in 64-bit words.
    pub const LOW: u32 = START + 7;
    /// Which kinds of events are wanted, a bit for each.
    pub const EVENTS: u32 = START + 14;
    /// Serial number of the image if its packets are to be counted aside, else zero. User space changes it while the
    /// image is in force.
    pub const ASIDE: u32 = START + 15;
    /// First word of the remotes' IPv4 entries.
    pub const REMOTES4: u32 = START + 8;
    /// First word of the remotes' IPv6 top level.
    pub const REMOTES6: u32 = START + 9;
    /// First word of their second level.
    pub const REMOTES6_SECOND: u32 = START + 10;
    /// First line of their search trees.
    pub const REMOTES6_LINES: u32 = START + 11;
    /// First word of the remotes' IPv4 nodes.
    pub const NODES4: u32 = START + 12;
    /// First value of their long intervals; [`REMOTES6_KEYS`] has the keys.
    pub const REMOTES6_VALUES: u32 = START + 13;
    /// The subscriber index of IPv4; its words are in [`super::subscribers::head`].
    pub const SUBSCRIBERS4: u32 = START + 16;
    /// The subscriber index of IPv6.
    pub const SUBSCRIBERS6: u32 = START + 24;
    /// Words in use when the image was compiled.
    pub const LENGTH: u32 = START + 32;
    /// First of the words that say where the groups of the remotes' IPv4 nodes are, one for each node.
    pub const GROUPS4: u32 = START + 33;
    /// First key of the remotes' long IPv6 intervals, in 64-bit words.
    pub const REMOTES6_KEYS: u32 = START + 34;
}

/// Entry bit, in every table: not a value, but where the next level is.
pub const DEEPER: u32 = 1 << 31;

/// An image that was found to be one.
#[derive(Debug, Clone, Copy)]
pub struct Image<W>(W);

impl<W: Words> Image<W> {
    /// Takes the words for an image if they say they are one of this layout.
    #[inline(always)]
    pub fn new(words: W) -> Option<Self> {
        let expected = (LAYOUT_VERSION as u64) << 32 | MAGIC as u64;
        (words.long_head(at::MAGIC / 2) == expected).then_some(Self(words))
    }

    /// Serial number of the image.
    #[inline(always)]
    pub fn serial(self) -> u32 {
        self.0.head(at::SERIAL)
    }

    /// Whether rows are kept still: what packets count is to stand aside, under this serial number.
    #[inline(always)]
    pub fn aside(self) -> Option<u32> {
        match self.0.head(at::ASIDE) {
            0 => None,
            serial => Some(serial),
        }
    }

    /// What an IPv4 address is as a remote.
    #[inline(always)]
    pub fn remote4(self, address: u32) -> Remote {
        remotes::find4(self.0, address)
    }
    /// Reads what of the table is likely to be far away for an IPv4 address: whoever is about to ask what several of them are
    /// has the memory of all of them come at the same time. What is read means nothing.
    #[inline(always)]
    pub fn approach_remote4(self, address: u32) -> u32 {
        remotes::in_node4(self.0, address).1
    }
    /// What an IPv6 address is as a remote.
    #[inline(always)]
    pub fn remote6(self, address: [u64; 2]) -> Remote {
        remotes::find6(self.0, address)
    }
    /// Whose an IPv4 address is.
    #[inline(always)]
    pub fn subscriber4(self, address: u32) -> Binding {
        subscribers::find4(self.0, address)
    }
    /// Whose an IPv6 address is.
    #[inline(always)]
    pub fn subscriber6(self, address: [u64; 2]) -> Binding {
        subscribers::find6(self.0, address)
    }
    /// Whether an event of a kind is wanted.
    #[inline(always)]
    pub fn wants(self, kind: Kind) -> bool {
        self.0.head(at::EVENTS) & kind.bit() != 0
    }
    /// The low mark of a bucket of a plan layout, in bytes; zero where it has none.
    #[inline(always)]
    pub fn low(self, plan: u32, bucket: u32) -> i64 {
        plans::low(self.0, plan, bucket)
    }
    /// Who pays for a class under a plan layout.
    #[inline(always)]
    pub fn chain(self, plan: u32, class: u32) -> Chain {
        plans::chain(self.0, plan, class)
    }
    /// Whether all packets of a plan layout pass and draw from no bucket, but for those of who is suspended.
    #[inline(always)]
    pub fn passes(self, plan: u32) -> bool {
        plans::passes(self.0, plan)
    }
    /// What a class is called in tags.
    #[inline(always)]
    pub fn label(self, class: u32) -> Label {
        Label::of_word(self.0.long(self.0.head(at::LABELS) + class))
    }
    /// Bits of a packet's mark that tags may use; zero where there are none.
    #[inline(always)]
    pub fn tag_mask(self) -> u32 {
        self.0.head(at::TAG_MASK)
    }
}
