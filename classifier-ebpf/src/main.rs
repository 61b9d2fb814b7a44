//! The kernel programs: one XDP entry per role, the same two for frames that come out of a map, one for what
//! leaves an access interface, and one that hands the marks of XDP on to the rest of the stack.
//!
//! Each is loaded once per interface, with that interface's settings as constants; they do nothing but reach
//! memory for [`classifier::verdict`].

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod aside;
mod batch;
mod constants;
mod deferred;
mod frame;
mod maps;
mod tc;
mod xdp;

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{RawTracePointContext, TcContext, XdpContext};
use aya_log_ebpf::warn;
use classifier::charge::Direction;
use classifier::dscp;
use classifier::layout::{Batch, MERGED_AT_ONCE};
use classifier::packet::Packet;
use classifier::verdict::{Action, Hook, Plain, Settings, Verdict, verdict};

use crate::constants::{Constants, LAYOUT};
use crate::frame::MapFrame;
use crate::maps::KernelTables;
use crate::tc::SkbFrame;
use crate::xdp::XdpFrame;

/// Ingress of an access interface: what arrives is sent by subscribers.
#[xdp(frags)]
fn access(context: XdpContext) -> u32 {
    arrived(&context, Direction::Up)
}

/// Ingress of a core interface: what arrives is for subscribers.
#[xdp(frags)]
fn core(context: XdpContext) -> u32 {
    arrived(&context, Direction::Down)
}

/// Like `access`, for frames that the kernel has put into one piece. Generic XDP copies what a program takes in pieces
/// (since Linux 6.9), and the copy does not know how long its Ethernet header is: tc then looks for the metadata in the
/// wrong place. So it was on 6.18, and not with a program that takes frames whole.
#[xdp]
fn access_whole(context: XdpContext) -> u32 {
    arrived(&context, Direction::Up)
}

/// Like `core`, for a frame that is in one piece.
#[xdp]
fn core_whole(context: XdpContext) -> u32 {
    arrived(&context, Direction::Down)
}

/// Like `access`, for the frame in the map.
#[xdp]
fn access_frame(context: XdpContext) -> u32 {
    from_map(&context, Direction::Up)
}

/// Like `core`, for the frame in the map.
#[xdp]
fn core_frame(context: XdpContext) -> u32 {
    from_map(&context, Direction::Down)
}

/// Egress of an access interface: what leaves is for subscribers. What passes goes on to the next program, if
/// there is one: `TC_ACT_UNSPEC` is also `TCX_NEXT`, and `TC_ACT_SHOT` is `TCX_DROP`.
#[classifier]
fn egress(context: TcContext) -> i32 {
    let frame = SkbFrame::new(&context);
    let hook = Hook {
        direction: Direction::Down,
        from_gateway: frame.is_from_here(),
        settings: Constants,
    };
    let Some(tables) = KernelTables::get(hook.direction) else {
        return TC_ACT_UNSPEC;
    };
    let verdict = judge(&context, &frame, hook, &tables);
    if verdict.action == Action::Drop {
        return TC_ACT_SHOT;
    }
    if verdict.tag.mask != 0 {
        frame.set_mark(verdict.tag);
    }
    if let Some(dscp) = verdict.tag.dscp
        && !dscp::set(&frame, dscp)
    {
        tables.untagged();
    }
    TC_ACT_UNSPEC
}

/// Ingress of an interface whose XDP program marks packets, behind it: what it put before a packet becomes the
/// packet's mark. Whatever is there next goes on with it.
#[classifier]
fn tag(context: TcContext) -> i32 {
    tc::take_mark(&context);
    TC_ACT_UNSPEC
}

/// No packet comes here: user space hands over keys of meters that stand aside, to be added to their rows.
#[xdp]
fn merge(context: XdpContext) -> u32 {
    for i in 0..MERGED_AT_ONCE as usize {
        let at = context.data() + i * size_of::<u64>();
        if at + size_of::<u64>() > context.data_end() {
            break;
        }
        // SAFETY: eight bytes within what was handed over.
        aside::merge(unsafe { core::ptr::read_unaligned(at as *const u64) });
    }
    XDP_PASS
}

/// User space has it run on each CPU: whose batch it is, and whether what cannot be decided is given up. Without aya's macro,
/// whose program returns 0 whatever the function says.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn flush(context: *mut c_void) -> u32 {
    let context = RawTracePointContext::new(context);
    let (cpu, give_up): (u64, u64) = (context.arg(0), context.arg(1));
    // The first interface's books hear of news that finds no room.
    KernelTables::get(Direction::Up).map_or(Batch::FLUSHED, |tables| {
        batch::flush(cpu as u32, give_up != 0, tables.books)
    })
}

#[inline(always)]
fn arrived(context: &XdpContext, direction: Direction) -> u32 {
    let frame = XdpFrame::new(context);
    let hook = Hook {
        direction,
        from_gateway: false,
        settings: Constants,
    };
    let Some(tables) = KernelTables::get(hook.direction) else {
        return XDP_PASS;
    };
    let verdict = judge(context, &frame, hook, &tables);
    if verdict.action == Action::Drop {
        return XDP_DROP;
    }
    if let Some(dscp) = verdict.tag.dscp
        && !dscp::set(&frame, dscp)
    {
        tables.untagged();
    }
    // Last: nothing that was known of the frame's place holds after it.
    if verdict.tag.mask != 0 && !xdp::put_mark(context, verdict.tag) {
        tables.untagged();
        if verdict.action == Action::Mark {
            // Nobody could tell it from what may pass.
            return XDP_DROP;
        }
    }
    XDP_PASS
}

/// A frame that is nowhere but in the map is judged, and carries nothing.
#[inline(always)]
fn from_map(context: &XdpContext, direction: Direction) -> u32 {
    let Some(frame) = MapFrame::get() else {
        return XDP_PASS;
    };
    let hook = Hook {
        direction,
        from_gateway: false,
        settings: Plain::default(),
    };
    let Some(tables) = KernelTables::get(direction) else {
        return XDP_PASS;
    };
    match judge(context, &frame, hook, &tables).action {
        Action::Drop => XDP_DROP,
        _ => XDP_PASS,
    }
}

/// What is to become of a packet, which is counted in the tables. These are the caller's to find: a verdict there may be none of
/// is a register that older verifiers find unwritten where there is none.
#[inline(always)]
fn judge<C: EbpfContext, P: Packet, S: Settings>(
    context: &C,
    packet: &P,
    hook: Hook<S>,
    tables: &KernelTables,
) -> Verdict {
    let verdict = verdict(packet, hook, tables);
    if tables.first_unpriced() {
        warn!(
            context,
            "no policy image of layout {} in force: packets pass unpriced",
            LAYOUT.load()
        );
    }
    verdict
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers only to programs under the GPL; ours needs none of them, and says what it is.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
