//! What is read of each format, and what is told of it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use ipnet::IpNet;
use zerorate::import::{Format, Imported, Key, import};

use super::{FIXTURES, request};

fn done(format: Format, file: &str, choices: &[(Key, &str)]) -> Imported {
    let request = request(format, &[file], choices);
    import(&request, Path::new(FIXTURES), None).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn prefixes(imported: &Imported) -> String {
    let prefixes = imported.list.space.prefixes();
    let prefixes: Vec<String> = prefixes.iter().map(IpNet::to_string).collect();
    prefixes.join(" ")
}

#[test]
fn every_format_is_read_and_chosen_from() {
    use Format::*;
    use Key::*;
    for (format, file, choices, expected) in [
        (
            Delegated,
            "delegated.txt",
            &[][..],
            "192.0.2.0/25 192.0.2.128/26 198.51.100.0/24 203.0.113.7/32 2001:db8::/32",
        ),
        (
            Delegated,
            "delegated.txt",
            &[(Country, "kz")],
            "192.0.2.0/25 192.0.2.128/26 198.51.100.128/25 2001:db8::/32",
        ),
        (
            Delegated,
            "delegated.txt",
            &[(Country, "UZ"), (Holder, "bbbb-2")],
            "203.0.113.7/32",
        ),
        (
            Delegated,
            "delegated.txt",
            &[(Holder, "aaaa-1"), (Holder, "bbbb-2")],
            "192.0.2.0/25 192.0.2.128/26 203.0.113.7/32 2001:db8::/33",
        ),
        (Table, "blocks.csv", &[], "192.0.2.0/24 2001:db8::/32"),
        (
            Table,
            "blocks.csv",
            &[(Asn, "64500")],
            "192.0.2.0/25 2001:db8::/32",
        ),
        (
            Table,
            "ranges.csv",
            &[(Asn, "AS64501")],
            "192.0.2.130/31 192.0.2.132/30 192.0.2.136/29 192.0.2.144/28 192.0.2.160/27 192.0.2.192/26",
        ),
        (Table, "ip2asn.tsv", &[], "192.0.2.0/25 198.51.100.0/24"),
        (Table, "ip2asn.tsv", &[(Country, "UZ")], "198.51.100.0/24"),
        (Table, "pfx2as.txt", &[(Asn, "64502")], "192.0.2.0/24"),
        (Table, "pyasn.dat", &[(Asn, "64501")], "198.51.100.0/24"),
        (
            Mrt,
            "bird4.mrt",
            &[],
            "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24",
        ),
        (
            Mrt,
            "bird4.mrt",
            &[(Peer, "10.0.0.1")],
            "192.0.2.0/24 198.51.100.0/24",
        ),
        (
            Mrt,
            "bird4.mrt",
            &[(Peer, "AS64501"), (Asn, "AS64502")],
            "198.51.100.0/24",
        ),
        (Mrt, "bird6.mrt", &[(Asn, "64501")], "2001:db8::/32"),
        (
            Services,
            "aws.json",
            &[],
            "192.0.2.0/25 198.51.100.0/24 2001:db8:a::/48",
        ),
        (
            Services,
            "aws.json",
            &[(Service, "CLOUDFRONT")],
            "198.51.100.0/24 2001:db8:a::/48",
        ),
        (
            Services,
            "aws.json",
            &[(Service, "EC2"), (Region, "eu-central-1")],
            "192.0.2.0/26",
        ),
        (
            Services,
            "google.json",
            &[],
            "192.0.2.0/24 2001:db8:b0::/44",
        ),
        (
            Services,
            "google.json",
            &[(Region, "us-east1")],
            "2001:db8:b0::/44",
        ),
        (
            Services,
            "azure.json",
            &[],
            "192.0.2.0/24 198.51.100.0/24 2001:db8:c::/48",
        ),
        (
            Services,
            "azure.json",
            &[(Service, "AzureStorage")],
            "198.51.100.0/24",
        ),
        (
            Services,
            "azure.json",
            &[(Service, "Storage.WestEurope")],
            "198.51.100.0/24",
        ),
        (
            Services,
            "cloudflare.json",
            &[],
            "192.0.2.0/24 2001:db8::/32",
        ),
        (Services, "fastly.json", &[], "192.0.2.0/24 2001:db8:f::/48"),
        (
            Services,
            "oracle.json",
            &[(Service, "OCI")],
            "192.0.2.0/24 203.0.113.0/24",
        ),
        (
            Services,
            "github.json",
            &[(Service, "hooks")],
            "192.0.2.0/24 2001:db8::/48",
        ),
        (
            Services,
            "m365.json",
            &[(Service, "Skype")],
            "198.51.100.0/24",
        ),
        (
            Rsc,
            "list.rsc",
            &[(List, "tasix")],
            "192.0.2.0/23 198.51.100.0/29 2001:db8::/48",
        ),
        (Rsc, "list.rsc", &[(List, "other list")], "203.0.113.64/26"),
        (
            Netset,
            "list.netset",
            &[],
            "192.0.2.0/24 198.51.100.7/32 198.51.100.8/29 2001:db8::/32",
        ),
    ] {
        let imported = done(format, file, choices);
        assert_eq!(prefixes(&imported), expected, "{file} {choices:?}");
    }
}

/// Printed by bgpq4 1.9 for one AS, in every form it knows.
#[test]
fn all_that_bgpq4_prints_is_the_same_list() {
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(FIXTURES).join("bgpq4")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let file = format!("bgpq4/{name}");
        if name.starts_with("empty") {
            let request = request(Format::Bgpq4, &[&file], &[]);
            let error = import(&request, Path::new(FIXTURES), None)
                .unwrap_err()
                .to_string();
            assert!(error.contains("empty"), "{file}: {error}");
            continue;
        }
        let expected = match name.contains('6') || name == "six.json" {
            true => "2001:db8::/32",
            false => "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24",
        };
        assert_eq!(
            prefixes(&done(Format::Bgpq4, &file, &[])),
            expected,
            "{file}"
        );
        seen += 1;
    }
    assert_eq!(seen, 18);
}

