//! The kernel programs: one XDP entry per role, and the same two for frames that come out of a map.
//!
//! Each is loaded once per interface, with that interface's settings as constants; they do nothing but reach
//! memory for [`classifier::verdict`].

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod maps;
mod xdp;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::warn;
use classifier::charge::Direction;
use classifier::packet::Packet;
use classifier::verdict::{Action, Hook, verdict};

use crate::maps::{CONFIG_DROP_UNKNOWN, CONFIG_ENFORCE, KernelTables, LAYOUT, MapFrame};
use crate::xdp::XdpFrame;

/// Ingress of an access interface: what arrives is sent by subscribers.
#[xdp(frags)]
fn access(context: XdpContext) -> u32 {
    judge(&context, &XdpFrame::new(&context), Direction::Up)
}

/// Ingress of a core interface: what arrives is for subscribers.
#[xdp(frags)]
fn core(context: XdpContext) -> u32 {
    judge(&context, &XdpFrame::new(&context), Direction::Down)
}

/// Like `access`, for the frame in the map.
#[xdp]
fn access_frame(context: XdpContext) -> u32 {
    MapFrame::get().map_or(XDP_PASS, |frame| judge(&context, &frame, Direction::Up))
}

/// Like `core`, for the frame in the map.
#[xdp]
fn core_frame(context: XdpContext) -> u32 {
    MapFrame::get().map_or(XDP_PASS, |frame| judge(&context, &frame, Direction::Down))
}

#[inline(always)]
fn judge<P: Packet>(context: &XdpContext, packet: &P, direction: Direction) -> u32 {
    let Some(tables) = KernelTables::get(direction) else {
        return XDP_PASS;
    };
    let hook = Hook {
        direction,
        drop_unknown: CONFIG_DROP_UNKNOWN.load() != 0,
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
        Action::Drop if CONFIG_ENFORCE.load() != 0 => XDP_DROP,
        _ => XDP_PASS,
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
