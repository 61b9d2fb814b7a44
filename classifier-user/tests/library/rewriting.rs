//! What is asked of a packet beyond its addresses, and what is changed in it, against the plainest way of doing it: the
//! ports of web traffic found by a walk over the bytes, a checksum worked out anew.

use std::cell::RefCell;

use classifier::charge::Direction;
use classifier::dscp::{self, Rewrite, adjusted};
use classifier::packet::{Frame, Packet};
use classifier::web::is_web;
use proptest::prelude::*;

/// A frame that can be changed.
struct Changing(RefCell<Vec<u8>>);

impl Changing {
    fn view<T>(&self, read: impl FnOnce(Frame<'_>) -> T) -> T {
        let bytes = self.0.borrow();
        read(Frame {
            captured: &bytes,
            room: bytes.len() as u32,
        })
    }
}

impl Packet for Changing {
    fn room(&self) -> u32 {
        self.view(|frame| frame.room())
    }
    fn half(&self, offset: u32) -> Option<u16> {
        self.view(|frame| frame.half(offset))
    }
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.view(|frame| frame.words(offset))
    }
    fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
        self.view(|frame| frame.longs(offset))
    }
}

impl Rewrite for Changing {
    fn put_half(&self, offset: u32, value: u16) -> bool {
        let mut bytes = self.0.borrow_mut();
        let place = bytes.get_mut(offset as usize..offset as usize + 2);
        place.is_some_and(|place| {
            place.copy_from_slice(&value.to_be_bytes());
            true
        })
    }
}

