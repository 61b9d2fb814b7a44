//! The kernel programs: one XDP entry per role, the same two for frames that come out of a map, and one for what
//! leaves an access interface.
//!
//! Each is loaded once per interface, with that interface's settings as constants; they do nothing but reach
//! memory for [`classifier::verdict`].

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod maps;
mod tc;
mod xdp;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::warn;
use classifier::charge::Direction;
use classifier::packet::Packet;
use classifier::verdict::{Action, Hook, verdict};

use crate::maps::{CONFIG_DROP_UNKNOWN, CONFIG_ENFORCE, KernelTables, LAYOUT, MapFrame};
use crate::tc::SkbFrame;
use crate::xdp::XdpFrame;

/// Ingress of an access interface: what arrives is sent by subscribers.
#[xdp(frags)]
fn access(context: XdpContext) -> u32 {
    xdp_action(&context, &XdpFrame::new(&context), Direction::Up)
}

/// Ingress of a core interface: what arrives is for subscribers.
#[xdp(frags)]
fn core(context: XdpContext) -> u32 {
    xdp_action(&context, &XdpFrame::new(&context), Direction::Down)
}

/// Like `access`, for the frame in the map.
#[xdp]
fn access_frame(context: XdpContext) -> u32 {
    MapFrame::get().map_or(XDP_PASS, |frame| {
        xdp_action(&context, &frame, Direction::Up)
    })
}

/// Like `core`, for the frame in the map.
#[xdp]
fn core_frame(context: XdpContext) -> u32 {
    MapFrame::get().map_or(XDP_PASS, |frame| {
        xdp_action(&context, &frame, Direction::Down)
    })
}

/// Egress of an access interface: what leaves is for subscribers. What passes goes on to the next program, if
/// there is one: `TC_ACT_UNSPEC` is also `TCX_NEXT`, and `TC_ACT_SHOT` is `TCX_DROP`.
#[classifier]
fn egress(context: TcContext) -> i32 {
    let frame = SkbFrame::new(&context);
    match judge(&context, &frame, Direction::Down, frame.is_from_here()) {
        Action::Drop => TC_ACT_SHOT,
        Action::Pass => TC_ACT_UNSPEC,
    }
}

#[inline(always)]
fn xdp_action<P: Packet>(context: &XdpContext, packet: &P, direction: Direction) -> u32 {
    match judge(context, packet, direction, false) {
        Action::Drop => XDP_DROP,
        Action::Pass => XDP_PASS,
    }
}

/// What is to become of a packet, under what the interface is configured to do.
#[inline(always)]
fn judge<C: EbpfContext, P: Packet>(
    context: &C,
    packet: &P,
    direction: Direction,
    from_gateway: bool,
) -> Action {
    let Some(tables) = KernelTables::get(direction) else {
        return Action::Pass;
    };
    let hook = Hook {
        direction,
        drop_unknown: CONFIG_DROP_UNKNOWN.load() != 0,
        from_gateway,
    };
    let action = verdict(packet, hook, &tables);
    if tables.first_unpriced() {
        warn!(
            context,
            "no policy image of layout {} in force: packets pass unpriced",
            LAYOUT.load()
        );
    }
    match action {
        Action::Drop if CONFIG_ENFORCE.load() != 0 => Action::Drop,
        _ => Action::Pass,
    }
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
