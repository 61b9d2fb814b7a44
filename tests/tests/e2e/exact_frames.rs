//! Frames as they stand on the wire, tagged, in PPPoE, padded, fragmented, with extension headers, or
//! plainly wrong: IP bytes are counted and nothing else is, in both directions.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::frames::{Frame, IPV4, IPV6, Ipv4, Ipv6, Payload, Pppoe};
use zerorate_tests::raw::send_frames;
use zerorate_tests::town::{self, lines};
use zerorate_tests::veth::Veth;

const ALICE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const OFFICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const OFFICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 7);

/// How often each frame is sent.
const TIMES: usize = 3;

/// Where a packet comes from and goes to.
#[derive(Clone, Copy)]
struct Ends {
    v4: (Ipv4Addr, Ipv4Addr),
    v6: (Ipv6Addr, Ipv6Addr),
}

const UP: Ends = Ends {
    v4: (ALICE, OFFICE),
    v6: (ALICE6, OFFICE6),
};
const DOWN: Ends = Ends {
    v4: (OFFICE, ALICE),
    v6: (OFFICE6, ALICE6),
};

/// Frames that carry IP, each with the IP bytes in it.
fn ip_frames(ends: Ends) -> Vec<(Frame, u64)> {
    let v4 = Ipv4::new(ends.v4.0, ends.v4.1);
    let v6 = Ipv6::new(ends.v6.0, ends.v6.1);
    let small4 = v4.clone().udp(1000, 9, b"query");
    let small6 = v6.clone().udp(1000, 9, b"query");
    let extended = v6
        .clone()
        .extension(0, 0)
        .extension(43, 1)
        .extension(60, 31);
    let mut frames = vec![
        (Frame::new(small4.clone()), 33),
        (Frame::new(small6.clone()), 53),
        // Options, and TCP that is not one byte longer than it says.
        (
            Frame::new(v4.clone().options(&[7, 3, 4]).tcp(1, 2, 0x18, &[9; 1000])),
            24 + 20 + 1000,
        ),
        (Frame::new(v4.clone().echo(&[1; 56])), 20 + 8 + 56),
        (Frame::new(v6.clone().echo(&[1; 56])), 40 + 8 + 56),
        // One tag and two, of each kind of TPID.
        (Frame::new(small4.clone()).tag(0x8100, 100), 33),
        (Frame::new(small6.clone()).tag(0x9100, 100), 53),
        (Frame::new(small4.clone()).tag(0x88a8, 9).tag(0x8100, 7), 33),
        (Frame::new(small6.clone()).tag(0x88a8, 9).tag(0x8100, 7), 53),
        // PPPoE, bare and behind two tags, and with a length field that is not believed.
        (Frame::new(small4.clone()).pppoe(Pppoe::session(7)), 33),
        (Frame::new(small6.clone()).pppoe(Pppoe::session(7)), 53),
        (
            Frame::new(small6.clone())
                .tag(0x88a8, 9)
                .tag(0x8100, 7)
                .pppoe(Pppoe::session(7)),
            53,
        ),
        (
            Frame::new(small4.clone()).pppoe(Pppoe {
                length: Some(1),
                ..Pppoe::session(7)
            }),
            33,
        ),
        // Extension headers count, and so does the fragment header.
        (
            Frame::new(extended.clone().udp(1, 9, b"abc")),
            40 + 8 + 16 + 256 + 11,
        ),
        (
            Frame::new(extended.fragment(185, true, 5).carrying(17, vec![1; 64])),
            40 + 8 + 16 + 256 + 8 + 64,
        ),
        // Padding does not: what stands behind the packet is not the subscriber's.
        (Frame::new(small4.clone()).trailer(&[0xff; 200]), 33),
        (Frame::new(small6).tag(0x8100, 1).trailer(&[0xff; 200]), 53),
        // A header of IP and nothing behind it.
        (Frame::new(v4.clone()), 20),
        (Frame::new(v6), 40),
    ];
    // 1,208 bytes of UDP in fragments of 512, 512 and 184, each with a header of its own.
    let whole = v4.udp(1, 9, &[3; 1200]);
    let pieces = whole.fragments(512).into_iter();
    frames.extend(
        pieces
            .zip([532, 532, 204])
            .map(|(piece, bytes)| (Frame::new(piece), bytes)),
    );
    frames
}

