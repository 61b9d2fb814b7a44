//! The programs of `cargo xtask bench`: the product's verdict beside what it is compared with.
//!
//! All of them take the next of many synthetic headers from one table, so that the cost of the walk is in each
//! of them and cancels out where their times are subtracted. The verdict and its maps are the product's own
//! source files; nothing of it is written a second time here.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[path = "../aside.rs"]
#[expect(dead_code, reason = "the product's entries use more of it")]
mod aside;
#[path = "../batch.rs"]
#[expect(dead_code, reason = "the product's entries use more of it")]
mod batch;
#[path = "../constants.rs"]
#[expect(dead_code, reason = "the product's entries use more of it")]
mod constants;
#[path = "../deferred.rs"]
mod deferred;
#[path = "../maps.rs"]
#[expect(dead_code, reason = "the product's entries use more of it")]
mod maps;
mod reference;
mod table;
#[path = "../xdp.rs"]
#[expect(dead_code, reason = "the product's entries use more of it")]
mod xdp;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use classifier::charge::Direction;
use classifier::packet::Packet;
use classifier::verdict::{Action, Hook, verdict};

use crate::constants::Constants;
use crate::maps::KernelTables;
use crate::table::TableFrame;
use crate::xdp::XdpFrame;

/// The floor: takes the next header and does nothing with it.
#[xdp]
fn floor(_context: XdpContext) -> u32 {
    if let Some(frame) = TableFrame::next() {
        frame.touch();
    }
    XDP_PASS
}

/// Finds the addresses in the header and does nothing with them.
#[xdp]
fn parse(_context: XdpContext) -> u32 {
    if let Some(frame) = TableFrame::next() {
        table::only_parse(&frame);
    }
    XDP_PASS
}

/// What one writes first.
#[xdp]
fn reference(_context: XdpContext) -> u32 {
    if let Some(frame) = TableFrame::next() {
        reference::count(&frame);
    }
    XDP_PASS
}

/// The product's verdict.
#[xdp]
fn ours(_context: XdpContext) -> u32 {
    TableFrame::next().map_or(XDP_PASS, |frame| match judge(&frame) {
        Action::Drop => XDP_DROP,
        _ => XDP_PASS,
    })
}

/// The floor of a tc program.
#[classifier]
fn tc_floor(_context: TcContext) -> i32 {
    if let Some(frame) = TableFrame::next() {
        frame.touch();
    }
    TC_ACT_OK
}

/// The product's verdict in a tc program.
#[classifier]
fn tc_ours(_context: TcContext) -> i32 {
    TableFrame::next().map_or(TC_ACT_OK, |frame| match judge(&frame) {
        Action::Drop => TC_ACT_SHOT,
        _ => TC_ACT_OK,
    })
}

/// Lets a real frame through.
#[xdp(frags)]
fn pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// The reference on a real frame.
#[xdp(frags)]
fn reference_frame(context: XdpContext) -> u32 {
    reference::count(&XdpFrame::new(&context));
    XDP_PASS
}

/// Gives a frame of a live test run the next header's addresses and sends it out of its interface.
#[xdp]
fn send(context: XdpContext) -> u32 {
    readdress(&context);
    XDP_TX
}

/// Gives a frame of a live test run the next header's addresses and lets its interface receive it.
#[xdp]
fn deliver(context: XdpContext) -> u32 {
    readdress(&context);
    XDP_PASS
}

#[inline(always)]
fn judge<P: Packet>(packet: &P) -> Action {
    let direction = Direction::Up;
    let Some(tables) = KernelTables::get(direction) else {
        return Action::Pass;
    };
    let hook = Hook {
        direction,
        from_gateway: false,
        settings: Constants,
    };
    verdict(packet, hook, &tables).action
}

#[inline(always)]
fn readdress(context: &XdpContext) {
    let start = context.data();
    if start + table::ADDRESSES_END > context.data_end() {
        return;
    }
    if let Some(frame) = TableFrame::next() {
        // SAFETY: the verifier has seen the comparison with `data_end`.
        unsafe { frame.copy_addresses(start as *mut u8) };
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The live programs use helpers the kernel lends to all; the licence is the product's.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
