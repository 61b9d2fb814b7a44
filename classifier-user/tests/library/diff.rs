//! `zerorate diff`, run as people run it.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::shell::succeeded as said;

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

/// What is printed where the guards would refuse the reload.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
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
         set chats: prefixes 1 added, 1 removed: 8.8.4.0/24, 8.8.8.0/24\n\
         plan small: is paid for otherwise: 4,294,967,296 IPv4 addresses (16,777,216 /24s), IPv6 of \
         281,474,976,710,656 /48s\n\
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

#[test]
fn every_prefix_is_told_where_it_is_asked() {
    let dir = sample();
    let text = said(&diff(&dir, &["old", "new", "--prefixes"]));
    assert!(
        text.ends_with("- chats 8.8.4.0/24\n+ chats 8.8.8.0/24\n"),
        "{text}"
    );
    let text = said(&diff(
        &dir,
        &["old", "new", "--prefixes", "--format", "json"],
    ));
    let last = text.lines().last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    let expected =
        serde_json::json!({"kind": "prefix", "prefix": "8.8.8.0/24", "from": null, "to": "chats"});
    assert_eq!(last, expected);
}

#[test]
fn what_becomes_free_is_weighed_and_guarded() {
    let dir = sample();
    let free = |net: &str| {
        OLD.replace(
            "default_class = \"internet\"",
            "default_class = \"internet\"\nmax_change = \"20%\"",
        )
        .replace("[[sets]]", "[classes.chats]\nrating_group = 2\n[[sets]]")
        .replace(
            "class = \"internet\"\nprefixes",
            "class = \"chats\"\nprefixes",
        )
        .replace("8.8.4.0/24", net)
        .replace(
            "[plans.other.charge]",
            "[plans.other.charge]\nchats = \"free\"",
        )
    };
    fs::write(dir.path().join("old/policy.toml"), free("8.8.4.0/24")).unwrap();
    fs::write(dir.path().join("new/policy.toml"), free("8.8.4.0/23")).unwrap();
    let text = refused(&diff(&dir, &["old", "new"]));
    assert_eq!(
        text,
        "1 prefix added to chats: 8.8.4.0/23\n\
         1 prefix removed from chats: 8.8.4.0/24\n\
         set chats: prefixes 1 added, 1 removed: 8.8.4.0/23, 8.8.4.0/24\n\
         address space from internet to chats: 256 IPv4 addresses (1 /24)\n\
         plan other: becomes free: 256 IPv4 addresses (1 /24)\n\
         a reload is refused without --force: set \"chats\" grows by 100.0%: 256 IPv4 addresses (1 /24) of \
         256 IPv4 addresses (1 /24); max_change is 20%\n\
         a reload is refused without --force: what plan \"other\" has free grows by 100.0%: 256 IPv4 addresses \
         (1 /24) of 256 IPv4 addresses (1 /24); max_change is 20%\n"
    );
    let text = refused(&diff(&dir, &["old", "new", "--format", "json"]));
    let line = text
        .lines()
        .find(|line| line.contains("\"becomes\":\"free\""))
        .unwrap();
    let plan: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        plan,
        serde_json::json!({
            "kind": "plan", "plan": "other", "becomes": "free",
            "ipv4_addresses": 256, "ipv4_24s": 1.0, "ipv6_48s": 0.0,
        })
    );
}
