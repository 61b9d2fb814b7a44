//! The command, for one file and for the sets of a policy; and lists that a policy takes as they are.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ipnet::IpNet;
use proptest::prelude::*;
use zerorate::import::{Addresses, Format, import};
use zerorate::policy;

use super::{POLICY, request, said, zerorate};
use crate::skip::skip;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes in, comes out as the same addresses, and a policy takes it.
    #[test]
    fn the_list_has_the_addresses_of_the_source(
        nets in prop::collection::vec((any::<u128>(), any::<bool>(), 8_u8..=32), 1..40)
    ) {
        let nets: Vec<IpNet> = nets
            .into_iter()
            .map(|(bits, v6, length)| {
                // Of little space, so that they overlap.
                let (address, length) = match v6 {
                    false => (IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (bits as u32 & 0xff_ffff))), length),
                    true => (IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (bits >> 40))), 88 + length),
                };
                IpNet::new(address, length).unwrap().trunc()
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let lines: String = nets.iter().map(|net| format!("{net}\n")).collect();
        fs::write(dir.path().join("source"), lines).unwrap();
        let imported = import(&request(Format::Text, &["source"], &[]), dir.path(), None).unwrap();
        prop_assert_eq!(&imported.list.space, &Addresses::of(&nets));
        imported.list.write(&dir.path().join("list.txt"), jiff::Timestamp::now()).unwrap();
        fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        let checked = policy::load(dir.path());
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
        let listed = checked.unwrap().policy.sets.remove(0).prefixes;
        let listed: Vec<IpNet> = listed.into_iter().map(|prefix| prefix.net).collect();
        prop_assert_eq!(&listed, &imported.list.space.prefixes());
    }
}

/// The real lists, through the command, into a policy.
#[test]
fn real_sources_give_lists_without_errors() {
    let Some(data) = env::var_os("ZERORATE_DATA").map(PathBuf::from) else {
        return skip("ZERORATE_DATA is not set: no real lists to import");
    };
    for (arguments, listed) in [
        (
            &[
                "text",
                "prefixes/country/kz-ipv4.txt",
                "prefixes/country/kz-ipv6.txt",
            ][..],
            100,
        ),
        (&["text", "prefixes/ix/tasix-2016-django-tasix.txt"], 30),
        (
            &[
                "netset",
                "prefixes/services/google-ipv4.txt",
                "prefixes/services/google-ipv6.txt",
            ],
            50,
        ),
        (&["text", "prefixes/services/amazon-ipv4.txt"], 500),
        (
            &[
                "table",
                "bgp/asn2026-ipv4.txt.gz",
                "bgp/asn2026-ipv6.txt.gz",
                "--asn",
                "AS48979",
            ],
            3,
        ),
        (&["table", "bgp/routeviews20151101-ipv6.txt.gz"], 1000),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.txt");
        let output = zerorate(
            &data,
            &[&["import"], arguments, &["--out", list.to_str().unwrap()]].concat(),
        );
        assert!(output.status.success(), "{output:?}");
        fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
        let checked = policy::load(dir.path()).unwrap();
        let prefixes = &checked.policy.sets[0].prefixes;
        assert!(
            prefixes.len() >= listed,
            "{arguments:?}: {}",
            prefixes.len()
        );
    }
    // As published and as merged by somebody else: the same addresses.
    for service in ["google", "amazon", "telegram", "cloudflare"] {
        let of = |kind: &str| {
            let file = format!("prefixes/services/{service}-ipv4{kind}.txt");
            import(&request(Format::Text, &[&file], &[]), &data, None)
                .unwrap()
                .list
                .space
        };
        assert_eq!(of(""), of("_merged"), "{service}");
    }
}

