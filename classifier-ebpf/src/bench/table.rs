//! The table of synthetic headers, and the walk through it: each CPU has its own place in the table, so no two
//! share a cache line on the way.

use core::ptr;

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use classifier::packet::{Packet, Parsed};

/// Bytes of a slot of the table: one cache line.
const SLOT_BYTES: usize = 64;
/// Bytes of a header that can be read; the rest of the slot says how long its frame is.
const CAPTURED: u32 = 56;
/// Where in a slot the length of the frame stands.
const ROOM: usize = 60;
/// Slots of the table: a power of two.
const SLOTS: usize = 1 << 20;
/// What a frame is given of a header: everything behind the IPv6 header's length, which covers the addresses of
/// IPv4, too.
const ADDRESSES: usize = 22;
/// Where the addresses end.
pub(crate) const ADDRESSES_END: usize = 54;

const MMAPABLE: usize = 1024;

/// The headers; room behind the last, so that a read never leaves the value.
#[btf_map]
static PACKETS: Array<[u64; (SLOTS + 2) * SLOT_BYTES / 8], 1, MMAPABLE> = Array::new();

/// Where a CPU is in the table, and how much of it is in use.
#[repr(C)]
#[derive(Clone, Copy)]
struct Walk {
    /// Headers taken so far.
    next: u64,
    /// Headers in use less one: a power of two less one.
    mask: u64,
}

#[btf_map]
static WALK: PerCpuArray<Walk, 1> = PerCpuArray::new();

/// A header in the table.
pub(crate) struct TableFrame(*const u8);

impl TableFrame {
    /// Takes this CPU's next header.
    #[inline(always)]
    pub(crate) fn next() -> Option<Self> {
        let walk = WALK.get_ptr_mut(0)?;
        let start = PACKETS.get_ptr(0)?.cast::<u8>();
        // SAFETY: the CPU's own value, and a masked slot of the table.
        unsafe {
            let Walk { next, mask } = ptr::read(walk);
            (*walk).next = next + 1;
            let slot = (next & mask) as usize & (SLOTS - 1);
            Some(Self(start.add(slot * SLOT_BYTES)))
        }
    }

    /// Reads one word of the header, as any program that looks at a packet does.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        // SAFETY: the slot's first word.
        unsafe { ptr::read_volatile(self.0.cast::<u64>()) };
    }

    /// Copies the addresses to where a frame has them.
    ///
    /// # Safety
    /// `frame` is at least [`ADDRESSES_END`] bytes long.
    #[inline(always)]
    pub(crate) unsafe fn copy_addresses(&self, frame: *mut u8) {
        type Addresses = [u16; (ADDRESSES_END - ADDRESSES) / 2];
        // SAFETY: within the slot, and within the frame as the caller says.
        unsafe {
            let addresses: Addresses = ptr::read(self.0.add(ADDRESSES).cast());
            ptr::write(frame.add(ADDRESSES).cast(), addresses);
        }
    }

    #[inline(always)]
    fn at(&self, offset: u32, len: u32) -> Option<*const u8> {
        if offset + len > CAPTURED {
            return None;
        }
        // SAFETY: in the slot.
        Some(unsafe { self.0.add(offset as usize) })
    }
}

impl Packet for TableFrame {
    #[inline(always)]
    fn room(&self) -> u32 {
        // SAFETY: in the slot.
        unsafe { ptr::read(self.0.add(ROOM).cast()) }
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

/// Parses, and keeps the compiler from noticing that nobody wants the result.
#[inline(always)]
pub(crate) fn only_parse<P: Packet>(packet: &P) {
    match classifier::packet::parse(packet) {
        Parsed::V4(ip) => {
            wanted(u64::from(ip.source) << 32 | u64::from(ip.destination));
            wanted(u64::from(ip.bytes));
        }
        Parsed::V6(ip) => {
            let ([s0, s1], [d0, d1]) = (ip.source, ip.destination);
            wanted(s0);
            wanted(s1);
            wanted(d0);
            wanted(d1);
            wanted(u64::from(ip.bytes));
        }
        Parsed::NonIp | Parsed::Malformed => {}
    }
}

#[inline(always)]
fn wanted(value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a move of a register onto itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value => _);
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(value);
}
