//! `zerorate diff --usage`: a change, weighed with flows and with a ledger's records.

use std::fs;

use tempfile::TempDir;
use zerorate::ledger::Reader;
use zerorate::ledger::usage::{AnyRecord, Which};

use super::*;
use crate::agent::{Agent, World};

const OLD: &str = r#"name = "p"
default_class = "internet"
[classes.internet]
rating_group = 1
[classes.chat]
rating_group = 3
[[sets]]
name = "chats"
class = "chat"
prefixes = ["8.8.4.0/24", "9.9.9.0/24"]
[plans.small.buckets]
main = "1GB"
balance = { price = "2 KZT/MB" }
[plans.small.charge]
chat = ["main", "drop"]
"*" = ["main", "balance", "drop"]
[plans.open.charge]
"*" = "metered"
"#;

const FLOWS: &str = "day,subscriber,remote,bytes,port\n\
    2026-11-01,ann,8.8.4.4,1000,443\n\
    2026-11-01,ann,8.8.8.8,200,443\n\
    2026-11-02,ann,8.8.4.9,3000,80\n\
    2026-11-02,bob,8.8.4.4,40,443\n\
    2026-11-02,eve,2001:db8::1,5,443\n\
    2026-11-02,nobody,8.8.4.4,7,443\n";

const SUBSCRIBERS: &str = "id,plan,state,addresses\nann,small,active,10.0.0.1\n\
    bob,small,suspended,10.0.0.2\neve,open,active,10.0.0.3\n";

/// The two policies, the new one with other words, subscribers and flows.
fn sample(changes: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut new = OLD.to_owned();
    for (was, is) in changes {
        assert!(new.contains(was), "{was}");
        new = new.replace(was, is);
    }
    for (name, text) in [("old", OLD), ("new", &new)] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("policy.toml"), text).unwrap();
    }
    fs::write(dir.path().join("s.csv"), SUBSCRIBERS).unwrap();
    fs::write(dir.path().join("flows.csv"), FLOWS).unwrap();
    dir
}

fn usage_rows(output: &Output) -> Vec<Value> {
    let mut rows = rows(output);
    rows.retain(|row| row["kind"].as_str().unwrap().starts_with("usage"));
    rows
}

const OF_FLOWS: [&str; 6] = ["diff", "old", "new", "--subscribers", "s.csv", "--usage"];

fn flows(dir: &TempDir, more: &[&str]) -> Output {
    zerorate(dir.path(), &[&OF_FLOWS, &["flows.csv"][..], more].concat())
}

#[test]
fn flows_to_addresses_that_move_to_another_class_change_price_and_no_others_do() {
    let dir = sample(&[("\"8.8.4.0/24\", ", "")]);
    let output = flows(&dir, &["--format", "json"]);
    let rows = usage_rows(&output);
    assert_eq!(rows.len(), 3, "{rows:?}");
    // Who is suspended is dropped before and after; only what billing calls it is another thing.
    assert_eq!(rows[0]["was"], "dropped: suspended (rating group 3)");
    assert_eq!(rows[0]["bytes"], 40);
    assert_eq!(rows[1]["was"], "main > drop (rating group 3)");
    assert_eq!(
        rows[1]["is"],
        "main > balance at 2 KZT/MB > drop (rating group 1)"
    );
    for (key, value) in [("bytes", 4000), ("bytes_a_day", 2000), ("subscribers", 1)] {
        assert_eq!(rows[1][key], value, "{key}");
    }
    let all = &rows[2];
    for (key, value) in [
        ("bytes", 4245),
        ("changed_bytes_least", 4040),
        ("changed_bytes_most", 4040),
        ("subscribers_most", 2),
        ("left_out_bytes", 7),
    ] {
        assert_eq!(all[key], value, "{key}");
    }
    let text = said(&flows(&dir, &[]));
    assert!(
        text.contains(
            "usage: 2,020 of 2,123 bytes a day change price, of 2 subscribers (2 days of traffic)"
        ),
        "{text}"
    );
    assert!(
        text.contains("usage: left out: 7 bytes of who is not in the file of subscribers"),
        "{text}"
    );
}

#[test]
fn a_price_that_changes_alone_is_weighed_too_and_what_stays_weighs_nothing() {
    let dir = sample(&[("2 KZT/MB", "3 KZT/MB")]);
    let rows = usage_rows(&flows(&dir, &["--format", "json"]));
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["bytes"], 200);
    let same = sample(&[]);
    let text = said(&flows(&same, &[]));
    assert!(
        text.contains("usage: 0 of 2,123 bytes a day change price, of 0 subscribers"),
        "{text}"
    );
}

