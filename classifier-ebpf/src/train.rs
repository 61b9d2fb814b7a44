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
