//! Frames built by hand: what they look like to others, and that they arrive as they are.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::counters::Volume;
use zerorate_tests::frames::{Frame, IPV4, Ipv4, Ipv6, Payload, Pppoe, TCP};
use zerorate_tests::netns::NetNs;
use zerorate_tests::raw::send_frames;
use zerorate_tests::topology::Lab;
use zerorate_tests::veth::Veth;

const ALICE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
const REMOTE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 7);

fn frames() -> Vec<Frame> {
    let v4 = Ipv4::new(ALICE, REMOTE).udp(1000, 53, b"query");
    let v6 = Ipv6::new(ALICE6, REMOTE6).udp(1000, 53, b"query");
    let mut frames = vec![
        Frame::new(v4.clone()),
        Frame::new(v6.clone()),
        Frame::new(
            Ipv4::new(ALICE, REMOTE)
                .options(&[7, 3, 4])
                .tcp(1, 2, 0x18, &[9; 1000]),
        ),
        Frame::new(v4.clone()).tag(0x8100, 100),
        Frame::new(v6.clone()).tag(0x88a8, 939).tag(0x8100, 744),
        Frame::new(v4.clone())
            .tag(0x9100, 1)
            .tag(0x8100, 2)
            .tag(0x8100, 3),
        Frame::new(v4.clone()).pppoe(Pppoe::session(7)),
        Frame::new(v6.clone())
            .tag(0x88a8, 1)
            .tag(0x8100, 2)
            .pppoe(Pppoe::session(7)),
        Frame::new(
            v6.clone()
                .extension(0, 0)
                .extension(60, 31)
                .fragment(185, true, 5),
        ),
        Frame::new(v4.clone()).trailer(&[0; 18]),
        Frame::new(Ipv4 {
            total_length: Some(0),
            ..v4.clone()
        }),
        Frame::new(Ipv4 {
            header_words: Some(4),
            ..v4.clone()
        }),
        Frame::new(v6).ether_type(IPV4),
        Frame::new(Payload::other(IPV4, &[])),
        Frame::new(Payload::other(0x0806, &[0; 28])),
    ];
    let long = Ipv4::new(ALICE, REMOTE).udp(1, 2, &[1; 3000]);
    frames.extend(long.fragments(1480).into_iter().map(Frame::new));
    frames
}

#[test]
fn frames_arrive_as_they_are() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (sender, receiver) = (NetNs::new("sender")?, NetNs::new("receiver")?);
    let wire = Veth::new((&sender, "out"), (&receiver, "in"), 1500)?;
    let before = wire.read()?;
    let frames: Vec<Vec<u8>> = frames().iter().map(Frame::build).collect();
    send_frames(&wire.near, &frames)?;
    let expected = Volume {
        packets: frames.len() as u64,
        bytes: frames.iter().map(|frame| frame.len() as u64 - 14).sum(),
    };
    let seen = wire.since(&before)?;
    assert_eq!((seen.near_sent, seen.far_received), (expected, expected));
    assert_eq!(seen.far_sent, Volume::default());
    Ok(())
}

#[test]
fn a_frame_without_a_whole_ethernet_header_is_refused() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let (sender, receiver) = (NetNs::new("sender")?, NetNs::new("receiver")?);
    let wire = Veth::new((&sender, "out"), (&receiver, "in"), 1500)?;
    let before = wire.read()?;
    let error = send_frames(&wire.near, &[vec![0; 13]]).unwrap_err();
    assert!(format!("{error:#}").contains("13 bytes"), "{error:#}");
    assert_eq!(wire.since(&before)?.near_sent, Volume::default());
    Ok(())
}

/// The kernel checks lengths and checksums before it forwards or answers.
#[test]
fn the_kernel_takes_our_frames_for_real_ones() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = Lab::builder()
        .subscriber("alice", &["10.1.0.1/32", "2001:db8:a::1/128"])
        .remotes(&["203.0.113.0/24", "2001:db8:10::/48"])
        .build()?;
    let wire = &lab.subscriber("alice").wire;
    let echo = |data: &[u8]| {
        [
            Payload::from(Ipv4::new(ALICE, REMOTE).echo(data)),
            Ipv6::new(ALICE6, REMOTE6).echo(data).into(),
        ]
    };
    let extended = Ipv6::new(ALICE6, REMOTE6)
        .extension(0, 0)
        .extension(60, 2)
        .echo(b"12345");
    let in_pieces = Ipv4::new(ALICE, REMOTE).echo(&[7; 100]).fragments(48);
    let frames: Vec<Vec<u8>> = echo(b"odd")
        .into_iter()
        .chain(echo(b"even"))
        .chain([extended.into()])
        .chain(in_pieces.into_iter().map(Payload::from))
        .map(|packet| {
            Frame::new(packet)
                .stations(wire.near.mac, wire.far.mac)
                .build()
        })
        .collect();
    let before = wire.read()?;
    send_frames(&wire.near, &frames)?;
    lab.settle()?;
    let answered = wire.since(&before)?.near_received;
    let bytes = (28 + 3) + (48 + 3) + (28 + 4) + (48 + 4) + (48 + 5) + (28 + 100);
    assert_eq!(answered, Volume { packets: 6, bytes });
    Ok(())
}

#[test]
fn transport_checksums_are_right() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = Lab::builder()
        .subscriber("alice", &["10.1.0.1/32", "2001:db8:a::1/128"])
        .remotes(&["203.0.113.7/32", "2001:db8:10::7/128"])
        .build()?;
    let wire = &lab.subscriber("alice").wire;
    // To ports where nobody listens: a datagram is answered by ICMP, a connection by a reset, and
    // neither if the checksum is wrong.
    let packets = [
        Payload::from(Ipv4::new(ALICE, REMOTE).udp(1000, 9, b"abc")),
        Ipv6::new(ALICE6, REMOTE6).udp(1000, 9, b"abc").into(),
        Ipv4::new(ALICE, REMOTE).tcp(1000, 9, 0x02, b"").into(),
        Ipv6::new(ALICE6, REMOTE6).tcp(1000, 9, 0x02, b"").into(),
    ];
    let mut wrong = Ipv4::new(ALICE, REMOTE).tcp(1000, 9, 0x02, b"");
    wrong.payload[16] ^= 1;
    assert_eq!(wrong.protocol, TCP);
    let frames: Vec<Vec<u8>> = packets
        .into_iter()
        .chain([wrong.into()])
        .map(|packet| {
            Frame::new(packet)
                .stations(wire.near.mac, wire.far.mac)
                .build()
        })
        .collect();
    let before = wire.read()?;
    send_frames(&wire.near, &frames)?;
    lab.settle()?;
    let answered = wire.since(&before)?.near_received;
    // ICMP quotes the whole packet; a reset is a bare header.
    let bytes = (28 + 31) + (48 + 51) + 40 + 60;
    assert_eq!(answered, Volume { packets: 4, bytes });
    Ok(())
}
