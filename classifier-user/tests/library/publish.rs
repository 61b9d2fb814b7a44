//! `zerorate publish`, run as people run it: what the pages say in each language, that titles are text whatever they hold, and
//! what changed since the last publication.
//!
//! With `UPDATE_SNAPSHOTS=1` in the environment the pages in `tests/library/publish/pages` are written instead of compared: read what
//! changed.

mod escaping;
mod pages;
mod twice;

use std::fs;
use std::process::Output;

use tempfile::TempDir;

use crate::shell::{stderr as said, zerorate};

/// A policy in which most of what pages can say is said.
const POLICY: &str = include_str!("publish/policy.toml");

/// A directory `policy` with a policy in it.
fn sample(policy: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("policy")).unwrap();
    write(&dir, policy);
    dir
}

fn write(dir: &TempDir, policy: &str) {
    fs::write(dir.path().join("policy/policy.toml"), policy).unwrap();
}

/// Publishes the policy at a time into the directory `out`.
fn publish(dir: &TempDir, at: &str, more: &[&str]) -> Output {
    let common = [
        "publish",
        "policy",
        "--out",
        "out",
        "--timezone",
        "Asia/Tashkent",
    ];
    zerorate(dir.path(), &[&common[..], &["--at", at], more].concat())
}

fn page(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join("out").join(name)).unwrap()
}
