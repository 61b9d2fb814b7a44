//! Malformed sources, with everything that is said about them. `UPDATE_SNAPSHOTS=1` writes the messages instead of
//! comparing them: read what changed.

use std::env;
use std::fs;
use std::path::Path;

use zerorate::import::{Format, import};

use super::{FIXTURES, request};

/// Everything said about malformed sources.
#[test]
fn malformed_sources_say_what_is_wrong_where() {
    use Format::*;
    let mut said = String::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    let delegated = fs::read_to_string(Path::new(FIXTURES).join("delegated.txt")).unwrap();
    let cut = delegated.lines().take(9).collect::<Vec<_>>().join("\n");
    for (format, text) in [
        (Text, ""),
        (
            Text,
            "192.0.2.0/24\n192.0.2.1/24\n  egov.kz # a name\n192.0.2.9-192.0.2.1\n192.0.2.0/24 198.51.100.0/24\n",
        ),
        (Text, "<!DOCTYPE html><title>Not found</title>"),
        (Text, "192.0.2.0/24\n\u{1}\n"),
        (Delegated, cut.as_str()),
        (Delegated, "192.0.2.0/24\n"),
        (Delegated, "2|ripencc|1|0|1|1|+0\n"),
        (
            Delegated,
            "r|KZ|ipv4|192.0.2|256|20100811|allocated\nr|KZ|ipv4|192.0.2.0|0|20100811|allocated\nr|KZ|ipv4|255.255.255.0|257|20100811|allocated\n",
        ),
        (
            Delegated,
            "r|KZ|ipv6|2001:db8::1|32|20100811|allocated\nr|KZ|ipv6|2001:db8::|129|20100811|allocated\nr|KZ|ipv4|192.0.2.0|256|20100811|lent\n",
        ),
        (
            Table,
            "192.0.2.0/24\n192.0.2.0/24 ASX\n192.0.2.9,192.0.2.1,64500\n192.0.2.0/24,64500,\"open\n3221225984,3221226239,64500\n",
        ),
        (
            Table,
            "192.0.2.0,2001:db8::,64500\n192.0.2.0\t33\t64500\n192.0.2.0/33 64500\n",
        ),
        (Bgpq4, "NN = [\n    192.0.2.0/24,\n    198.51.100.0/24\n"),
        (Bgpq4, "ERROR:Unable to resolve whois.example\n"),
        (
            Bgpq4,
            "ip prefix-list NN permit 192.0.2.1/24\nip prefix-list NN permit 192.0.2.0/240\n",
        ),
        (
            Bgpq4,
            "{ \"NN\": [\n  { \"prefix\": \"192.0.2.0/24\" },\n  { \"prefix\": \"192.0.2.0/99\" }\n] }",
        ),
        (Bgpq4, "{ \"NN\": [\n  { \"prefix\": \"192.0.2.0/24\" },\n"),
        (
            Services,
            "{\"prefixes\": [{\"ip_prefix\": \"192.0.2.0/24\"}, {\"ip_prefix\": \"192.0.2.1/24\"}]}",
        ),
        (
            Services,
            "{\"prefixes\": [\n{\"address\": \"192.0.2.0/24\"}]}",
        ),
        (Services, "{\"values\": []"),
        (Services, "{\"data\": []}"),
        (Services, "192.0.2.0/24\n"),
        (
            Services,
            "{\"hooks\": [\"192.0.2.0/24\",\n \"192.0.2.0/24x\"]}",
        ),
        (Rsc, "/interface bridge\nadd name=bridge1\n"),
        (
            Rsc,
            "/ip firewall address-list\nadd list=tasix\nadd address=egov.kz list=tasix\nadd list=tasix \\\n    address=192.0.2.1/24\nadd list=\"tasix address=192.0.2.0/24\n",
        ),
        (
            Rsc,
            "/ip firewall address-list\nadd list=tasix address=192.0.2.0/24 \\\n",
        ),
        (Mrt, "this is no routing table"),
    ] {
        fs::write(&path, text).unwrap();
        let request = request(format, &["source"], &[]);
        let error = import(&request, dir.path(), None).unwrap_err().to_string();
        let error = error.replace(&format!("{}/", dir.path().display()), "");
        said += &format!("== {}: {text:?}\n{error}\n", format.name());
        for pair in error.lines().collect::<Vec<_>>().chunks(2) {
            assert!(pair[0].starts_with("source:"), "{error}");
            assert!(pair[1].starts_with("  help: "), "{error}");
        }
    }
    fs::write(&path, b"192.0.2.0/24\n# caf\xe9\n").unwrap();
    let missing = request(Text, &["source", "missing", "."], &[]);
    let error = import(&missing, dir.path(), None).unwrap_err().to_string();
    said += &error.replace(&format!("{}/", dir.path().display()), "");
    let snapshot = Path::new(FIXTURES).join("messages.txt");
    if env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::write(&snapshot, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(snapshot).unwrap_or_default());
}
