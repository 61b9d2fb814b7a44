//! Malformed policies and subscriber files, each with everything that is said about it. A case is a
//! directory under `tests/malformed`; its `message.txt` is all that is said, errors and warnings.
//!
//! A case without a `policy.toml` of its own is about its `subscribers.csv`, checked against
//! `base.toml`. With `UPDATE_SNAPSHOTS=1` in the environment the messages are written instead of
//! compared: read what changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zerorate::diagnostic::Diagnostic;
use zerorate::{policy, subscribers};

/// Where the cases are, seen from the package's directory, in which cargo runs tests.
const CASES: &str = "tests/malformed";

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// Everything said about a case, with paths relative to its directory.
fn diagnose(case: &Path) -> String {
    let subscriber_file = case.join("subscribers.csv");
    let said = if case.join("policy.toml").exists() || !subscriber_file.exists() {
        match policy::load(case) {
            Ok(checked) => show(&checked.warnings),
            Err(diagnostics) => diagnostics.to_string(),
        }
    } else {
        let base = tempfile::tempdir().unwrap();
        fs::copy(
            Path::new(CASES).join("base.toml"),
            base.path().join("policy.toml"),
        )
        .unwrap();
        let checked = policy::load(base.path()).unwrap();
        assert_eq!(checked.warnings, [], "the base policy is free of warnings");
        match subscribers::load(&subscriber_file, &checked.policy) {
            Ok(loaded) => show(&loaded.warnings),
            Err(diagnostics) => diagnostics.to_string(),
        }
    };
    said.replace(&format!("{}/", case.display()), "") + "\n"
}

fn show(warnings: &[Diagnostic]) -> String {
    let lines: Vec<String> = warnings.iter().map(Diagnostic::to_string).collect();
    lines.join("\n")
}

#[test]
fn every_message_is_as_written() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for case in cases() {
        let said = diagnose(&case);
        let snapshot = case.join("message.txt");
        if update {
            fs::write(&snapshot, &said).unwrap();
        }
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        if said != expected {
            wrong.push(format!(
                "== {}\n-- expected\n{expected}-- said\n{said}",
                case.display()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ; UPDATE_SNAPSHOTS=1 rewrites them\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn there_are_enough_cases_and_each_says_something_of_its_own() {
    let messages: Vec<String> = cases().iter().map(|case| diagnose(case)).collect();
    assert!(messages.len() >= 200, "{} cases", messages.len());
    let different: BTreeSet<&String> = messages.iter().collect();
    assert_eq!(
        different.len(),
        messages.len(),
        "two cases have one message"
    );
}

/// `file:line:column: error: message`, then `  help: what to do`, and nothing else.
#[test]
fn every_message_has_its_form() {
    for case in cases() {
        let message = diagnose(&case);
        let lines: Vec<&str> = message.lines().collect();
        for pair in lines.chunks(2) {
            let [what, help] = pair else {
                panic!("{}: an odd number of lines", case.display());
            };
            let mut parts = what.splitn(4, ':');
            let file = parts.next().unwrap();
            assert!(
                ["toml", "txt", "csv"].iter().any(|end| file.ends_with(end)),
                "{what}"
            );
            for _ in 0..2 {
                let number: u32 = parts.next().unwrap().parse().unwrap();
                assert!(number > 0, "{what}");
            }
            let rest = parts.next().unwrap();
            assert!(
                rest.starts_with(" error: ") || rest.starts_with(" warning: "),
                "{what}"
            );
            assert!(help.starts_with("  help: ") && help.len() > 12, "{help}");
        }
    }
}
