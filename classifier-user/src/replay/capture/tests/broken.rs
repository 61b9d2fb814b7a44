//! Files that are no captures, are damaged, cut off, or come slowly or not at all.

use std::path::Path;

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_no_capture_is_said() {
    assert_eq!(
        error_of(vec![]),
        "the file is empty; a capture has at least a header"
    );
    assert_eq!(
        error_of(b"id,plan,state,addresses\n".to_vec()),
        "not a pcap or pcapng capture: the file begins with 69 64 2c 70"
    );
    assert_eq!(
        error_of(vec![0xd4, 0xc3]),
        "not a pcap or pcapng capture: the file begins with d4 c3"
    );
    assert_eq!(
        error_of(vec![0x1f, 0x8b, 8, 0, 0]),
        "the file is compressed with gzip; decompress it first"
    );
    assert_eq!(
        error_of(
            Writer::new(Order::Big)
                .u32(MICROSECONDS)
                .u16(9)
                .u16(1)
                .raw(&[0; 16])
                .bytes
        ),
        "pcap version 9.1 is not known; versions 2.0 to 2.4 can be read"
    );
    assert!(
        error_of(Writer::pcap(Order::Little, MICROSECONDS, 4, 104).bytes)
            .starts_with("link type 104 (Cisco HDLC) is not supported; supported are Ethernet (1)")
    );
    let missing = Capture::open(Path::new("no/such/file.pcap")).unwrap_err();
    assert!(matches!(missing, CaptureError::Open(_)), "{missing:?}");
}

#[test]
fn what_is_damaged_is_said_with_its_place() {
    let pcap = Writer::pcap(Order::Little, MICROSECONDS, 4, 1).record(0, 0, 1, 1, &[1]);
    assert_eq!(
        error_of(pcap.record(0, 0, 0xffff_ffff, 60, &[0; 99]).bytes),
        "the record that begins at byte 41 is damaged: it claims 4294967295 bytes, and none has \
         more than 16777216"
    );
    let ng = Writer::new(Order::Little)
        .section(Order::Little)
        .interface(1, 0, &[]);
    const LENGTHS: &str = "the block's length at its beginning and at its end differ";
    let start = "the record that begins at byte 48 is damaged: ";
    for (file, what) in [
        (
            ng.clone().packet(3, 0, 1, &[1]),
            "a packet of interface 3, which its section does not describe",
        ),
        (
            ng.clone().u32(6).u32(11),
            "a block shorter than its own envelope",
        ),
        (
            ng.clone().u32(6).u32(u32::MAX),
            "it claims 4294967288 bytes, and none has more than 16777216",
        ),
        (ng.clone().u32(5).u32(16).u32(0).u32(20), LENGTHS),
        (ng.clone().u32(1).u32(24).raw(&[0; 12]).u32(20), LENGTHS),
        (
            ng.clone().block(6, |w| w.raw(&[0; 16])),
            "a packet block without its fields",
        ),
        (
            ng.clone().simple(61, &[0; 60]),
            "a packet block smaller than the packet it holds",
        ),
        (
            ng.clone().block(3, |w| w),
            "a packet block without its fields",
        ),
        (
            ng.clone().block(1, |w| w.u32(0)),
            "an interface description without its fields",
        ),
        (
            ng.clone()
                .block(6, |w| w.raw(&[0; 12]).u32(5).u32(5).raw(&[0; 4])),
            "a packet block smaller than the packet it holds",
        ),
        (
            ng.clone().u32(0x0a0d_0d0a).u32(28).raw(&[0; 20]),
            "a section header without byte order",
        ),
    ] {
        assert_eq!(error_of(file.bytes), format!("{start}{what}"));
    }
}

#[test]
fn a_file_cut_off_anywhere_gives_the_frames_before_and_says_where() {
    for (file, ends) in files() {
        let whole = read_whole(file.clone());
        assert_eq!(whole.len(), 5);
        for cut in 4..=file.len() {
            let (frames, error) = read(file[..cut].to_vec());
            let (last_end, complete) = ends
                .iter()
                .rev()
                .find(|(end, _)| *end <= cut)
                .copied()
                .unwrap_or_default();
            assert_eq!(frames, whole[..complete], "cut at {cut}");
            match error {
                None => assert_eq!(cut, last_end),
                Some(CaptureError::Truncated { start, end }) => {
                    assert_eq!((start as usize, end as usize), (last_end, cut));
                }
                Some(other) => panic!("cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn nothing_comes_after_an_error() {
    let file = Writer::pcap(Order::Little, MICROSECONDS, 4, 1).record(0, 0, 9, 9, &[1]);
    let mut capture = Capture::read(Cursor::new(file.bytes)).unwrap();
    assert_eq!(
        capture.next().unwrap().unwrap_err().to_string(),
        "the file is cut off: it ends at byte 41, inside the record that begins at byte 24"
    );
    assert!(capture.next().is_none());
}

/// Gives its bytes one at a time, as a slow pipe may, and is interrupted before each.
struct Dripping(Cursor<Vec<u8>>, bool);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.read(&mut buffer[..1])
    }
}

/// Gives its bytes, and then an error.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            n => Ok(n),
        }
    }
}

#[test]
fn a_slow_source_changes_nothing_and_a_failing_one_is_no_end_of_file() {
    for (file, _) in files() {
        let whole = read_whole(file.clone());
        let slow = Capture::read(Dripping(Cursor::new(file.clone()), false)).unwrap();
        assert_eq!(slow.collect::<Result<Vec<_>, _>>().unwrap(), whole);
        let length = file.len() as u64;
        let mut failing = Capture::read(Failing(Cursor::new(file))).unwrap().skip(5);
        let error = failing.next().unwrap().unwrap_err();
        assert!(
            matches!(error, CaptureError::Read { offset, .. } if offset == length),
            "{error:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_damage_makes_a_reader_fail(
        which in 0..2usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let [pcap, pcapng] = files();
        let mut file = [pcap.0, pcapng.0][which].clone();
        for (index, byte) in damage {
            let place = index.index(file.len());
            file[place] = byte;
        }
        let length = file.len();
        let (frames, _) = read(file);
        let held: usize = frames.iter().map(|frame| frame.bytes.len().saturating_sub(14)).sum();
        prop_assert!(held < length);
    }
}
