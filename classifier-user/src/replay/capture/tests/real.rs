//! The captures of `ZERORATE_DATA` against the reading of Wireshark that lies beside each.

#[path = "../../../../tests/skip/mod.rs"]
mod skip;

use std::path::Path;

use super::*;

/// What tshark read of a frame: its length, what was captured, its link type.
struct Reading {
    original_len: u32,
    captured: usize,
    encapsulation: u32,
}

/// Bytes a frame grows, or shrinks, by when its link header becomes Ethernet's.
fn growth(encapsulation: u32) -> Option<i64> {
    // Numbers of Wireshark's own, which its field frame.encap_type has.
    match encapsulation {
        1 => Some(0),
        7 | 129 | 130 => Some(14),
        15 | 174 => Some(10),
        25 => Some(-2),
        210 => Some(-6),
        _ => None,
    }
}

#[test]
fn real_captures_are_read_as_tshark_reads_them() {
    let Some(data) = std::env::var_os("ZERORATE_DATA") else {
        skip::skip("real captures: ZERORATE_DATA is not set");
        return;
    };
    let root = Path::new(&data).join("pcap");
    let manifest = std::fs::read_to_string(root.join("MANIFEST.tsv")).unwrap();
    let (mut files, mut packets, mut refused) = (0, 0, 0);
    for line in manifest.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let path = root.join(columns[0]).join(columns[1]);
        let readings = readings(&path);
        assert_eq!(
            readings.len(),
            columns[8].parse::<usize>().unwrap(),
            "{path:?}"
        );
        files += 1;
        match Capture::open(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(frames) => {
                compare(&path, &frames, &readings);
                packets += frames.len();
            }
            Err(CaptureError::LinkType(number)) => {
                let unknown = readings.iter().any(|r| growth(r.encapsulation).is_none());
                assert!(unknown, "{path:?}: link type {number}");
                refused += 1;
            }
            Err(error) => panic!("{path:?}: {error}"),
        }
    }
    println!("{files} files: {packets} packets as tshark reads them, {refused} files refused");
    assert!(packets > 0);
}

fn compare(path: &Path, frames: &[Frame], readings: &[Reading]) {
    assert_eq!(frames.len(), readings.len(), "{path:?}");
    for (number, (frame, reading)) in (1..).zip(frames.iter().zip(readings)) {
        let growth = growth(reading.encapsulation).expect("a link type that can be read");
        // Wireshark's lengths end at 2^31 - 1.
        let original = (i64::from(frame.original_len) - growth).min(i64::from(i32::MAX));
        assert_eq!(frame.number, number, "{path:?}");
        assert_eq!(
            original,
            i64::from(reading.original_len),
            "{path:?} {number}"
        );
        let captured = frame.bytes.len() as i64 - growth;
        assert_eq!(captured, reading.captured as i64, "{path:?} {number}");
    }
}

fn readings(path: &Path) -> Vec<Reading> {
    let mut table = path.as_os_str().to_owned();
    table.push(".tshark.tsv.gz");
    let mut text = String::new();
    let compressed = File::open(table).unwrap();
    flate2::read::MultiGzDecoder::new(compressed)
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            Reading {
                original_len: columns[1].parse().unwrap(),
                captured: columns[2].parse().unwrap(),
                encapsulation: columns[13].parse().unwrap(),
            }
        })
        .collect()
}
