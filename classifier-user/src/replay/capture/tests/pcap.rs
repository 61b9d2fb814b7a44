//! Classic pcap.

use super::*;

#[test]
fn pcap_in_both_orders_and_both_resolutions() {
    for order in ORDERS {
        for (magic, unit) in [(MICROSECONDS, 1000), (NANOSECONDS, 1)] {
            let file = Writer::pcap(order, magic, 4, 1)
                .record(1_600_000_000, 5, 20, 1500, &[1; 20])
                .record(u32::MAX, 999_999, 3, 3, &[2; 3])
                .record(0, 0, 0, 60, &[]);
            let want = [
                (
                    1,
                    at(1_600_000_000_000_000_000 + 5 * unit),
                    vec![1; 20],
                    1500,
                ),
                (
                    2,
                    at(4_294_967_295_000_000_000 + 999_999 * unit),
                    vec![2; 3],
                    3,
                ),
                (3, at(0), vec![], 60),
            ]
            .map(|(number, time, bytes, original_len)| Frame {
                number,
                time,
                bytes,
                original_len,
            });
            assert_eq!(read_whole(file.bytes), want, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn a_pcap_of_no_frames_is_a_capture() {
    assert_eq!(
        read_whole(Writer::pcap(Order::Little, MICROSECONDS, 4, 1).bytes),
        []
    );
}

#[test]
fn modified_pcap_has_longer_record_headers() {
    for order in ORDERS {
        let file = Writer::pcap(order, MODIFIED, 4, 1)
            .record(1, 2, 3, 60, &[0xee; 8])
            .raw(&[1, 2, 3])
            .record(1, 3, 2, 60, &[0xee; 8])
            .raw(&[4, 5]);
        let frames = read_whole(file.bytes);
        assert_eq!(frames[0].bytes, [1, 2, 3]);
        assert_eq!(frames[1].bytes, [4, 5]);
        assert_eq!(frames[1].time, at(1_000_003_000));
    }
}

#[test]
fn lengths_stand_the_other_way_round_before_version_2_3() {
    let lengths = |minor, first, second| {
        let file = Writer::pcap(Order::Little, MICROSECONDS, minor, 1);
        let frames = read_whole(file.record(0, 0, first, second, &[0; 20]).bytes);
        (frames[0].bytes.len(), frames[0].original_len)
    };
    assert_eq!(lengths(2, 90, 20), (20, 90));
    assert_eq!(lengths(3, 90, 20), (20, 90));
    assert_eq!(lengths(3, 20, 90), (20, 90));
    assert_eq!(lengths(4, 20, 90), (20, 90));
    assert_eq!(
        lengths(4, 20, 0),
        (20, 0),
        "an original length below the captured one is believed"
    );
}

#[test]
fn a_frame_longer_than_the_snapshot_length_is_taken_whole() {
    // The header of `Writer::pcap` says 9.
    let file = Writer::pcap(Order::Little, MICROSECONDS, 4, 1).record(0, 0, 99, 99, &[3; 99]);
    assert_eq!(read_whole(file.bytes)[0].bytes.len(), 99);
    let file = Writer::new(Order::Little)
        .section(Order::Big)
        .interface(1, 9, &[]);
    assert_eq!(
        read_whole(file.packet(0, 0, 99, &[3; 99]).bytes)[0]
            .bytes
            .len(),
        99
    );
}

#[test]
fn a_frame_check_sequence_in_the_link_type_changes_nothing() {
    let ip = [0x45; 30];
    for (link, read_as) in [(0x3000_0001, 30), (0x5400_0001, 30), (0x3000_0065, 44)] {
        let file = Writer::pcap(Order::Little, MICROSECONDS, 4, link).record(0, 0, 30, 30, &ip);
        assert_eq!(read_whole(file.bytes)[0].bytes.len(), read_as, "{link:x}");
    }
}
