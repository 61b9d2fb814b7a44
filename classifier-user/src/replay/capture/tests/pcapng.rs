//! pcapng.

use super::*;

#[test]
fn pcapng_sections_change_order_and_interfaces() {
    let file = Writer::new(Order::Little)
        .section(Order::Little)
        .block(0x0bad, |w| w.raw(&[9; 40]))
        .interface(1, 0, &[])
        .interface(101, 65535, &[])
        .packet(1, 7, 900, &[0x60, 1, 2])
        .block(4, |w| w.u16(0).u16(0))
        .packet(0, 8, 60, &[5; 60])
        .section(Order::Big)
        .interface(0, 0, &[])
        .packet(0, 9, 5, &[0, 0, 0, 2, 0x45]);
    let frames = read_whole(file.bytes);
    let read: Vec<_> = frames
        .iter()
        .map(|f| {
            (
                f.number,
                f.time,
                f.bytes[12..14].to_vec(),
                f.bytes.len(),
                f.original_len,
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            (1, at(7000), vec![0x86, 0xdd], 17, 914),
            (2, at(8000), vec![5, 5], 60, 60),
            (3, at(9000), vec![8, 0], 15, 15),
        ]
    );
}

#[test]
fn pcapng_tells_time_as_its_interface_does() {
    let time = |order: Order, units, options: &[(u16, &[u8])]| {
        let file = Writer::new(order).section(order).interface(1, 0, options);
        read_whole(file.packet(0, units, 0, &[]).bytes)[0].time
    };
    for order in ORDERS {
        let offset = 1_000_000u64;
        let offset = if order == Order::Big {
            offset.to_be_bytes()
        } else {
            offset.to_le_bytes()
        };
        assert_eq!(time(order, 1_500_000, &[]), at(1_500_000_000));
        assert_eq!(time(order, 1_500, &[(9, &[3])]), at(1_500_000_000));
        assert_eq!(time(order, 15, &[(9, &[0])]), at(15_000_000_000));
        assert_eq!(time(order, 1_500, &[(2, b"eth0"), (9, &[9])]), at(1_500));
        assert_eq!(time(order, 1_999, &[(9, &[12])]), at(1));
        assert_eq!(
            time(order, 3 << 31, &[(9, &[0x80 | 32])]),
            at(1_500_000_000)
        );
        assert_eq!(time(order, u64::MAX, &[(9, &[0xff])]), at(0));
        assert_eq!(time(order, u64::MAX, &[(9, &[127])]), at(0));
        assert_eq!(time(order, u64::MAX, &[(9, &[0])]), Timestamp::MAX);
        assert_eq!(time(order, 5, &[(14, &offset)]), at(1_000_000_000_005_000));
        assert_eq!(time(order, 0, &[(14, &[0xff; 8])]), at(-1_000_000_000));
        assert_eq!(
            time(order, 1_500, &[(0, &[]), (9, &[3])]),
            at(1_500_000),
            "after the end mark"
        );
        assert_eq!(
            time(order, 1_500, &[(9, &[])]),
            at(1_500_000),
            "an option without its value"
        );
    }
}

#[test]
fn simple_packets_are_as_long_as_the_snapshot_length_lets_them() {
    let lengths = |snapshot, original, data: &[u8]| {
        let file = Writer::new(Order::Big)
            .section(Order::Big)
            .interface(1, snapshot, &[]);
        let frames = read_whole(file.simple(original, data).bytes);
        assert_eq!(frames[0].time, Timestamp::UNIX_EPOCH);
        (frames[0].bytes.len(), frames[0].original_len)
    };
    assert_eq!(lengths(0, 61, &[1; 61]), (61, 61), "padding is no packet");
    assert_eq!(lengths(50, 61, &[1; 50]), (50, 61), "snapshot length");
    assert_eq!(lengths(99, 61, &[1; 61]), (61, 61));
}

#[test]
fn the_oldest_packet_block_is_read() {
    let packet = |w: Writer| {
        w.u16(1)
            .u16(9)
            .u32(0)
            .u32(6)
            .u32(3)
            .u32(60)
            .padded(&[1, 2, 3])
    };
    for order in ORDERS {
        let file = Writer::new(order)
            .section(order)
            .interface(9, 0, &[])
            .interface(1, 0, &[]);
        let frames = read_whole(file.block(2, packet).bytes);
        assert_eq!((frames[0].time, frames[0].original_len), (at(6000), 60));
        assert_eq!(frames[0].bytes, [1, 2, 3]);
    }
}

#[test]
fn a_block_length_without_its_padding_is_understood() {
    let file = Writer::new(Order::Little)
        .section(Order::Little)
        .interface(1, 0, &[]);
    let body = Writer::new(Order::Little)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(5)
        .u32(5)
        .padded(&[7; 5])
        .bytes;
    let length = 12 + 20 + 5;
    let file = file
        .u32(6)
        .u32(length)
        .raw(&body)
        .u32(length)
        .simple(4, &[8; 4]);
    let frames = read_whole(file.bytes);
    assert_eq!((frames[0].bytes.len(), frames[1].bytes.len()), (5, 4));
}

#[test]
fn only_an_interface_with_packets_must_be_supported() {
    let file = Writer::new(Order::Little)
        .section(Order::Little)
        .interface(1, 0, &[])
        .interface(127, 0, &[])
        .packet(0, 0, 1, &[1]);
    assert_eq!(read_whole(file.clone().bytes).len(), 1);
    let (frames, error) = read(file.packet(1, 0, 1, &[1]).packet(0, 0, 1, &[1]).bytes);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "link type 127 (802.11 with radiotap) is not supported; supported are Ethernet (1), raw IP \
         (12, 14, 101, 228, 229), NULL and loopback (0, 108) and Linux cooked (113, 276)"
    );
}
