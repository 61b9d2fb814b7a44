//! Hand-made files of every kind, and real ones; here is what writes and reads them.

use std::io::Cursor;

use super::*;

mod broken;
mod pcap;
mod pcapng;
mod real;

/// Frames of a file, and the error it ended with.
fn read(file: Vec<u8>) -> (Vec<Frame>, Option<CaptureError>) {
    let capture = match Capture::read(Cursor::new(file)) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut frames = Vec::new();
    for frame in capture {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn read_whole(file: Vec<u8>) -> Vec<Frame> {
    let (frames, error) = read(file);
    assert!(error.is_none(), "{error:?} after {} frames", frames.len());
    frames
}

fn error_of(file: Vec<u8>) -> String {
    read(file).1.expect("an error").to_string()
}

/// Writes numbers in a byte order.
#[derive(Clone)]
struct Writer {
    order: Order,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(order: Order) -> Self {
        Self {
            order,
            bytes: Vec::new(),
        }
    }
    fn u16(mut self, n: u16) -> Self {
        self.bytes.extend(if self.order == Order::Big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        });
        self
    }
    fn u32(mut self, n: u32) -> Self {
        self.bytes.extend(if self.order == Order::Big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        });
        self
    }
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }
    fn padded(self, bytes: &[u8]) -> Self {
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.raw(bytes).raw(&[0; 3][..padding])
    }

    fn pcap(order: Order, magic: u32, minor: u16, link: u32) -> Self {
        Self::new(order)
            .u32(magic)
            .u16(2)
            .u16(minor)
            .u32(77)
            .u32(88)
            .u32(9)
            .u32(link)
    }
    fn record(self, seconds: u32, fraction: u32, first: u32, second: u32, data: &[u8]) -> Self {
        self.u32(seconds)
            .u32(fraction)
            .u32(first)
            .u32(second)
            .raw(data)
    }

    fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let body = body(Self::new(self.order)).bytes;
        let length = body.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&body).u32(length)
    }
    fn section(mut self, order: Order) -> Self {
        self.order = order;
        self.block(0x0a0d_0d0a, |w| {
            w.u32(0x1a2b_3c4d).u16(1).u16(0).raw(&[0xff; 8])
        })
    }
    fn interface(self, link: u16, snapshot: u32, options: &[(u16, &[u8])]) -> Self {
        self.block(1, |w| {
            let w = w.u16(link).u16(0).u32(snapshot);
            options.iter().fold(w, |w, (code, value)| {
                w.u16(*code).u16(value.len() as u16).padded(value)
            })
        })
    }
    fn packet(self, interface: u32, time: u64, original: u32, data: &[u8]) -> Self {
        self.block(6, |w| {
            w.u32(interface)
                .u32((time >> 32) as u32)
                .u32(time as u32)
                .u32(data.len() as u32)
                .u32(original)
                .padded(data)
                .u16(1)
                .u16(3)
                .padded(b"hey")
                .u32(0)
        })
    }
    fn simple(self, original: u32, data: &[u8]) -> Self {
        self.block(3, |w| w.u32(original).padded(data))
    }
}

const ORDERS: [Order; 2] = [Order::Little, Order::Big];
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

fn at(nanoseconds: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds).unwrap()
}

/// A capture, and after how many bytes it may end with how many frames.
type Cuttable = (Vec<u8>, Vec<(usize, usize)>);

/// A file of each format.
fn files() -> [Cuttable; 2] {
    let mut ends = Vec::new();
    let mut pcap = Writer::pcap(Order::Little, MICROSECONDS, 4, 1);
    for n in 0..5 {
        ends.push((pcap.bytes.len(), n));
        pcap = pcap.record(n as u32, 0, 10 + n as u32, 99, &vec![n as u8; 10 + n]);
    }
    ends.push((pcap.bytes.len(), 5));
    let pcap = (pcap.bytes, std::mem::take(&mut ends));

    let mut ng = Writer::new(Order::Big).section(Order::Big);
    ends.push((ng.bytes.len(), 0));
    ng = ng.interface(113, 0, &[(9, &[9])]);
    for n in 0..5 {
        ends.push((ng.bytes.len(), n));
        ng = ng.packet(0, n as u64, 99, &vec![n as u8; 10 + n]);
    }
    ends.push((ng.bytes.len(), 5));
    [pcap, (ng.bytes, ends)]
}