#[test]
fn a_file_that_says_no_usage_is_refused_at_its_line() {
    let dir = sample(&[]);
    for (text, expected) in [
        ("subscriber,bytes\n", "flows.csv:1: no column remote"),
        (
            "subscriber,remote,bytes\nann,8.8.8.8,1\nann,host,1\n",
            "flows.csv:3: \"host\" is no address",
        ),
        (
            "subscriber,remote,bytes\nann,8.8.8.8,-1\n",
            "flows.csv:2: \"-1\" is no number of bytes",
        ),
        (
            "subscriber,remote,bytes,day\nann,8.8.8.8,1,may\n",
            "flows.csv:2: \"may\" is no day",
        ),
        ("subscriber,remote,bytes\nann,8.8.8.8\n", "flows.csv"),
    ] {
        fs::write(dir.path().join("flows.csv"), text).unwrap();
        let said = refused(&flows(&dir, &[]));
        assert!(said.contains(expected), "{said}");
    }
    fs::write(dir.path().join("flows.csv"), FLOWS).unwrap();
    assert!(refused(&flows(&dir, &["--days", "3"])).contains("leave --days out"));
    let output = zerorate(dir.path(), &["diff", "old", "new", "--usage", "flows.csv"]);
    assert!(refused(&output).contains("needs --subscribers"));
}

/// A ledger, and what its usage records come to of what was not dropped.
fn ledger(dir: &TempDir) -> u64 {
    let path = dir.path().join("ledger.db");
    let mut agent = Agent {
        path: path.clone(),
        open: None,
    };
    let world = World::new();
    let mut step = 0;
    while agent.step(&world, step).unwrap() {
        step += 1;
    }
    drop(agent);
    let records = Reader::open(&path).unwrap().all_records(Which {
        kind: Some("usage"),
        limit: 10_000,
        ..Which::default()
    });
    let bytes = records.unwrap().into_iter().map(|record| match record {
        AnyRecord::Usage(usage) if usage.charged != "dropped" => usage.bytes_up + usage.bytes_down,
        _ => 0,
    });
    bytes.sum()
}

/// The plan and class of the ledger's records, and another class.
const OF_LEDGER: &str = r#"name = "p"
default_class = "net"
[classes.net]
rating_group = 1
[classes.chat]
rating_group = 3
[[sets]]
name = "chats"
class = "chat"
prefixes = ["8.8.4.0/24"]
[plans.a.buckets]
main = "1kB"
[plans.a.charge]
chat = "free"
"*" = ["main", "metered"]
"#;

#[test]
fn records_bound_what_a_change_of_addresses_weighs_and_are_exact_about_terms() {
    let dir = sample(&[]);
    let all = ledger(&dir);
    assert!(all > 0);
    fs::write(dir.path().join("old/policy.toml"), OF_LEDGER).unwrap();
    let weigh = |new: String| {
        fs::write(dir.path().join("new/policy.toml"), new).unwrap();
        let to = [
            "diff",
            "old",
            "new",
            "--usage",
            "ledger.db",
            "--at",
            "1970-01-20",
            "--days",
            "30",
            "--format",
            "json",
        ];
        usage_rows(&zerorate(dir.path(), &to)).pop().unwrap()
    };
    for (new, least, most) in [
        (OF_LEDGER.to_owned(), 0, 0),
        (OF_LEDGER.replace("8.8.4.0/24", "8.8.0.0/16"), 0, all),
        // Fewer free addresses: what was charged stays charged.
        (OF_LEDGER.replace("8.8.4.0/24", "8.8.4.0/25"), 0, 0),
        (OF_LEDGER.replace("\"metered\"]", "\"drop\"]"), all, all),
        (
            OF_LEDGER
                .replace("\"metered\"]", "\"drop\"]")
                .replace("8.8.4.0/24", "8.8.0.0/16"),
            all,
            all,
        ),
    ] {
        let told = weigh(new.clone());
        assert_eq!(told["bytes"], all);
        assert_eq!(told["changed_bytes_least"], least, "{new}");
        assert_eq!(told["changed_bytes_most"], most, "{new}");
    }
    let nothing = zerorate(
        dir.path(),
        &[
            "diff",
            "old",
            "new",
            "--usage",
            "ledger.db",
            "--at",
            "1980-01-01",
        ],
    );
    assert!(refused(&nothing).contains("no usage was recorded from 1979-12-25"));
}
