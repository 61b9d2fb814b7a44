//! What a change would do to real traffic: `replay --against` and `diff --usage`, run as people run them.

mod replay;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::shell::{succeeded as said, zerorate};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    let lines = said(output);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A copy of a policy of the repository in `to`, with other words in its policy file.
fn changed(policy: &str, to: &Path, changes: &[(&str, &str)]) {
    let from = root().join(policy);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_owned();
        fs::copy(&path, to.join(name)).unwrap();
    }
    let file = to.join("policy.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    for (was, is) in changes {
        assert!(text.contains(was), "{was}");
        text = text.replace(was, is);
    }
    fs::write(file, text).unwrap();
}
