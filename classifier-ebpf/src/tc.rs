//! A frame on its way out through tc: an `sk_buff`, whose headers may lie behind what can be read directly, and
//! which may stand for a train of packets.
//!
//! VLAN tags the card is to insert are not among its bytes; nobody counts them.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::BPF_F_RECOMPUTE_CSUM;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use classifier::dscp::Rewrite;
use classifier::layout::Metadata;
use classifier::packet::{self, Packet};
use classifier::tag::Tag;
use classifier::train::{Piece, Train};

/// The frame of one program run.
pub(crate) struct SkbFrame<'a> {
    context: &'a TcContext,
    train: Train,
}

impl<'a> SkbFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a TcContext) -> Self {
        let mut frame = Self {
            context,
            train: Train::ONE,
        };
        let skb = context.skb.skb;
        // SAFETY: the context is this program run's own. `wire_len` is there since Linux 5.0, `gso_segs` 5.1,
        // `gso_size` 5.7.
        let piece = unsafe {
            Piece {
                bytes: (*skb).len,
                wire_bytes: (*skb).wire_len,
                segment: (*skb).gso_size,
                packets: (*skb).gso_segs,
            }
        };
        frame.train = Train::of(piece, || packet::headers(&frame));
        frame
    }

    /// Whether the gateway sends it, rather than passing it on.
    #[inline(always)]
    pub(crate) fn is_from_here(&self) -> bool {
        // SAFETY: as above. The kernel notes where a packet arrived, and this one did nowhere.
        unsafe { (*self.context.skb.skb).ingress_ifindex == 0 }
    }

    /// Gives the packet a tag's mark.
    #[inline(always)]
    pub(crate) fn set_mark(&self, tag: Tag) {
        set_mark(self.context, tag);
    }

    #[inline(always)]
    fn read<T: Copy>(&self, offset: u32) -> Option<T> {
        let start = self.context.data() + offset as usize;
        if start + size_of::<T>() <= self.context.data_end() {
            // SAFETY: the verifier has seen the comparison with `data_end`, and lets the program read from any
            // address on the architectures we support.
            return Some(unsafe { ptr::read(start as *const T) });
        }
        // Headers that are not in the linear part: rare.
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes as many bytes as the value has, or fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.context.skb.skb.cast(),
                offset,
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            )
        };
        // SAFETY: written just now, and any bytes are a value of the integers this is used for.
        (result == 0).then(|| unsafe { value.assume_init() })
    }
}

#[inline(always)]
fn set_mark(context: &TcContext, tag: Tag) {
    let skb = context.skb.skb;
    // SAFETY: the context is this program run's own.
    unsafe { (*skb).mark = tag.put_in((*skb).mark) };
}

/// Gives a packet the mark that the XDP program put before it, if it did.
#[inline(always)]
pub(crate) fn take_mark(context: &TcContext) {
    // SAFETY: as above.
    let start = unsafe { (*context.skb.skb).data_meta } as usize;
    if start + size_of::<Metadata>() > context.data() {
        return;
    }
    // SAFETY: the verifier has seen the comparison with `data`, behind which the packet begins.
    let metadata = unsafe { ptr::read(start as *const Metadata) };
    if metadata.magic == Metadata::MAGIC {
        set_mark(
            context,
            Tag {
                mask: metadata.mask,
                mark: metadata.mark,
                dscp: None,
            },
        );
    }
}

impl Packet for SkbFrame<'_> {
    #[inline(always)]
    fn room(&self) -> u32 {
        self.context.len()
    }
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        self.read(offset).map(u16::from_be)
    }
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.read::<[u32; N]>(offset)
            .map(|words| words.map(u32::from_be))
    }
    #[inline(always)]
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
        self.read::<[u64; N]>(offset)
            .map(|longs| longs.map(u64::from_be))
    }
    #[inline(always)]
    fn train(&self) -> Train {
        self.train
    }
}

impl Rewrite for SkbFrame<'_> {
    #[inline(always)]
    fn put_half(&self, offset: u32, value: u16) -> bool {
        let value = value.to_be();
        // SAFETY: the helper reads as many bytes as the value has. It also makes the headers the packet's own, where
        // others share them, and corrects a sum the card made over all of the packet.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.context.skb.skb.cast(),
                offset,
                ptr::from_ref(&value).cast(),
                size_of::<u16>() as u32,
                u64::from(BPF_F_RECOMPUTE_CSUM),
            )
        };
        result == 0
    }
}