/// The Internet checksum (RFC 1071) of a header whose own is taken for zero.
fn checksum(header: &[u8]) -> u16 {
    let halves = header.chunks(2).enumerate();
    let mut sum: u32 = halves
        .map(|(index, half)| match index {
            5 => 0,
            _ => u32::from(half[0]) << 8 | u32::from(half[1]),
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What stands between the Ethernet addresses and the IP header: nothing, tags, a session.
fn link(kind: u8, v6: bool) -> Vec<u8> {
    let mut link = vec![2; 12];
    for _ in 0..kind % 3 {
        link.extend([0x81, 0, 0, 7]);
    }
    if kind >= 3 {
        link.extend([0x88, 0x64, 0x11, 0, 0, 1, 0, 9]);
        link.extend(if v6 { [0, 0x57] } else { [0, 0x21] });
    } else {
        link.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    }
    link
}

/// A frame with an IPv4 header of so many words, otherwise of any bytes.
fn frame4(kind: u8, words: u8, fields: &[u8], behind: &[u8]) -> (Vec<u8>, usize) {
    let mut frame = link(kind, false);
    let at = frame.len();
    let length = usize::from(words) * 4;
    let mut header: Vec<u8> = fields.iter().copied().cycle().take(length).collect();
    header[0] = 0x40 | words;
    let total = (length + behind.len()) as u16;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend(behind);
    (frame, at)
}

/// Whether an IPv6 packet that begins with `next` is web traffic, by a walk over its bytes.
fn walk6(mut next: u8, mut rest: &[u8], up: bool) -> bool {
    let mut headers = 0;
    while [0, 44, 60].contains(&next) {
        headers += 1;
        if headers > 2 || rest.len() < 8 {
            return false;
        }
        let length = if next == 44 {
            if u16::from_be_bytes([rest[2], rest[3]]) >> 3 != 0 {
                return false;
            }
            8
        } else {
            8 + 8 * usize::from(rest[1])
        };
        if rest.len() < length {
            return false;
        }
        next = rest[0];
        rest = &rest[length..];
    }
    ports(next, rest, up)
}

fn ports(protocol: u8, transport: &[u8], up: bool) -> bool {
    let Some(ports) = transport.get(..4) else {
        return false;
    };
    let place = if up { 2 } else { 0 };
    let remote = u16::from_be_bytes([ports[place], ports[place + 1]]);
    matches!((protocol, remote), (6, 80 | 443) | (17, 443))
}

fn direction(up: bool) -> Direction {
    if up { Direction::Up } else { Direction::Down }
}

/// Bytes that often are a port of the web, or an extension header.
fn telling() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![0, 80]),
        Just(vec![1, 187]),
        Just(vec![6, 0]),
        Just(vec![17, 0]),
        Just(vec![60, 0]),
        Just(vec![44, 0, 0, 0]),
        Just(vec![0, 1]),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_adjusted_checksum_is_one_worked_out_anew(
        header in proptest::collection::vec(any::<u8>(), 20..=60),
        place in 0..10_usize,
        value: u16,
    ) {
        let mut header = header;
        header.truncate(header.len() / 4 * 4);
        header[0] |= 0x40;
        let sum = checksum(&header);
        let place = if place >= 5 { (place + 1) * 2 } else { place * 2 };
        prop_assume!(place + 2 <= header.len());
        let old = u16::from_be_bytes([header[place], header[place + 1]]);
        header[place..place + 2].copy_from_slice(&value.to_be_bytes());
        prop_assume!(header.iter().any(|byte| *byte != 0));
        prop_assert_eq!(adjusted(sum, old, value), checksum(&header));
    }

    #[test]
    fn only_the_dscp_and_the_checksum_change(
        kind in 0..6_u8,
        words in 5..=15_u8,
        fields in proptest::collection::vec(any::<u8>(), 60),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
        dscp in 0..64_u32,
    ) {
        let (frame, at) = frame4(kind, words, &fields, &behind);
        let changing = Changing(RefCell::new(frame.clone()));
        prop_assert!(dscp::set(&changing, dscp));
        let changed = changing.0.into_inner();
        let mut expected = frame;
        expected[at + 1] = expected[at + 1] & 3 | (dscp as u8) << 2;
        let end = at + usize::from(words) * 4;
        let sum = checksum(&expected[at..end]);
        expected[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(changed, expected);
    }

    #[test]
    fn in_ipv6_only_the_dscp_changes(
        kind in 0..6_u8,
        header in proptest::collection::vec(any::<u8>(), 40..80),
        dscp in 0..64_u32,
    ) {
        let mut frame = link(kind, true);
        let at = frame.len();
        frame.extend(header);
        let changing = Changing(RefCell::new(frame.clone()));
        prop_assert!(dscp::set(&changing, dscp));
        let mut expected = frame;
        expected[at] = expected[at] & 0xf0 | (dscp >> 2) as u8;
        expected[at + 1] = expected[at + 1] & 0x3f | (dscp << 6) as u8;
        prop_assert_eq!(changing.0.into_inner(), expected);
    }

    #[test]
    fn what_is_cut_off_or_no_ip_stays_as_it_is(
        frame in proptest::collection::vec(any::<u8>(), 0..40),
        dscp in 0..64_u32,
    ) {
        let changing = Changing(RefCell::new(frame.clone()));
        if !dscp::set(&changing, dscp) {
            prop_assert_eq!(changing.0.into_inner(), frame);
        }
    }

    #[test]
    fn web_traffic_in_ipv4_is_found_by_its_port(
        kind in 0..6_u8,
        words in 5..=15_u8,
        fragment in prop_oneof![Just(0_u16), Just(0x4000), Just(0x2000), Just(1), any::<u16>()],
        protocol in prop_oneof![Just(6_u8), Just(17), any::<u8>()],
        behind in telling(),
        padding in 0..8_usize,
        up: bool,
    ) {
        let (mut frame, at) = frame4(kind, words, &[0], &behind);
        frame[at + 6..at + 8].copy_from_slice(&fragment.to_be_bytes());
        frame[at + 9] = protocol;
        // Bytes behind the packet are nobody's ports.
        frame.extend([0, 80].into_iter().cycle().take(padding));
        let whole = Frame { captured: &frame, room: frame.len() as u32 };
        let expected = fragment & 0x1fff == 0 && ports(protocol, &behind, up);
        prop_assert_eq!(is_web(&whole, direction(up)), expected);
    }

    #[test]
    fn web_traffic_in_ipv6_is_found_behind_two_headers_at_most(
        kind in 0..6_u8,
        next in prop_oneof![Just(0_u8), Just(44), Just(60), Just(6), Just(17), any::<u8>()],
        behind in telling(),
        padding in 0..8_usize,
        up: bool,
    ) {
        let mut frame = link(kind, true);
        let length = (behind.len() as u16).to_be_bytes();
        frame.extend([0x60, 0, 0, 0, length[0], length[1], next, 64]);
        frame.extend([0; 32]);
        frame.extend(&behind);
        frame.extend([0, 80].into_iter().cycle().take(padding));
        let whole = Frame { captured: &frame, room: frame.len() as u32 };
        prop_assert_eq!(is_web(&whole, direction(up)), walk6(next, &behind, up));
    }
}

#[test]
fn ports_that_are_not_in_the_frame_are_not_guessed() {
    let (frame, at) = frame4(0, 5, &[0], &[4, 0, 0, 80, 0, 0]);
    let mut frame = frame;
    frame[at + 9] = 6;
    let whole = |captured| Frame {
        captured,
        room: frame.len() as u32,
    };
    assert!(is_web(&whole(&frame), Direction::Up));
    assert!(!is_web(&whole(&frame), Direction::Down));
    for length in 0..at + 24 {
        assert!(!is_web(&whole(&frame[..length]), Direction::Up), "{length}");
    }
    assert!(is_web(&whole(&frame[..at + 24]), Direction::Up));
    // What is no packet has no ports either.
    assert!(!is_web(&whole(&[0; 60]), Direction::Up));
    let mut arp = frame.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    assert!(!is_web(&whole(&arp), Direction::Up));
    assert_eq!(
        u16::from_be_bytes(frame[12..14].try_into().unwrap()),
        0x0800
    );
}
