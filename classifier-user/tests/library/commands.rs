//! Commands that read policies, run as people run them.

mod check;
mod explain;
mod plans_in_time;
mod progress;

use std::fs;

use tempfile::TempDir;

use crate::shell::{stderr, stdout, zerorate};

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
