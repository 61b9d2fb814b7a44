//! tshark's reading of a capture, packet by packet, and how the oracle's may differ from it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use zerorate_tests::oracle::{Captured, IpPacket, Reading, UnsupportedLink};

/// One packet as tshark sees it. Where there are several IP layers the outermost stands first.
#[derive(Debug)]
pub(crate) struct Row {
    length: u64,
    captured: u64,
    protocols: Vec<String>,
    /// Source and destination of the outermost IPv4 header, then of the outermost IPv6 header.
    addresses: [String; 4],
    header_length: String,
    malformed: bool,
}

/// Where tshark's reading of a capture lies.
pub(crate) fn reading_of(capture: &Path) -> PathBuf {
    let mut name = capture.as_os_str().to_owned();
    name.push(".tshark.tsv.gz");
    PathBuf::from(name)
}

/// tshark's reading of a capture.
pub(crate) fn read(capture: &Path) -> Vec<Row> {
    let file = std::fs::File::open(reading_of(capture)).expect("a reading beside the capture");
    let mut table = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut table)
        .expect("a gzip file");
    let rows = String::from_utf8_lossy(&table);
    rows.lines().map(read_row).collect()
}

fn read_row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let outermost = |column: usize| {
        columns[column]
            .split(',')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    Row {
        length: columns[1].parse().expect("a length"),
        captured: columns[2].parse().expect("a length"),
        protocols: columns[3].split(':').map(str::to_owned).collect(),
        addresses: [4, 5, 6, 7].map(outermost),
        header_length: outermost(11),
        malformed: !columns[12].is_empty(),
    }
}

/// How the two readings of one packet relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Comparison {
    /// Both see an outermost IP header behind encapsulations that are opened, with the same addresses.
    SameAddresses,
    /// Neither sees IP there.
    NeitherIp,
    /// A link that replay does not read (PPP, Cisco HDLC, frame relay).
    UnsupportedLink,
    /// IP for tshark, malformed for us: it shows the addresses of headers whose version, lengths or
    /// jumbo payload we refuse to bill.
    MalformedForUs,
    /// Malformed for us, nothing at all for tshark, which then falls back to bytes of data.
    MalformedForBoth,
    /// Behind more than two tags tshark goes on reading.
    ThirdTag,
    /// With a source route among the options tshark shows the route's last address as destination.
    SourceRoute,
    /// None of these: one of the two is wrong.
    Unexplained,
}

/// Holds the oracle's reading of a packet against tshark's.
pub(crate) fn compare(
    packet: &Captured,
    reading: &Result<Reading, UnsupportedLink>,
    row: &Row,
) -> Comparison {
    // tshark's lengths are signed.
    let length = packet.original.min(i32::MAX.unsigned_abs().into());
    if (row.length, row.captured) != (length, packet.bytes.len() as u64) {
        return Comparison::Unexplained;
    }
    let theirs = outermost_ip(&row.protocols);
    match (reading, theirs) {
        (Err(_), _) => Comparison::UnsupportedLink,
        (Ok(Reading::Ip(ours)), Theirs::Ip) => same_addresses(ours, row),
        (Ok(Reading::NonIp), Theirs::None) => Comparison::NeitherIp,
        (Ok(Reading::NonIp), Theirs::BehindThirdTag) => Comparison::ThirdTag,
        (Ok(Reading::Malformed), Theirs::Ip) => Comparison::MalformedForUs,
        (Ok(Reading::Malformed), Theirs::None) if row.malformed => Comparison::MalformedForBoth,
        _ => Comparison::Unexplained,
    }
}

fn same_addresses(ours: &IpPacket, row: &Row) -> Comparison {
    let [source4, destination4, source6, destination6] = &row.addresses;
    let (source, destination) = if ours.source.v6 {
        (source6, destination6)
    } else {
        (source4, destination4)
    };
    let same_source = *source == ours.source.ip().to_string();
    let same_destination = *destination == ours.destination.ip().to_string();
    let options = !ours.source.v6
        && row
            .header_length
            .parse()
            .is_ok_and(|length: u8| length > 20);
    match (same_source, same_destination) {
        (true, true) => Comparison::SameAddresses,
        (true, false) if options => Comparison::SourceRoute,
        _ => Comparison::Unexplained,
    }
}

/// Whether tshark saw IP behind what our parsing rules open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theirs {
    Ip,
    BehindThirdTag,
    None,
}

/// Walks tshark's list of protocols: the link, at most two tags, perhaps PPPoE, then IP.
fn outermost_ip(protocols: &[String]) -> Theirs {
    let mut rest: Vec<&str> = protocols
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "ethertype")
        .collect();
    let mut drop_first = |names: &[&str]| {
        let found = rest.first().is_some_and(|first| names.contains(first));
        if found {
            rest.remove(0);
        }
        found
    };
    drop_first(&["eth", "sll", "raw", "null"]);
    let mut tags = 0;
    while drop_first(&["vlan", "ieee8021ad"]) {
        tags += 1;
    }
    if drop_first(&["pppoes"]) {
        drop_first(&["ppp"]);
    }
    match (drop_first(&["ip", "ipv6"]), tags) {
        (false, _) => Theirs::None,
        (true, 0..=2) => Theirs::Ip,
        (true, _) => Theirs::BehindThirdTag,
    }
}