#[test]
fn what_was_not_taken_is_told() {
    let notes = |format, file, choices: &[_]| done(format, file, choices).notes;
    let both = [(Key::Country, "UZ"), (Key::Country, "KG")];
    assert_eq!(
        notes(Format::Delegated, "delegated.txt", &both),
        [
            "no entry has country \"KG\"; there are: KZ",
            "left out: 1 records of space nobody holds"
        ]
    );
    assert_eq!(
        notes(Format::Mrt, "bird4.mrt", &[]),
        ["left out: 1 default routes"]
    );
    let some = [(Key::List, "tasix"), (Key::List, "tasis")];
    assert_eq!(
        notes(Format::Rsc, "list.rsc", &some),
        [
            "no entry has list \"tasis\"; there are: other list",
            "left out: 1 entries that are disabled"
        ]
    );
    let none = request(
        Format::Services,
        &["aws.json"],
        &[(Key::Service, "CLOUDFRNT")],
    );
    let error = import(&none, Path::new(FIXTURES), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the list would be empty: no entry has service"),
        "{error}"
    );
    assert!(error.contains("did you mean \"CLOUDFRONT\"?"), "{error}");
}

/// BIRD appends to its file; what it has withdrawn since the first dump must not stay.
#[test]
fn of_several_dumps_of_a_table_the_last_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let dump = fs::read(Path::new(FIXTURES).join("bird4.mrt")).unwrap();
    // Records are as long as their header says; the last one is the router's own 203.0.113.0/24.
    let mut ends = vec![0];
    while ends[ends.len() - 1] < dump.len() {
        let at = ends[ends.len() - 1];
        let length = u32::from_be_bytes(dump[at + 8..at + 12].try_into().unwrap());
        ends.push(at + 12 + length as usize);
    }
    let shorter = &dump[..ends[ends.len() - 2]];
    let six = fs::read(Path::new(FIXTURES).join("bird6.mrt")).unwrap();
    let path = dir.path().join("all.mrt");
    fs::write(&path, [&dump[..], &six[..], shorter].concat()).unwrap();
    let all = done(Format::Mrt, path.to_str().unwrap(), &[]);
    assert_eq!(prefixes(&all), "192.0.2.0/24 198.51.100.0/24 2001:db8::/32");
    assert_eq!(all.notes, ["left out: 1 default routes"]);
}

#[test]
fn compressed_sources_are_unpacked_and_cut_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plain = fs::read(Path::new(FIXTURES).join("list.netset")).unwrap();
    let packed = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        import(
            &request(Format::Text, &[path.to_str().unwrap()], &[]),
            Path::new(""),
            None,
        )
    };
    let expected = prefixes(&packed("plain", &plain).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bzip2.write_all(&plain).unwrap();
    let bzip2 = bzip2.finish().unwrap();
    for (name, bytes) in [("a.gz", &gzip), ("a.bz2", &bzip2)] {
        assert_eq!(prefixes(&packed(name, bytes).unwrap()), expected);
        for length in [4, bytes.len() / 2, bytes.len() - 1] {
            let error = packed(name, &bytes[..length]).unwrap_err().to_string();
            assert!(error.contains("cannot be unpacked"), "{length}: {error}");
            assert!(error.contains("help: fetch it again"), "{error}");
        }
    }
    let error = packed("a.xz", b"\xfd7zXZ\0...").unwrap_err().to_string();
    assert!(error.contains("unpack it with xz -d first"), "{error}");
}
