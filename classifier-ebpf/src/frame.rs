//! A frame that comes out of a map instead of from the network: what `replay` has judged where the kernel's test run would not
//! take a frame as it is.

use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use classifier::layout::{FrameSlot, HEAD_BYTES};
use classifier::packet::Packet;

use crate::maps::opaque;

/// The frame that the `_frame` programs judge.
#[btf_map]
static FRAME: Array<FrameSlot, 1> = Array::new();

/// A frame in its map.
pub(crate) struct MapFrame(&'static FrameSlot);

impl MapFrame {
    #[inline(always)]
    pub(crate) fn get() -> Option<Self> {
        FRAME.get(0).map(Self)
    }

    #[inline(always)]
    fn at(&self, offset: u32, len: u32) -> Option<*const u8> {
        if offset + len > self.0.captured {
            return None;
        }
        let offset = opaque(u64::from(offset & (HEAD_BYTES - 1)));
        // SAFETY: a masked offset and at most 40 bytes behind it are inside the slot.
        Some(unsafe {
            ptr::from_ref(&self.0.head)
                .cast::<u8>()
                .add(offset as usize)
        })
    }
}

impl Packet for MapFrame {
    #[inline(always)]
    fn room(&self) -> u32 {
        self.0.original
    }
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        // SAFETY: `at` found two bytes; the kernel's architectures read them from any address.
        self.at(offset, 2)
            .map(|at| u16::from_be(unsafe { ptr::read(at.cast()) }))
    }
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        // SAFETY: `at` found all N words; see above for their address.
        self.at(offset, 4 * N as u32)
            .map(|at| unsafe { ptr::read(at.cast::<[u32; N]>()) }.map(u32::from_be))
    }
    #[inline(always)]
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
        // SAFETY: `at` found all N; see above for their address.
        self.at(offset, 8 * N as u32)
            .map(|at| unsafe { ptr::read(at.cast::<[u64; N]>()) }.map(u64::from_be))
    }
}
