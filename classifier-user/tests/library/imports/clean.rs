//! Whatever is imported, in whatever format, is a list that `check` has nothing to say about, and it holds the addresses of the
//! source and no others.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use zerorate::import::{Addresses, Format, import};
use zerorate::policy;

use super::{POLICY, request};

/// A prefix of ordinary address space, so little of it that prefixes meet, nest and repeat.
fn arbitrary_prefix() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), any::<bool>(), 12_u8..=32).prop_map(|(bits, v6, length)| {
        let (address, length) = match v6 {
            false => (
                IpAddr::V4(Ipv4Addr::from_bits(0x1f00_0000 | (bits & 0xff_ffff))),
                length,
            ),
            true => (
                IpAddr::V6(Ipv6Addr::from_bits(
                    (0x2a00_1234 << 96) | (u128::from(bits) << 64),
                )),
                32 + length,
            ),
        };
        IpNet::new(address, length).unwrap().trunc()
    })
}

/// The prefixes as somebody publishes them who writes this format.
fn written(format: Format, nets: &[IpNet]) -> String {
    let bounds = |net: &IpNet| (net.network(), net.broadcast());
    match format {
        Format::Text | Format::Netset => {
            let line = |(number, net): (usize, &IpNet)| match (number % 3, bounds(net)) {
                (0, (first, last)) if format == Format::Text => format!("{first}-{last}\n"),
                (1, _) => format!("{net} # one\n"),
                _ => format!("{net}\n"),
            };
            nets.iter().enumerate().map(line).collect()
        }
        Format::Table => nets.iter().map(|net| format!("{net} 64500\n")).collect(),
        Format::Bgpq4 => {
            let line = |net: &IpNet| format!("    {net},\n");
            let lines: String = nets.iter().map(line).collect();
            let lines = lines.trim_end().trim_end_matches(',');
            format!("NN = [\n{lines}\n];\n")
        }
        Format::Services => {
            let prefix = |net: &IpNet| match net {
                IpNet::V4(_) => format!("{{\"ipv4Prefix\": \"{net}\"}}"),
                IpNet::V6(_) => format!("{{\"ipv6Prefix\": \"{net}\"}}"),
            };
            let prefixes: Vec<String> = nets.iter().map(prefix).collect();
            format!(
                "{{\"syncToken\": \"1\", \"creationTime\": \"2026-01-01T00:00:00.000000\", \"prefixes\": [{}]}}",
                prefixes.join(", ")
            )
        }
        Format::Rsc => {
            let line = |net: &IpNet| {
                let family = if net.addr().is_ipv4() { "ip" } else { "ipv6" };
                format!("/{family} firewall address-list\nadd address={net} list=free\n")
            };
            nets.iter().map(line).collect()
        }
        other => panic!("{other:?} is not written here"),
    }
}

const FORMATS: [Format; 6] = [
    Format::Text,
    Format::Netset,
    Format::Table,
    Format::Bgpq4,
    Format::Services,
    Format::Rsc,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_imported_list_is_clean_and_holds_what_the_source_does(
        nets in prop::collection::vec(arbitrary_prefix(), 1..60),
        format in prop::sample::select(&FORMATS[..]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let source = written(format, &nets);
        fs::write(dir.path().join("source"), &source).unwrap();
        let imported = import(&request(format, &["source"], &[]), dir.path(), None);
        prop_assert!(imported.is_ok(), "{format:?}: {}\n{source}", imported.unwrap_err());
        let imported = imported.unwrap();
        prop_assert_eq!(&imported.notes, &Vec::<String>::new());
        imported.list.write(&dir.path().join("list.txt"), jiff::Timestamp::now()).unwrap();
        fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        let checked = policy::load(dir.path());
        prop_assert!(checked.is_ok(), "{format:?}: {}", checked.unwrap_err());
        let checked = checked.unwrap();
        prop_assert_eq!(&checked.warnings, &Vec::new());
        let listed: Vec<IpNet> = checked.policy.sets[0].prefixes.iter().map(|prefix| prefix.net).collect();
        prop_assert_eq!(Addresses::of(&listed), Addresses::of(&nets));
        // In as few prefixes as possible, each in its place: another import changes nothing.
        prop_assert_eq!(&listed, &Addresses::of(&nets).prefixes());
        let again = import(&request(Format::Text, &["list.txt"], &[]), dir.path(), None).unwrap();
        prop_assert_eq!(again.list.space, imported.list.space);
    }
}
