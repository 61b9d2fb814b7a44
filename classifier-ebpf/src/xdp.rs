//! A frame on its way through XDP: what lies between `data` and `data_end` can be read, and
//! `bpf_xdp_get_buff_len` says how long it is with all its fragments (Linux 5.18).

use core::ptr;

use aya_ebpf::helpers::generated::{bpf_xdp_adjust_meta, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use classifier::dscp::Rewrite;
use classifier::layout::Metadata;
use classifier::packet::Packet;
use classifier::tag::Tag;

/// The frame of one program run.
pub(crate) struct XdpFrame<'a> {
    context: &'a XdpContext,
}

impl<'a> XdpFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a XdpContext) -> Self {
        Self { context }
    }

    /// Bytes between `data` and `data_end`.
    #[inline(always)]
    fn linear(&self) -> u64 {
        let (start, end) = (self.context.data() as u64, self.context.data_end() as u64);
        #[cfg(target_arch = "bpf")]
        {
            let mut bytes = end;
            // SAFETY: a subtraction. In so many words, because the verifier knows the difference of two packet
            // pointers for a number only as long as nothing else is done with them.
            unsafe {
                core::arch::asm!("{0} -= {1}", inout(reg) bytes, in(reg) start);
            }
            bytes
        }
        #[cfg(not(target_arch = "bpf"))]
        end.wrapping_sub(start)
    }

    #[inline(always)]
    fn at(&self, offset: u32, len: u32) -> Option<*const u8> {
        let start = self.context.data() + offset as usize;
        (start + len as usize <= self.context.data_end()).then_some(start as *const u8)
    }
}

/// Puts a tag's mark before the packet, for the tc program behind this one. What was known of the frame's place does
/// not hold any more. `false` if the driver leaves no room for it.
#[inline(always)]
pub(crate) fn put_mark(context: &XdpContext, tag: Tag) -> bool {
    const BYTES: usize = size_of::<Metadata>();
    // SAFETY: the context is this program run's own.
    let start = unsafe {
        if bpf_xdp_adjust_meta(context.ctx, -(BYTES as i32)) != 0 {
            return false;
        }
        (*context.ctx).data_meta as usize
    };
    if start + BYTES > context.data() {
        return false;
    }
    let metadata = Metadata {
        magic: Metadata::MAGIC,
        mask: tag.mask,
        mark: tag.mark,
    };
    // SAFETY: the verifier has seen the comparison with `data`, behind which the packet begins.
    unsafe { ptr::write(start as *mut Metadata, metadata) };
    true
}

impl Packet for XdpFrame<'_> {
    #[inline(always)]
    fn room(&self) -> u32 {
        // SAFETY: the context is this program run's own.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) as u32 }
    }
    #[inline(always)]
    fn has(&self, bytes: u32) -> bool {
        // Nearly every frame is in one piece: no need to ask the kernel for its length.
        u64::from(bytes) <= self.linear() || bytes <= self.room()
    }
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        // SAFETY: the verifier has seen the comparison with `data_end`, and lets the program read from any
        // address on the architectures we support.
        self.at(offset, 2)
            .map(|at| u16::from_be(unsafe { ptr::read(at.cast()) }))
    }
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        // SAFETY: as above.
        self.at(offset, 4 * N as u32)
            .map(|at| unsafe { ptr::read(at.cast::<[u32; N]>()) }.map(u32::from_be))
    }
    #[inline(always)]
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
        // SAFETY: as above.
        self.at(offset, 8 * N as u32)
            .map(|at| unsafe { ptr::read(at.cast::<[u64; N]>()) }.map(u64::from_be))
    }
}

impl Rewrite for XdpFrame<'_> {
    #[inline(always)]
    fn put_half(&self, offset: u32, value: u16) -> bool {
        // SAFETY: as for reading; the program may write what it may read.
        self.at(offset, 2)
            .map(|at| unsafe { ptr::write(at.cast_mut().cast(), value.to_be()) })
            .is_some()
    }
}
