//! `zerorate check`: what is right is summed up, what is wrong is shown with its place.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{POLICY, SUBSCRIBERS, sample, stderr, stdout, zerorate};

#[test]
fn check_sums_up_what_is_right() {
    let dir = sample();
    let output = zerorate(
        dir.path(),
        &["check", ".", "--subscribers", "subscribers.csv"],
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
    let shown = stdout(&output);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines
            .iter()
            .filter(|line| !line.starts_with("version"))
            .collect::<Vec<_>>(),
        [
            &"policy       sample",
            &"classes      3",
            &"sets         2",
            &"prefixes     2 IPv4, 0 IPv6",
            &"plans        2",
            &"subscribers  2",
            &"warnings     0",
        ]
    );
}

#[test]
fn check_refuses_a_bad_policy() {
    let dir = sample();
    fs::write(dir.path().join("portals.txt"), "203.0.113.9/24\n").unwrap();
    let output = zerorate(dir.path(), &["check", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).starts_with(
        "./portals.txt:1:1: error: 203.0.113.9/24 has host bits set; \
         the prefix is 203.0.113.0/24\n  help: "
    ));
}

#[test]
fn check_refuses_bad_subscribers() {
    let dir = sample();
    fs::write(
        dir.path().join("subscribers.csv"),
        SUBSCRIBERS.replace("192.0.2.2", "192.0.2.1"),
    )
    .unwrap();
    let output = zerorate(
        dir.path(),
        &["check", ".", "--subscribers", "subscribers.csv"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with(
        "subscribers.csv:3:20: error: 192.0.2.1/32 of subscriber \"bob\" overlaps \
         subscriber \"alice\" at subscribers.csv:2:20\n"
    ));
}

#[test]
fn check_passes_with_warnings() {
    let dir = sample();
    fs::write(
        dir.path().join("portals.txt"),
        "203.0.113.0/24\n10.0.0.0/8\n",
    )
    .unwrap();
    let output = zerorate(dir.path(), &["check", "."]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).starts_with("./portals.txt:2:1: warning: "));
    assert!(stdout(&output).ends_with("warnings     1\n"));
}

#[test]
fn check_shows_the_line_and_the_text_in_it() {
    let dir = sample();
    fs::write(
        dir.path().join("portals.txt"),
        "# a letter\n203.0.113.9/24 # x\n",
    )
    .unwrap();
    let output = zerorate(dir.path(), &["check", "."]);
    assert_eq!(
        stderr(&output),
        "./portals.txt:2:1: error: 203.0.113.9/24 has host bits set; the prefix is 203.0.113.0/24\n  \
         help: write 203.0.113.0/24, or 203.0.113.9 alone if the one address is meant\n   \
         ,-[./portals.txt:2:1]\n 2 | 203.0.113.9/24 # x\n   : ^^^^^^^|^^^^^^\n   :        `-- host-bits\n   `----\nerrors: 1, warnings: 0\n"
    );
}

#[test]
fn check_tells_programs_one_object_a_diagnostic() {
    let dir = sample();
    fs::write(
        dir.path().join("portals.txt"),
        "203.0.113.0/24\n10.0.0.0/8\n",
    )
    .unwrap();
    for (arguments, severity, code) in [
        (&["check", ".", "--format", "json"][..], "warning", 0),
        (&["check", ".", "--format", "json", "--strict"], "error", 1),
    ] {
        let output = zerorate(dir.path(), arguments);
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(code));
        let objects: Vec<Value> = stdout(&output)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            objects,
            [json!({
                "severity": severity,
                "code": "private",
                "file": "./portals.txt",
                "line": 2,
                "column": 1,
                "message": "set \"portals\": 10.0.0.0/8 is private address space",
                "help": "take it out, since nothing on the Internet has such addresses; if this is meant, add expect = [\"private\"] to the set",
            })]
        );
    }
    let clean = sample();
    let output = zerorate(
        clean.path(),
        &["check", ".", "--format", "json", "--strict"],
    );
    assert_eq!(
        (stdout(&output), output.status.code()),
        (String::new(), Some(0))
    );
}

/// Codes of the warnings, as programs are told them.
fn codes(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let fixed = ["check", ".", "--format", "json"];
    let output = zerorate(dir, &[&fixed[..], arguments].concat());
    let code = |line: &str| -> String {
        let object: Value = serde_json::from_str(line).unwrap();
        format!("{}:{}", object["code"].as_str().unwrap(), object["line"])
    };
    stdout(&output).lines().map(code).collect()
}

#[test]
fn plans_that_nobody_is_on_are_told_where_subscribers_are_known() {
    let dir = sample();
    fs::write(
        dir.path().join("s.csv"),
        "id,plan,state,addresses\na,basic,active,192.0.2.1\n",
    )
    .unwrap();
    assert_eq!(codes(dir.path(), &[]), [""; 0]);
    assert_eq!(
        codes(dir.path(), &["--subscribers", "s.csv"]),
        ["unused-plan:30"]
    );
    let expecting = POLICY.replace("suspension =", "expect = [\"unused-plan\"]\nsuspension =");
    fs::write(dir.path().join("policy.toml"), expecting).unwrap();
    assert_eq!(codes(dir.path(), &[]), [""; 0]);
    assert_eq!(codes(dir.path(), &["--subscribers", "s.csv"]), [""; 0]);
    assert_eq!(
        codes(dir.path(), &["--subscribers", "subscribers.csv"]),
        ["expect-unused:31"]
    );
}

#[test]
fn check_looks_at_another_time_and_at_another_list_of_hosting() {
    let dir = sample();
    assert_eq!(codes(dir.path(), &["--at", "2023-12-31"]), ["future:15"]);
    fs::write(dir.path().join("cdn.txt"), "203.0.113.128/25 Example CDN\n").unwrap();
    assert_eq!(
        codes(dir.path(), &["--hosting", "cdn.txt"]),
        ["hosting:20", "hosting:1"]
    );
    assert_eq!(
        codes(dir.path(), &["--hosting", "none.txt"]),
        ["unreadable:1"]
    );
}
