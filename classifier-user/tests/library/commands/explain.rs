//! `zerorate explain`: whose an address is, why, and who pays.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{sample, stderr, stdout, zerorate};

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
fn explain_answers_the_other_way_round() {
    let dir = sample();
    let lines = explain(
        dir.path(),
        &["--remote", "203.0.112.0/22", "--at", "2024-01-01"],
    );
    let [touched] = &lines[..] else {
        panic!("{lines:?}");
    };
    let sets = |of: &str| -> Vec<Value> {
        let found = touched[of].as_array().unwrap().iter();
        found.map(|found| found["set"].clone()).collect()
    };
    assert_eq!(sets("inside"), ["portals"]);
    assert_eq!(touched["covering"][0]["prefix"], "203.0.0.0/16");
    assert_eq!(touched["otherwise"], "exchange");
    let before = explain(
        dir.path(),
        &["--remote", "203.0.112.0/22", "--at", "2023-01-01"],
    );
    assert_eq!(before[0]["inactive"][0]["set"], "portals");
    assert_eq!(before[0]["inside"], json!([]));

    fs::write(
        dir.path().join("routes.txt"),
        "203.0.112.0/23 64500\n198.51.100.0/24 64500_64501\n203.0.115.0/24 64501\n",
    )
    .unwrap();
    let of_as = [
        "--asn",
        "64500",
        "--routes",
        "routes.txt",
        "--at",
        "2023-01-01",
    ];
    let lines = explain(dir.path(), &of_as);
    let [originated] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(
        (&originated["asn"], &originated["prefixes"]),
        (&json!("AS64500"), &json!(2))
    );
    let sets = originated["sets"].as_array().unwrap().iter();
    let sets: Vec<_> = sets
        .map(|set| (&set["set"], &set["in_force"], &set["space"]))
        .collect();
    let one = json!("256 IPv4 addresses (1 /24)");
    let two = json!("512 IPv4 addresses (2 /24s)");
    // Who announces a part of what a set lists, or all of it, is touched by it in that part.
    assert_eq!(
        sets,
        [
            (&json!("portals"), &json!(false), &one),
            (&json!("exchange"), &json!(true), &two),
        ]
    );
    assert_eq!(originated["otherwise_space"], one);

    let lines = explain(dir.path(), &["--set", "portals", "--at", "2023-01-01"]);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["prefixes"], json!(["203.0.113.0/24"]));
    assert_eq!(
        (&lines[0]["file"], &lines[0]["valid"]),
        (&json!("./portals.txt"), &json!(false))
    );
    let lines = explain(dir.path(), &["--class", "government", "--plan", "basic"]);
    assert_eq!(
        (&lines[0]["set"], &lines[1]["plan"]),
        (&json!("portals"), &json!("basic"))
    );
    for (arguments, expected) in [
        (["--set", "portal"], "did you mean \"portals\"?"),
        (["--class", "goverment"], "did you mean \"government\"?"),
        (["--remote", "203.0.113.7/24"], "203.0.113.0/24"),
        (["--record", "5"], "--ledger FILE"),
    ] {
        let place: &[&str] = if arguments[0] == "--record" {
            &[]
        } else {
            &["."]
        };
        let output = zerorate(dir.path(), &[&["explain"], place, &arguments[..]].concat());
        assert!(!output.status.success());
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
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
