//! Writing captures, in each of the formats replay reads.

use super::capture::Captured;

/// A capture file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// pcapng, else pcap.
    pub pcapng: bool,
    /// Big-endian, else little-endian.
    pub big_endian: bool,
    /// Time stamps in nanoseconds, else microseconds.
    pub nanoseconds: bool,
}

impl Format {
    /// What most tools write: little-endian pcap in microseconds.
    pub const USUAL: Self = Self {
        pcapng: false,
        big_endian: false,
        nanoseconds: false,
    };

    /// All eight.
    #[must_use]
    pub fn all() -> [Self; 8] {
        std::array::from_fn(|bits| Self {
            pcapng: bits & 1 != 0,
            big_endian: bits & 2 != 0,
            nanoseconds: bits & 4 != 0,
        })
    }

    fn u16(self, bytes: &mut Vec<u8>, number: u16) {
        bytes.extend(if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    }

    fn u32(self, bytes: &mut Vec<u8>, number: u32) {
        bytes.extend(if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    }

    fn units_per_second(self) -> i128 {
        if self.nanoseconds {
            1_000_000_000
        } else {
            1_000_000
        }
    }

    /// The packets as a capture file.
    ///
    /// A pcap file has one link type, that of the first packet (Ethernet when there is none); in pcapng
    /// each packet has its own.
    #[must_use]
    pub fn write(self, packets: &[Captured]) -> Vec<u8> {
        if self.pcapng {
            self.write_pcapng(packets)
        } else {
            self.write_pcap(packets)
        }
    }

    fn write_pcap(self, packets: &[Captured]) -> Vec<u8> {
        let mut file = Vec::new();
        self.u32(
            &mut file,
            if self.nanoseconds {
                0xa1b2_3c4d
            } else {
                0xa1b2_c3d4
            },
        );
        self.u16(&mut file, 2);
        self.u16(&mut file, 4);
        self.u32(&mut file, 0);
        self.u32(&mut file, 0);
        self.u32(&mut file, 262_144);
        self.u32(&mut file, packets.first().map_or(1, |packet| packet.link));
        for packet in packets {
            let fraction = packet.time % 1_000_000_000 * self.units_per_second() / 1_000_000_000;
            self.u32(&mut file, (packet.time / 1_000_000_000) as u32);
            self.u32(&mut file, fraction as u32);
            self.u32(&mut file, packet.bytes.len() as u32);
            self.u32(&mut file, packet.original as u32);
            file.extend(&packet.bytes);
        }
        file
    }

    fn write_pcapng(self, packets: &[Captured]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut section = Vec::new();
        self.u32(&mut section, 0x1a2b_3c4d);
        self.u16(&mut section, 1);
        self.u16(&mut section, 0);
        section.extend([0xff; 8]);
        self.block(&mut file, 0x0a0d_0d0a, &section);

        let mut links: Vec<u32> = packets.iter().map(|packet| packet.link).collect();
        links.sort_unstable();
        links.dedup();
        for link in &links {
            let mut interface = Vec::new();
            self.u16(&mut interface, *link as u16);
            self.u16(&mut interface, 0);
            self.u32(&mut interface, 262_144);
            if self.nanoseconds {
                self.u16(&mut interface, 9);
                self.u16(&mut interface, 1);
                interface.extend([9, 0, 0, 0]);
                self.u32(&mut interface, 0);
            }
            self.block(&mut file, 1, &interface);
        }
        for packet in packets {
            let units = (packet.time * self.units_per_second() / 1_000_000_000) as u64;
            let place = links.partition_point(|link| *link < packet.link);
            let mut body = Vec::new();
            self.u32(&mut body, place as u32);
            self.u32(&mut body, (units >> 32) as u32);
            self.u32(&mut body, units as u32);
            self.u32(&mut body, packet.bytes.len() as u32);
            self.u32(&mut body, packet.original as u32);
            body.extend(&packet.bytes);
            self.block(&mut file, 6, &body);
        }
        file
    }

    fn block(self, file: &mut Vec<u8>, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        self.u32(file, kind);
        self.u32(file, 12 + padded as u32);
        file.extend(body);
        file.resize(file.len() + padded - body.len(), 0);
        self.u32(file, 12 + padded as u32);
    }
}
