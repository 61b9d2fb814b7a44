//! A train of segments: what the stack and the cards pass on in one piece and cut into packets at the last moment
//! (GSO, TSO, UDP segmentation).
//!
//! Each packet of a train repeats the headers, which the piece holds once. The kernel works out how many bytes
//! that makes before anything looks at the piece on its way out (`qdisc_pkt_len_init`, net/core/dev.c), with the
//! headers of tunnels, and checked where a guest or a program made the piece.

/// What a piece becomes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Train {
    /// Packets it is cut into; 1 for what is a packet already.
    pub packets: u32,
    /// Bytes of headers, from the beginning of the frame on, that all packets but the first repeat.
    pub repeated: u32,
}

/// What the kernel says of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, from the beginning of the frame.
    pub bytes: u32,
    /// Bytes of all packets it becomes.
    pub wire_bytes: u32,
    /// Most payload a packet of it takes; 0 for what is a packet already.
    pub segment: u32,
    /// Packets it becomes; 0 where the kernel does not know: what guests send, and what programs changed.
    pub packets: u32,
}

impl Train {
    /// A packet.
    pub const ONE: Self = Self {
        packets: 1,
        repeated: 0,
    };

    /// Reads what the kernel says; `headers` is asked for the bytes before the payload where the kernel did not
    /// count packets.
    #[inline(always)]
    #[must_use]
    pub fn of(piece: Piece, headers: impl FnOnce() -> u32) -> Self {
        if piece.segment == 0 {
            return Self::ONE;
        }
        let packets = match piece.packets {
            0 => {
                let payload = piece.bytes.saturating_sub(headers());
                payload.div_ceil(piece.segment).max(1)
            }
            packets => packets,
        };
        Self {
            packets,
            repeated: piece.wire_bytes.saturating_sub(piece.bytes),
        }
    }

    /// Whether it is more than a packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_many(self) -> bool {
        self.packets > 1
    }

    /// IP bytes of all packets, where the piece has `bytes` and its IP header, with what is taken out when it is
    /// cut, begins `before` bytes behind the beginning of the frame.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self, bytes: u32, before: u32) -> u32 {
        let frames = (self.packets - 1).wrapping_mul(before);
        bytes.wrapping_add(self.repeated.saturating_sub(frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Frame, Packet, Parsed, headers, parse};

    /// 4,000 bytes of TCP payload behind 14 + 20 + 32 bytes of headers, cut into 1,448, 1,448 and 1,104.
    const PIECE: Piece = Piece {
        bytes: 4066,
        wire_bytes: 4066 + 2 * 66,
        segment: 1448,
        packets: 3,
    };

    #[test]
    fn a_train_is_its_packets() {
        let train = Train::of(PIECE, || panic!("the kernel counted"));
        assert_eq!(train.packets, 3);
        assert_eq!(train.bytes(4052, 14), 3 * 52 + 4000);
    }

    #[test]
    fn packets_the_kernel_did_not_count_are_counted() {
        for (payload, packets) in [(1448, 1), (1449, 2), (2896, 2), (4000, 3)] {
            let piece = Piece {
                bytes: 66 + payload,
                wire_bytes: payload + packets * 66,
                segment: 1448,
                packets: 0,
            };
            let train = Train::of(piece, || 66);
            assert_eq!(train.packets, packets);
            assert_eq!(train.bytes(52 + payload, 14), packets * 52 + payload);
        }
    }

    #[test]
    fn a_packet_is_itself() {
        let piece = Piece {
            bytes: 60,
            wire_bytes: 60,
            segment: 0,
            packets: 0,
        };
        assert_eq!(Train::of(piece, || panic!("nothing to count")), Train::ONE);
        assert_eq!(Train::ONE.bytes(46, 14), 46);
    }

    /// A frame that is a train.
    struct Long<'a>(Frame<'a>, Train);

    impl Packet for Long<'_> {
        fn room(&self) -> u32 {
            self.0.room()
        }
        fn half(&self, offset: u32) -> Option<u16> {
            self.0.half(offset)
        }
        fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
            self.0.words(offset)
        }
        fn longs<const N: usize>(&self, offset: u32) -> Option<[u64; N]> {
            self.0.longs(offset)
        }
        fn train(&self) -> Train {
            self.1
        }
    }

    /// The beginning of a frame: an EtherType, then an IP header that begins so; all else zero.
    fn head(ethertype: [u8; 2], ip: &[u8]) -> [u8; 100] {
        let mut head = [0; 100];
        head[12..14].copy_from_slice(&ethertype);
        head[14..14 + ip.len()].copy_from_slice(ip);
        head
    }

    fn frame(captured: &[u8], room: u32) -> Frame<'_> {
        Frame { captured, room }
    }

    /// IP bytes of a train of a hundred packets whose frame says no length.
    fn bytes_of_a_hundred(captured: &[u8], before: u32) -> Option<u32> {
        let train = Train {
            packets: 100,
            repeated: 99 * before,
        };
        match parse(&Long(frame(captured, before + 144_800), train)) {
            Parsed::V4(ip) => Some(ip.bytes),
            Parsed::V6(ip) => Some(ip.bytes),
            _ => None,
        }
    }

    #[test]
    fn a_train_longer_than_ip_can_say_is_as_long_as_its_frame() {
        let v4 = head([8, 0], &[0x45]);
        assert_eq!(bytes_of_a_hundred(&v4, 14 + 52), Some(100 * (52 + 1448)));
        let v6 = head([0x86, 0xdd], &[0x60, 0, 0, 0, 0, 0, 6]);
        assert_eq!(bytes_of_a_hundred(&v6, 14 + 72), Some(100 * (72 + 1448)));
        // With the option that is there only while it is a train.
        let v6 = head([0x86, 0xdd], &[0x60]);
        assert_eq!(bytes_of_a_hundred(&v6, 14 + 80), Some(100 * (72 + 1448)));
        // What is no train and says no length is wrong.
        for head in [v4, v6] {
            assert_eq!(parse(&frame(&head, 90_000)), Parsed::Malformed);
        }
    }

    #[test]
    fn headers_are_found_where_the_kernel_does_not_say() {
        let mut tcp4 = head([8, 0], &[0x46, 0, 0, 0, 0, 0, 0, 0, 64, 6]);
        tcp4[14 + 24 + 12] = 0x80;
        assert_eq!(headers(&frame(&tcp4, 9000)), 14 + 24 + 32);
        let udp4 = head([8, 0], &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
        assert_eq!(headers(&frame(&udp4, 9000)), 14 + 20 + 8);
        let mut tcp6 = head([0x86, 0xdd], &[0x60, 0, 0, 0, 0, 0, 6]);
        tcp6[14 + 40 + 12] = 0x50;
        assert_eq!(headers(&frame(&tcp6, 9000)), 14 + 40 + 20);
        // Behind a tag, and what cannot be followed.
        let mut tagged = head([0x81, 0], &[0, 7, 8, 0, 0x45]);
        tagged[14 + 4 + 9] = 17;
        assert_eq!(headers(&frame(&tagged, 9000)), 18 + 20 + 8);
        assert_eq!(headers(&frame(&[0; 14], 14)), 14);
    }

    #[test]
    fn nonsense_stays_finite() {
        let piece = Piece {
            bytes: 10,
            wire_bytes: 5,
            segment: 1,
            packets: 7,
        };
        let train = Train::of(piece, || 66);
        assert_eq!(train.bytes(10, 14), 10);
        assert_eq!(
            Train::of(
                Piece {
                    packets: 0,
                    ..piece
                },
                || 66
            ),
            Train {
                packets: 1,
                repeated: 0
            }
        );
    }
}