#[test]
fn the_command_writes_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| zerorate(dir.path(), arguments);
    fs::write(dir.path().join("good"), "192.0.2.0/24\n").unwrap();
    fs::write(dir.path().join("bad"), "192.0.2.1/24\n").unwrap();
    let output = run(&["import", "text", "good", "bad", "--out", "list.txt"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "bad:1:1: error: 192.0.2.1/24 has host bits set; the prefix is 192.0.2.0/24\n  \
         help: write 192.0.2.0/24, or 192.0.2.1 alone if the one address is meant\n"
    );
    assert!(!dir.path().join("list.txt").exists());
    let output = run(&["import", "text", "good", "--out", "list.txt"]);
    assert_eq!(
        said(&output),
        "list.txt: written, 1 prefixes, 256 IPv4 addresses (1 /24)\n"
    );
    let before = fs::metadata(dir.path().join("list.txt"))
        .unwrap()
        .modified()
        .unwrap();
    let output = run(&["import", "text", "good", "--out", "list.txt"]);
    assert!(
        said(&output).starts_with("list.txt: unchanged"),
        "{output:?}"
    );
    let after = fs::metadata(dir.path().join("list.txt"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    // What goes together is said before anything is read.
    let output = run(&["import", "text", "good", "--country", "KZ"]);
    assert_eq!(
        said(&output),
        "zerorate: the format text has no --country: its entries cannot be chosen\n"
    );
    let output = run(&["import", "delegated", "good", "--country", "Kazakhstan"]);
    assert!(
        said(&output).contains("\"Kazakhstan\" is no country: write the two letters"),
        "{output:?}"
    );
    // Standard input, and the command in the list can be typed again.
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerorate"));
    command
        .args(["import", "text", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"2001:db8::1\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(
        list.contains("# Command: zerorate import text -\n"),
        "{list}"
    );
    assert!(
        list.ends_with("# Prefixes: 0 IPv4, 1 IPv6\n2001:db8::1/128\n"),
        "{list}"
    );
}

#[test]
fn an_update_shows_what_changes_and_writes_after_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let run = |arguments: &[&str]| {
        zerorate(
            dir.path(),
            &[&["import", "--update", "."], arguments].concat(),
        )
    };
    let shown = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    fs::write(file("policy.toml"), POLICY).unwrap();
    fs::write(file("source"), "192.0.2.0/24\n198.51.100.0/25\n").unwrap();
    // Nobody to ask: nothing is written.
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("add --yes to write"), "{output:?}");
    assert!(!file("list.txt").exists());
    let output = run(&["--yes"]);
    assert!(output.status.success(), "{output:?}");
    let first = fs::read_to_string(file("list.txt")).unwrap();
    assert!(
        first.contains("# Command: zerorate import text source\n"),
        "{first}"
    );

    fs::write(
        file("source"),
        "192.0.2.0/25\n198.51.100.0/24\n2001:db8::/47\n",
    )
    .unwrap();
    let output = run(&["--dry-run"]);
    assert!(output.status.success());
    assert_eq!(
        shown(&output),
        "set exchange: ./list.txt\n  - 192.0.2.128/25\n  - 128 IPv4 addresses (0.5 /24s) in all\n  + 198.51.100.128/25\n  \
         + 2001:db8::/47\n  + 128 IPv4 addresses (0.5 /24s), IPv6 of 2 /48s in all\n  \
         from 384 IPv4 addresses (1.5 /24s) to 384 IPv4 addresses (1.5 /24s), IPv6 of 2 /48s\n"
    );
    assert_eq!(fs::read_to_string(file("list.txt")).unwrap(), first);
    let output = run(&["--dry-run", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json["added"],
        serde_json::json!(["198.51.100.128/25", "2001:db8::/47"])
    );
    assert_eq!(json["removed"], serde_json::json!(["192.0.2.128/25"]));
    assert!(run(&["--yes", "--set", "exchange"]).status.success());
    let output = run(&["--yes"]);
    assert!(shown(&output).contains("unchanged"), "{output:?}");

    // A source that is broken, or cut to nothing, leaves the list as it is.
    let good = fs::read_to_string(file("list.txt")).unwrap();
    for broken in ["", "# only a comment\n", "<html>\n", "192.0.2.1/24\n"] {
        fs::write(file("source"), broken).unwrap();
        let output = run(&["--yes"]);
        assert_eq!(output.status.code(), Some(1), "{broken:?}");
        assert!(said(&output).contains("nothing was written"), "{output:?}");
        assert_eq!(fs::read_to_string(file("list.txt")).unwrap(), good);
    }
    let output = run(&["--yes", "--set", "exchagne"]);
    assert!(
        said(&output).contains("did you mean \"exchange\"?"),
        "{output:?}"
    );
}

/// Lists that are good by themselves, and with which the policy would not be.
#[test]
fn an_update_that_would_break_the_policy_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let second =
        "\n[[sets]]\nname = \"state\"\nclass = \"internet\"\nprefixes = [\"192.0.2.0/24\"]\n";
    fs::write(dir.path().join("policy.toml"), format!("{POLICY}{second}")).unwrap();
    fs::write(dir.path().join("source"), "192.0.2.0/24\n").unwrap();
    let output = zerorate(dir.path(), &["import", "--update", ".", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains("./policy.toml:20:13: error: 192.0.2.0/24 is in class \"internet\" here and in class \"exchange\" at ./list.txt:6:1"),
        "{said}"
    );
    assert!(
        said.contains("nothing was written: with these lists the policy would have errors"),
        "{said}"
    );
    assert!(!dir.path().join("list.txt").exists());
}

/// Names have a list of their own, which says of each address who led to it.
#[test]
fn names_are_learned_into_a_list_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let policy = POLICY.replace("format = \"text\"", "format = \"names\"\nkeep_days = 30");
    let policy = policy.replace("file =", "expect = [\"loopback\"]\nfile =");
    fs::write(dir.path().join("policy.toml"), policy).unwrap();
    fs::write(dir.path().join("source"), "localhost\n").unwrap();
    let run = || zerorate(dir.path(), &["import", "--update", ".", "--yes"]);
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let list = fs::read_to_string(dir.path().join("list.txt")).unwrap();
    assert!(
        list.contains("# Command: zerorate import names source --keep-days 30\n"),
        "{list}"
    );
    assert!(list.contains("\n# Learned: from names"), "{list}");
    assert!(list.contains("\n127.0.0.1 # localhost until 20"), "{list}");
    let checked = policy::load(dir.path()).unwrap();
    assert!(!checked.policy.sets[0].prefixes.is_empty());
    // A list that somebody is responsible for is not mixed with it.
    fs::write(dir.path().join("list.txt"), "192.0.2.0/24\n").unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("list.txt:1:1: error: this list was not learned from names"),
        "{output:?}"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("list.txt")).unwrap(),
        "192.0.2.0/24\n"
    );
}