/// Frames that carry no IP we follow.
fn other_frames(ends: Ends) -> Vec<Frame> {
    let v4 = Ipv4::new(ends.v4.0, ends.v4.1).udp(1, 9, b"abc");
    vec![
        Frame::new(Payload::other(0x0806, &[0; 28])),
        Frame::new(Payload::other(0x8863, &[0x11, 9, 0, 0, 0, 0])),
        Frame::new(v4.clone())
            .tag(0x88a8, 1)
            .tag(0x8100, 2)
            .tag(0x8100, 3),
        Frame::new(v4.clone()).pppoe(Pppoe {
            protocol: Some(0xc021),
            ..Pppoe::session(7)
        }),
        Frame::new(v4).ether_type(0x8847),
    ]
}

/// Frames that announce IP and do not keep their word.
fn malformed_frames(ends: Ends) -> Vec<Frame> {
    let v4 = Ipv4::new(ends.v4.0, ends.v4.1).udp(1, 9, b"abc");
    let v6 = Ipv6::new(ends.v6.0, ends.v6.1).udp(1, 9, b"abc");
    vec![
        Frame::new(Payload::other(IPV4, &[0x45, 0, 0, 20])),
        Frame::new(Payload::other(IPV6, &[0x60; 39])),
        Frame::new(v6.clone()).ether_type(IPV4),
        Frame::new(Ipv4 {
            header_words: Some(4),
            ..v4.clone()
        }),
        Frame::new(Ipv4 {
            total_length: Some(0),
            ..v4.clone()
        }),
        Frame::new(Ipv4 {
            total_length: Some(1000),
            ..v4
        }),
        Frame::new(Ipv6 {
            payload_length: Some(0),
            next_header: Some(0),
            ..v6.clone()
        }),
        Frame::new(Ipv6 {
            payload_length: Some(1000),
            ..v6
        }),
    ]
}

/// Sends all kinds of frames over a wire and returns the IP packets and bytes among them, and the
/// numbers of the other two kinds.
fn send(wire: &Veth, up: bool) -> Result<(Volume, u64, u64)> {
    let (from, to, ends) = match up {
        true => (&wire.near, &wire.far, UP),
        false => (&wire.far, &wire.near, DOWN),
    };
    let (ip, other, malformed) = (ip_frames(ends), other_frames(ends), malformed_frames(ends));
    let volume = Volume {
        packets: (TIMES * ip.len()) as u64,
        bytes: TIMES as u64 * ip.iter().map(|(_, bytes)| bytes).sum::<u64>(),
    };
    let counts = [other.len(), malformed.len()].map(|frames| (TIMES * frames) as u64);
    let frames: Vec<Vec<u8>> = ip
        .into_iter()
        .map(|(frame, _)| frame)
        .chain(other)
        .chain(malformed)
        .map(|frame| frame.stations(from.mac, to.mac).build())
        .collect();
    for _ in 0..TIMES {
        send_frames(from, &frames)?;
    }
    Ok((volume, counts[0], counts[1]))
}

#[test]
fn ip_bytes_are_counted_in_whatever_they_are_wrapped() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    // What comes in is not answered and not forwarded: the wires carry these frames only.
    lab.gateway.set("ipv4/ip_forward", "0")?;
    lab.gateway.set("ipv6/conf/all/forwarding", "0")?;
    let agent = town::agent(&lab).start()?;
    let (up, other_up, malformed_up) = send(&lab.subscriber("alice").wire, true)?;
    let (down, other_down, malformed_down) = send(&lab.core, false)?;
    lab.settle()?;
    let bill = agent.bill()?;
    let flow = Flow { up, down };
    assert_eq!(bill.usage, lines([("alice", "government", "free", flow)]));
    assert!(bill.unattributed.is_empty(), "{:?}", bill.unattributed);
    for (name, volume, other, malformed) in [
        ("access0", up, other_up, malformed_up),
        ("core0", down, other_down, malformed_down),
    ] {
        let books = bill.interface(name);
        assert_eq!(
            (books.ip_packets, books.ip_bytes),
            (volume.packets, volume.bytes)
        );
        assert_eq!(
            (books.non_ip_packets, books.malformed_packets),
            (other, malformed)
        );
        assert_eq!(books.packets, volume.packets + other + malformed);
    }
    agent.check_order()
}
