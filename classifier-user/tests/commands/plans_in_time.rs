//! Plans that begin, end and are closed: what `check`, `explain`, `diff` and `replay` say of them.

use std::fs;

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
    for file in ["portals.txt"] {
        fs::copy(dir.path().join(file), new.join(file)).unwrap();
    }
    fs::write(new.join("policy.toml"), ending()).unwrap();
    let said = stdout(&zerorate(dir.path(), &["diff", ".", "new"]));
    let expected = [
        "plan basic: valid: always -> until 2026-12-31T19:00:00Z",
        "plan basic: successor: none -> open",
        "plan open: closed: false -> true",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
