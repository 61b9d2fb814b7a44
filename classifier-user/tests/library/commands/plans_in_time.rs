//! Plans that begin, end and are closed: what `check`, `explain`, `diff` and `replay` say of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{POLICY, sample, stderr, stdout, zerorate};

/// The sample's plan `basic` ends with 2026, and `open` follows, which takes nobody new.
fn ending() -> String {
    let end = "valid_until = 2027-01-01T00:00:00+05:00\nsuccessor = \"open\"";
    POLICY
        .replace("[plans.basic]\n", &format!("[plans.basic]\n{end}\n"))
        .replace("[\"unreachable\"]", "[\"unreachable\", \"expired\"]")
        .replace("[plans.open]\n", "[plans.open]\nclosed = true\n")
}

fn write(dir: &tempfile::TempDir, policy: &str) {
    fs::write(dir.path().join("policy.toml"), policy).unwrap();
}

#[test]
fn check_says_who_is_listed_on_a_plan_that_has_ended() {
    let dir = sample();
    write(&dir, &ending());
    let check = ["check", ".", "--subscribers", "subscribers.csv", "--at"];
    let before = zerorate(
        dir.path(),
        &[&check[..], &["2026-12-31T23:59:59+05:00"]].concat(),
    );
    assert_eq!(stderr(&before), "");
    let after = zerorate(
        dir.path(),
        &[&check[..], &["2027-01-01T00:00:00+05:00"]].concat(),
    );
    assert_eq!(after.status.code(), Some(0));
    assert!(
        stderr(&after).starts_with(
            "subscribers.csv:2:1: warning: subscriber \"alice\": plan \"basic\" has ended at 2026-12-31T19:00:00Z, and \
             its successor \"open\" holds\n  help: write open in place of basic\n"
        ),
        "{}",
        stderr(&after)
    );
}

#[test]
fn check_refuses_subscribers_on_a_plan_that_is_to_begin() {
    let dir = sample();
    let begin = "[plans.basic]\nvalid_from = 2027-01-01T00:00:00+05:00\n";
    let policy = POLICY
        .replace("[plans.basic]\n", begin)
        .replace("[\"unreachable\"]", "[\"unreachable\", \"future\"]");
    write(&dir, &policy);
    let check = ["check", ".", "--subscribers", "subscribers.csv", "--at"];
    let early = zerorate(dir.path(), &[&check[..], &["2026-11-01"]].concat());
    assert_eq!(early.status.code(), Some(1));
    assert!(
        stderr(&early).starts_with(
            "subscribers.csv:2:1: error: subscriber \"alice\": plan \"basic\" begins at 2026-12-31T19:00:00Z\n  help: have \
             it put on the plan then: zerorate subscriber plan ID basic --at 2026-12-31T19:00:00Z\n"
        ),
        "{}",
        stderr(&early)
    );
    let then = zerorate(dir.path(), &[&check[..], &["2027-01-01"]].concat());
    assert_eq!(then.status.code(), Some(0), "{}", stderr(&then));
}

#[test]
fn explain_says_when_a_plan_holds_and_what_follows() {
    let dir = sample();
    write(&dir, &ending());
    let ask = |at, format| {
        let remote = [
            "explain",
            ".",
            "--remote",
            "198.51.100.1",
            "--plan",
            "basic",
        ];
        let output = zerorate(
            dir.path(),
            &[&remote[..], &["--at", at, "--format", format]].concat(),
        );
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let before = ask("2026-12-01", "table");
    assert!(
        before.contains("\nvalid until    2026-12-31T19:00:00Z, then open\n"),
        "{before}"
    );
    assert!(!before.contains("it has ended"), "{before}");
    let after = ask("2027-01-01", "table");
    assert!(
        after.contains("it has ended: who was on it is on open\n"),
        "{after}"
    );
    let line = ask("2027-01-01", "json");
    let charge: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(charge["valid_until"], "2026-12-31T19:00:00Z");
    assert_eq!(charge["followed_by"], "open");
    assert_eq!(charge["closed"], Value::Null, "said of open only");
}

#[test]
fn diff_says_what_becomes_of_plans() {
    let dir = sample();
    let new = dir.path().join("new");
    fs::create_dir(&new).unwrap();
    fs::copy(dir.path().join("portals.txt"), new.join("portals.txt")).unwrap();
    fs::write(new.join("policy.toml"), ending()).unwrap();
    let said = stdout(&zerorate(dir.path(), &["diff", ".", "new"]));
    let expected = [
        "plan basic: valid: always -> until 2026-12-31T19:00:00Z",
        "plan basic: successor: none -> open",
        "plan open: closed: false -> true",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn replay_puts_each_packet_under_the_plan_of_its_time() {
    // Six packets of 1,000 bytes, one a second, from 2023-11-14T22:13:20Z on; the plan ends with the third.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example");
    let policy = fs::read_to_string(example.join("policy/policy.toml")).unwrap();
    let end = "[plans.small]\nvalid_until = 2023-11-14T22:13:23Z\nsuccessor = \"open\"\nexpect = [\"expired\"]";
    let open = "[plans.open.charge]\n\"*\" = \"metered\"\n[plans.open]\nexpect = [\"metered-in-advance\"]\n";
    let dir = sample();
    write(
        &dir,
        &format!("{}\n{open}", policy.replace("[plans.small]", end)),
    );
    let [subscribers, capture] = ["subscribers.csv", "chat.pcap"].map(|name| example.join(name));
    let output = zerorate(
        dir.path(),
        &[
            "replay",
            "--policy",
            ".",
            "--subscribers",
            subscribers.to_str().unwrap(),
            "--pcap",
            capture.to_str().unwrap(),
            "--format",
            "json",
        ],
    );
    let lines = stdout(&output);
    let usage: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "usage")
        .map(|line| {
            let name = |name: &str| line[name].as_str().unwrap().to_owned();
            (
                name("plan"),
                name("charged"),
                line["bytes_down"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [("open", "metered", 3_000), ("small", "messengers", 3_000)];
    let expected =
        expected.map(|(plan, charged, bytes)| (plan.to_owned(), charged.to_owned(), bytes));
    let mut sorted = usage;
    sorted.sort();
    assert_eq!(sorted, expected, "{}", stderr(&output));
}
