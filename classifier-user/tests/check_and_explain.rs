//! `zerorate check` and `zerorate explain`, run as people run them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"name = "sample"
default_class = "internet"
[classes.internet]
rating_group = 1
[classes.government]
rating_group = 10
essential = true
[classes.exchange]
rating_group = 20
[[sets]]
name = "portals"
class = "government"
source = "the ministry's list"
file = "portals.txt"
valid_from = 2024-01-01T00:00:00Z
expect = ["documentation"]
[[sets]]
name = "exchange"
class = "exchange"
prefixes = ["203.0.0.0/16"]
expect = ["documentation"]
[plans.basic]
gate = ["main"]
expect = ["unreachable"]
[plans.basic.buckets]
main = "3GB"
[plans.basic.charge]
exchange = ["main", "metered"]
"*" = ["main", "drop"]
[plans.open]
suspension = "ignore"
[plans.open.charge]
"*" = "metered"
"#;

const SUBSCRIBERS: &str =
    "id,plan,state,addresses\nalice,basic,active,192.0.2.1\nbob,open,suspended,192.0.2.2\n";

fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    fs::write(dir.path().join("portals.txt"), "203.0.113.0/24\n").unwrap();
    fs::write(dir.path().join("subscribers.csv"), SUBSCRIBERS).unwrap();
    dir
}

/// Runs `zerorate` in `dir`, so that the paths it prints are the same everywhere.
fn zerorate(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

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
                "help": "if this is meant, add expect = [\"private\"] to the set",
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

fn explain(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let fixed = ["explain", ".", "--format", "json"];
    let output = zerorate(dir, &[&fixed[..], arguments].concat());
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
    stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn explain_says_why_and_who_pays() {
    let dir = sample();
    let lines = explain(
        dir.path(),
        &["--remote", "203.0.113.7", "--at", "2024-01-01"],
    );
    assert_eq!(lines.len(), 3);
    let answer = &lines[0];
    assert_eq!(answer["kind"], "explain");
    assert_eq!(answer["at"], "2024-01-01T00:00:00Z");
    assert_eq!(answer["class"], "government");
    assert_eq!(answer["rating_group"], 10);
    assert_eq!(answer["essential"], true);
    assert_eq!(
        answer["match"],
        json!({
            "prefix": "203.0.113.0/24", "set": "portals", "class": "government",
            "source": "the ministry's list",
            "file": "./portals.txt", "line": 1, "column": 1,
            "valid_from": "2024-01-01T00:00:00Z", "valid_until": null,
        })
    );
    assert_eq!(answer["shadowed"][0]["prefix"], "203.0.0.0/16");
    assert_eq!(answer["shadowed"][0]["class"], "exchange");
    assert_eq!(answer["inactive"], json!([]));
    // An essential class is free where the chain or the gate would drop it, and reachable for
    // suspended subscribers.
    assert_eq!(
        lines[1],
        json!({
            "kind": "charge", "plan": "basic", "class": "government", "chain": ["main", "drop"],
            "gate": ["main"], "count": "both", "when_suspended": "pass",
        })
    );
    assert_eq!(lines[2]["plan"], "open");
}

#[test]
fn explain_answers_for_any_time_and_one_plan() {
    let dir = sample();
    let arguments = [
        "--remote",
        "203.0.113.7",
        "--plan",
        "basic",
        "--at",
        "2024-01-01T04:59:59+05:00",
    ];
    let lines = explain(dir.path(), &arguments);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["class"], "exchange");
    assert_eq!(lines[0]["shadowed"], json!([]));
    assert_eq!(lines[0]["inactive"][0]["set"], "portals");
    assert_eq!(lines[1]["chain"], json!(["main", "metered"]));
    assert_eq!(lines[1]["gate"], json!(["main"]));
    assert_eq!(lines[1]["when_suspended"], "drop");
}

#[test]
fn explain_falls_back_to_the_default_class() {
    let dir = sample();
    let lines = explain(dir.path(), &["--remote", "2001:db8::1", "--plan", "open"]);
    assert_eq!(lines[0]["class"], "internet");
    assert_eq!(lines[0]["match"], Value::Null);
    assert_eq!(lines[1]["when_suspended"], "pass");
}

#[test]
fn explain_shows_a_table() {
    let dir = sample();
    let arguments = [
        "explain",
        ".",
        "--remote",
        "203.0.113.7",
        "--plan",
        "basic",
        "--at",
        "2023-06-01",
    ];
    let output = zerorate(dir.path(), &arguments);
    let shown = stdout(&output);
    let without_version: Vec<&str> = shown
        .lines()
        .filter(|line| !line.starts_with("policy"))
        .collect();
    assert_eq!(
        without_version.join("\n"),
        "remote         203.0.113.7\n\
         at             2023-06-01T00:00:00Z\n\
         class          exchange (rating group 20)\n\
         set            exchange\n\
         source         not given\n\
         prefix         203.0.0.0/16\n\
         listed at      ./policy.toml:20:13\n\
         valid          always\n\
         not in force   203.0.113.0/24 government (set portals, ./portals.txt:1:1), \
         valid from 2024-01-01T00:00:00Z\n\
         \n\
         plan           basic\n\
         chain          main > metered\n\
         gate           dropped if all are empty: main\n\
         draws down     both\n\
         suspended      drop"
    );
}

#[test]
fn explain_refuses_what_it_does_not_know() {
    let dir = sample();
    let output = zerorate(
        dir.path(),
        &["explain", ".", "--remote", "203.0.113.7", "--plan", "bsaic"],
    );
    assert!(!output.status.success());
    assert!(stderr(&output).contains("did you mean \"basic\"?"));
    let output = zerorate(
        dir.path(),
        &[
            "explain",
            ".",
            "--remote",
            "203.0.113.7",
            "--at",
            "2024-01-01T00:00",
        ],
    );
    assert!(!output.status.success());
    assert!(stderr(&output).contains("write a time with its offset"));
}
