//! What editors and shells are given: the schema of `policy.toml`, files to begin with, completion, manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use zerorate::config::Config;
use zerorate::policy;

const SCHEMA: &str = "docs/policy.schema.json";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn zerorate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_schema_in_the_documents_is_the_one_of_the_types() {
    let printed = zerorate(&["schema"]);
    let path = root().join(SCHEMA);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::write(&path, &printed.stdout).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text(&printed.stdout),
        "{SCHEMA} is another one; to write it again: zerorate schema > {SCHEMA}"
    );
}

/// A TOML file as editors hand it to a schema: dates are text.
fn as_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(datetime) => json!(datetime.to_string()),
        toml::Value::Array(all) => all.into_iter().map(as_json).collect(),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| (key, as_json(value)));
            Value::Object(entries.collect())
        }
    }
}

/// What the schema finds wrong with the policy in a directory; `None` where its file is no TOML.
fn against_schema(dir: &Path) -> Option<Vec<String>> {
    let validator = jsonschema::draft7::new(&policy::schema()).unwrap();
    let text = fs::read_to_string(dir.join("policy.toml")).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let value = as_json(toml::Value::Table(toml::from_str(text).ok()?));
    let errors = validator.iter_errors(&value);
    Some(
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect(),
    )
}

fn policies_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.join("policy.toml").exists())
        .collect();
    found.sort();
    found
}

#[test]
fn a_policy_without_errors_validates_and_a_broken_one_does_not() {
    /// Errors that no other value can take away: a schema sees them.
    const OF_FORM: [&str; 20] = [
        "wrong-type",
        "missing-key",
        "unknown-key",
        "out-of-range",
        "bad-name",
        "bad-count",
        "bad-cycle",
        "bad-renew",
        "bad-settlement",
        "bad-overrun",
        "bad-suspension",
        "bad-age",
        "bad-checksum",
        "reserved-name",
        "empty-gate",
        "long-gate",
        "empty-chain",
        "too-many-buckets",
        "too-many-classes",
        "too-many-plans",
    ];
    /// To a schema a date is text, with quotes or without.
    const QUOTED_DATE: &str = "set-updated-string";
    let malformed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed");
    let mut dirs = policies_below(&root().join("policies"));
    dirs.extend(policies_below(&root().join("docs/example")));
    dirs.extend(policies_below(&malformed));
    let (mut good, mut broken, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for dir in dirs {
        let Some(found) = against_schema(&dir) else {
            continue;
        };
        match policy::load(&dir) {
            Ok(_) => {
                good += 1;
                if !found.is_empty() {
                    wrong.push(format!("{}: {}", dir.display(), found.join("; ")));
                }
            }
            Err(diagnostics) => {
                let codes = diagnostics.iter().map(|one| one.code);
                let codes: BTreeSet<&str> = codes.filter(|code| OF_FORM.contains(code)).collect();
                if !codes.is_empty() && found.is_empty() && !dir.ends_with(QUOTED_DATE) {
                    wrong.push(format!("{}: {codes:?} and not seen", dir.display()));
                }
                broken.extend(codes);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(good > 60, "{good} good policies");
    assert!(broken.len() > 12, "{broken:?}");
}

#[test]
fn what_new_writes_passes_every_check() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("etc/zero\"rate");
    let written = zerorate(&["new", to.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let policy = to.join("policy");
    let subscribers = to.join("subscribers.csv");
    let checked = zerorate(&[
        "check",
        policy.to_str().unwrap(),
        "--subscribers",
        subscribers.to_str().unwrap(),
        "--strict",
    ]);
    assert_eq!(text(&checked.stderr), "");
    assert!(checked.status.success());
    assert!(text(&checked.stdout).contains("subscribers  3"));
    assert_eq!(against_schema(&policy).unwrap(), [""; 0]);
    let config = Config::load(&to.join("zerorate.toml")).unwrap();
    assert_eq!(config.policy, policy.canonicalize().unwrap());
    assert_eq!(config.subscribers, subscribers.canonicalize().unwrap());
}

#[test]
fn new_overwrites_nothing_and_writes_nothing_beside_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("policy")).unwrap();
    // Not even a link that leads nowhere.
    std::os::unix::fs::symlink("nowhere", dir.path().join("policy/portals.txt")).unwrap();
    fs::write(dir.path().join("subscribers.csv"), "mine").unwrap();
    let refused = zerorate(&["new", dir.path().to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(
        said.contains("there already: subscribers.csv, policy/portals.txt"),
        "{said}"
    );
    let mine = fs::read_to_string(dir.path().join("subscribers.csv")).unwrap();
    assert_eq!(mine, "mine");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(dir.path().join("policy")).unwrap().count(), 1);
}

/// What bash offers behind a line that was begun.
fn offered(dir: &Path, line: &[&str]) -> BTreeSet<String> {
    let script = dir.join("zerorate.bash");
    fs::write(&script, zerorate(&["completion", "bash"]).stdout).unwrap();
    let words = line.join(" ");
    let last = line.len() - 1;
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!(
            "source {script} && COMP_WORDS=({words}) COMP_CWORD={last} && \
             _zerorate zerorate '{}' '{}' && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line[last],
            line[last - 1],
            script = script.display(),
        ))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let commands = offered(dir.path(), &["zerorate", "re"]);
    let expected = ["reconcile", "record", "replay"];
    assert_eq!(commands, expected.map(str::to_owned).into());
    let nested = offered(dir.path(), &["zerorate", "policy", "un"]);
    assert_eq!(nested, ["unschedule".to_owned()].into());
    let options = offered(dir.path(), &["zerorate", "replay", "--pc"]);
    assert_eq!(options, ["--pcap".to_owned()].into());
    let values = offered(dir.path(), &["zerorate", "replay", "--format", "j"]);
    assert_eq!(values, ["json".to_owned()].into());
}

#[test]
fn zsh_and_fish_have_a_script_that_knows_every_command() {
    for shell in ["zsh", "fish"] {
        let script = zerorate(&["completion", shell]);
        let words: BTreeSet<String> = commands()
            .into_iter()
            .flat_map(|(_, words)| words)
            .collect();
        for word in words {
            assert!(text(&script.stdout).contains(&word), "{shell}: {word}");
        }
    }
}

/// Commands, nested ones too, by the name of their page, and the words that lead to them.
fn commands() -> Vec<(String, Vec<String>)> {
    fn below(words: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = zerorate(&arguments);
        let listed = text(&help.stdout)
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            // What a command is for may go on in the next line, further in.
            let Some(name) = line
                .strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
            else {
                continue;
            };
            let name = name.split_whitespace().next().unwrap();
            if name == "help" {
                continue;
            }
            let words = [words, &[name.to_owned()]].concat();
            found.push((words.join("-"), words.clone()));
            below(&words, found);
        }
    }
    let mut found = Vec::new();
    below(&[], &mut found);
    assert!(found.len() > 40, "{found:?}");
    found
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("man1");
    let written = zerorate(&["man", "--dir", to.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let pages = fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let pages: BTreeSet<String> = pages.map(|name| name.into_string().unwrap()).collect();
    let commands = commands();
    let expected = commands
        .iter()
        .map(|(name, _)| format!("zerorate-{name}.1"));
    assert_eq!(pages, expected.chain(["zerorate.1".to_owned()]).collect());
    let page = fs::read_to_string(to.join("zerorate-policy-stage.1")).unwrap();
    for part in [".TH ", ".SH SYNOPSIS", "\\-\\-reason", "policy.toml"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
