//! `zerorate diff`, run as people run it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const OLD: &str = r#"name = "old"
default_class = "internet"
[classes.internet]
rating_group = 1
[[sets]]
name = "chats"
class = "internet"
prefixes = ["8.8.4.0/24"]
[plans.small]
cycle = "14d"
[plans.small.buckets]
main = "1GB"
gone = "1GB"
balance = { price = "630 UZS/MB" }
[plans.small.charge]
"*" = ["main", "gone", "balance", "drop"]
[plans.other.charge]
"*" = "metered"
"#;

fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["old", "new"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("old/policy.toml"), OLD).unwrap();
    let new = OLD
        .replace("main = \"1GB\"", "main = \"3GB\"")
        .replace("gone", "gift")
        .replace("630", "700")
        .replace("8.8.4.0/24", "8.8.8.0/24");
    fs::write(dir.path().join("new/policy.toml"), new).unwrap();
    let list = "id,plan,state,addresses\na,small,active,10.0.0.1\nb,small,active,10.0.0.2\n";
    fs::write(dir.path().join("s.csv"), list).unwrap();
    dir
}

fn diff(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .arg("diff")
        .args(arguments)
        .current_dir(dir.path())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn it_says_what_becomes_of_prefixes_terms_and_buckets() {
    let dir = sample();
    assert_eq!(said(&diff(&dir, &["old", "old"])), "");
    assert_eq!(
        said(&diff(&dir, &["old", "new", "--subscribers", "s.csv"])),
        "1 prefix added to internet: 8.8.8.0/24\n\
         1 prefix removed from internet: 8.8.4.0/24\n\
         plan small: bucket gift added\n\
         plan small: bucket gone removed\n\
         plan small: bucket balance: 630 UZS/MB -> 700 UZS/MB\n\
         plan small: bucket main: 1GB -> 3GB\n\
         plan small: chain of internet: main, gone, balance, drop -> main, gift, balance, drop\n\
         plan small: bucket main of 2 subscribers keeps what is left, and is granted 3GB from the next cycle on\n\
         plan small: bucket gift of 2 subscribers is created: who has none yet is granted 1GB\n\
         plan small: bucket balance of 2 subscribers keeps its money, which buys other bytes at 700 UZS/MB\n\
         plan small: bucket gone of 2 subscribers goes: what is left in it stays with the subscriber, unused\n"
    );
}

#[test]
fn check_says_what_becomes_of_buckets() {
    let dir = sample();
    let output = Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(["check", "new", "--against", "old", "--subscribers", "s.csv"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let shown = said(&output);
    let buckets = shown.lines().filter(|line| line.starts_with("buckets"));
    assert_eq!(buckets.count(), 4, "{shown}");
    let one = "buckets      plan small: bucket gone of 2 subscribers goes";
    assert!(shown.contains(one), "{shown}");
}

#[test]
fn programs_read_it_line_by_line() {
    let dir = sample();
    let text = said(&diff(&dir, &["old", "new", "--format", "json"]));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "prefixes").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == "term").count(), 5);
    let unused = lines.iter().find(|line| line["what"] == "unused").unwrap();
    assert_eq!(
        (&unused["plan"], &unused["bucket"], &unused["subscribers"]),
        (&"small".into(), &"gone".into(), &Value::Null)
    );
}

#[test]
fn a_bad_policy_is_told_like_check_tells_it() {
    let dir = sample();
    fs::write(dir.path().join("new/policy.toml"), "name = \"x\"\n").unwrap();
    let output = diff(&dir, &["old", "new"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("new/policy.toml:1:1: error:"), "{text}");
}
