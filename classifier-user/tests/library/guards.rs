//! What a reload may not do, in the words an admin reads.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use zerorate::policy;

/// Writes the policy: what stands before the tables, what stands in the set, and the list.
fn write(dir: &Path, head: &str, set: &str, list: &str) {
    let toml = format!(
        "name = \"x\"\ndefault_class = \"internet\"\n{head}\n[classes.internet]\nrating_group = 1\n\
         [classes.state]\nrating_group = 2\n[[sets]]\nname = \"portals\"\nclass = \"state\"\nfile = \"l.txt\"\n{set}\n\
         [plans.basic.charge]\nstate = \"free\"\n\"*\" = \"metered\"\n"
    );
    fs::write(dir.join("policy.toml"), toml).unwrap();
    fs::write(dir.join("l.txt"), list).unwrap();
}

/// What going from one list to another goes beyond, with the guards of the second.
fn guarded(old: &str, head: &str, set: &str, new: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let load = |head, set, list| {
        write(dir.path(), head, set, list);
        policy::load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (old, new) = (load("", "", old), load(head, set, new));
    policy::breaches(&old.policy, &new.policy, Timestamp::now())
        .iter()
        .map(|breach| {
            breach
                .to_string()
                .replace(&format!("{}/", dir.path().display()), "")
        })
        .collect()
}

#[test]
fn a_list_that_came_empty_or_cut_short_is_refused_without_any_guard_declared() {
    let list = "8.8.8.0/24\n8.8.9.0/24\n# end\n";
    assert_eq!(
        guarded(list, "", "", ""),
        [
            "set \"portals\": l.txt looks cut short: its last line is not # end, and was",
            "set \"portals\" is empty, and had 2 prefixes; a set that may be says expect = [\"empty\"]",
        ]
    );
    assert_eq!(
        guarded(list, "", "", "8.8.8.0/24\n8.8.9.0/24\n"),
        ["set \"portals\": l.txt looks cut short: its last line is not # end, and was"]
    );
}

#[test]
fn a_last_line_without_its_end_is_refused() {
    assert_eq!(
        guarded(
            "8.8.8.0/24\n8.8.9.128/25\n",
            "",
            "",
            "8.8.8.0/24\n8.8.9.128"
        ),
        ["set \"portals\": l.txt looks cut short: its last line has no end, and had one"]
    );
    // One that never had it says nothing by not having it.
    assert_eq!(guarded("8.8.8.0/24", "", "", "8.8.9.0/24"), [""; 0]);
}

#[test]
fn a_set_that_may_be_empty_may() {
    assert_eq!(
        guarded("8.8.8.0/24\n", "", "expect = [\"empty\"]", ""),
        [""; 0]
    );
}

#[test]
fn the_numbers_are_said_of_the_set_and_of_what_is_free() {
    assert_eq!(
        guarded(
            "8.8.0.0/22\n",
            "max_change = \"20%\"",
            "",
            "8.8.0.0/22\n8.9.0.0/24\n"
        ),
        [
            "set \"portals\" grows by 25.0%: 256 IPv4 addresses (1 /24) of 1,024 IPv4 addresses (4 /24s); \
             max_change is 20%",
            "what plan \"basic\" has free grows by 25.0%: 256 IPv4 addresses (1 /24) of 1,024 IPv4 addresses \
             (4 /24s); max_change is 20%",
        ]
    );
    // A set goes before the policy.
    assert_eq!(
        guarded(
            "8.8.0.0/22\n",
            "max_change = \"25%\"",
            "max_change = \"10%\"",
            "8.8.0.0/22\n8.9.0.0/24\n"
        )
        .len(),
        1
    );
    // A list of other addresses is no smaller and no larger.
    assert_eq!(
        guarded(
            "8.8.0.0/22\n",
            "",
            "max_change = \"99.99%\"",
            "8.9.0.0/22\n"
        )
        .len(),
        2
    );
    assert_eq!(
        guarded(
            "8.8.0.0/22\n",
            "",
            "max_change = \"0.5%\"",
            "8.8.0.0/22\n2a00::/32\n"
        ),
        ["set \"portals\" grows by IPv6 of 65,536 /48s from no IPv6 at all; max_change is 0.5%"]
    );
}

#[test]
fn too_few_prefixes_are_told_when_they_become_too_few() {
    let old = "8.8.0.0/24\n8.8.1.0/24\n8.8.2.0/24\n";
    assert_eq!(
        guarded(old, "min_prefixes = 3", "", "8.8.0.0/24\n8.8.1.0/24\n"),
        ["set \"portals\" has 2 prefixes, and had 3; min_prefixes is 3"]
    );
    assert_eq!(guarded(old, "min_prefixes = 4", "", old), [""; 0]);
    assert_eq!(
        guarded(old, "min_prefixes = 3", "min_prefixes = 1", "8.8.0.0/24\n"),
        [""; 0]
    );
}
