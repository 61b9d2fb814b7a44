//! The documents say what is: every key of the example configuration is one the agent reads, with its
//! default; every command they show exists, and prints what they show; every link leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use zerorate::config::Config;

const EXAMPLE: &str = "docs/zerorate.toml";
/// What the file of defaults cannot leave out.
const REQUIRED: &str = r#"
node = "gw-1"
policy = "/etc/zerorate/policy"
subscribers = "/etc/zerorate/subscribers.csv"
[[interface]]
name = "access0"
role = "access"
[[interface]]
name = "core0"
role = "core"
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The documents people read, by their place in the repository.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = read(&name);
            (name, text)
        })
        .collect()
}

fn load(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zerorate.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|wrong| wrong.to_string())
}

/// A line that is a setting with a `#` before it, and not a sentence.
fn setting(line: &str) -> Option<&str> {
    let setting = line.strip_prefix('#')?;
    setting
        .starts_with(|first: char| first.is_ascii_lowercase())
        .then_some(setting)
}

#[test]
fn the_settings_of_the_example_are_the_defaults() {
    let example = read(EXAMPLE);
    let whole: Vec<&str> = example
        .lines()
        .map(|line| setting(line).unwrap_or(line))
        .collect();
    let settings = example.lines().filter(|line| setting(line).is_some());
    assert!(settings.count() > 10, "the example shows no defaults");
    let [bare, commented, whole] =
        [REQUIRED, &example, &whole.join("\n")].map(|text| format!("{:?}", load(text).unwrap()));
    assert_eq!(bare, commented);
    assert_eq!(bare, whole);
}

#[test]
fn the_example_has_every_key() {
    let example = read(EXAMPLE);
    for section in [
        "",
        "[[interface]]",
        "[limits]",
        "[records]",
        "[trust]",
        "[events]",
        "[api]",
        "[api.limits]",
    ] {
        let begin = example.find(section).unwrap() + section.len();
        let (before, after) = example.split_at(begin);
        let wrong = load(&format!("{before}\nnonesuch = 1\n{after}")).unwrap_err();
        let known = wrong.split("expected").nth(1).unwrap();
        let known = known.lines().next().unwrap().split('`').skip(1).step_by(2);
        let shown = &after[..after.find("\n[").map_or(after.len(), |end| end + 1)];
        for key in known {
            let found = shown.lines().any(|line| {
                setting(line)
                    .unwrap_or(line)
                    .starts_with(&format!("{key} ="))
            }) || {
                // A section of its own, or one that is shown and not set.
                let within = section.trim_matches(['[', ']']);
                let name = match within {
                    "" => key.to_owned(),
                    _ => format!("{within}.{key}"),
                };
                ["", "# "].iter().any(|mark| {
                    [format!("\n{mark}[{name}]"), format!("\n{mark}[[{name}]]")]
                        .iter()
                        .any(|head| example.contains(head))
                })
            };
            assert!(found, "{EXAMPLE}: {section} does not show `{key}`");
        }
    }
}

/// Lines of fenced blocks, each with the word behind the fence.
fn fenced(text: &str) -> Vec<(&str, &str)> {
    let mut kind = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), kind) {
            (Some(word), None) => kind = Some(word),
            (Some(_), Some(_)) => kind = None,
            (None, Some(kind)) => lines.push((kind, line)),
            (None, None) => {}
        }
    }
    assert_eq!(kind, None, "a fence is not closed");
    lines
}

/// The command of a shell line, without the prompt and what comes before the program.
fn words(line: &str) -> Vec<&str> {
    let command = line.trim().trim_start_matches("$ ");
    let command = command.split(['|', '#', ';']).next().unwrap();
    command
        .split_whitespace()
        .skip_while(|word| *word == "sudo")
        .collect()
}

fn zerorate(arguments: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[test]
fn every_command_that_is_shown_exists() {
    let mut seen = BTreeSet::new();
    for (name, text) in documents() {
        for (_, line) in fenced(&text) {
            match words(line)[..] {
                ["zerorate" | "target/release/zerorate", ref rest @ ..] => {
                    let named = rest.iter().take_while(|word| {
                        word.chars().all(|c| c.is_ascii_lowercase()) && **word != "policies"
                    });
                    // `subscriber list` and `policy reload` are two words, `subscriber show ID` three.
                    let nested = matches!(
                        rest.first(),
                        Some(
                            &("subscriber"
                                | "policy"
                                | "bucket"
                                | "bundle"
                                | "record"
                                | "api"
                                | "ledger")
                        )
                    );
                    let deeper = nested && rest.get(1) == Some(&"token");
                    let depth = 1 + usize::from(nested) + usize::from(deeper);
                    let named: Vec<&str> = named.copied().take(depth).collect();
                    let (help, known) = zerorate(&[&named[..], &["--help"]].concat());
                    assert!(known, "{name}: `{line}`: {help}");
                    for flag in rest.iter().filter(|word| word.starts_with("--")) {
                        let flag = flag.split('=').next().unwrap();
                        assert!(help.contains(flag), "{name}: `{line}`: no {flag}");
                    }
                    seen.insert(named.join(" "));
                }
                ["cargo", "xtask", command, ..] => {
                    let commands = read("xtask/src/main.rs");
                    let known = commands.contains(&format!("name: \"{command}\""));
                    assert!(known || command.starts_with("--"), "{name}: `{line}`");
                    seen.insert(format!("xtask {command}"));
                }
                _ => {}
            }
        }
    }
    for wanted in [
        "check",
        "explain",
        "replay",
        "run",
        "xtask demo",
        "xtask test",
    ] {
        assert!(seen.contains(wanted), "no document shows `{wanted}`");
    }
}

/// `docs/api.md` has a row for each route, with the role it needs, and no other rows.
#[test]
fn the_api_s_routes_are_those_that_are_told() {
    let text = read("docs/api.md");
    let told: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let request = cells.next()?.trim_end_matches('`');
            let (method, _) = request.split_once(" /")?;
            let known = ["GET", "PUT", "POST", "PATCH", "DELETE"].contains(&method);
            known.then_some((request.to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    let routes = zerorate::api::routes::all().into_iter().map(|route| {
        let request = format!("{} {}", route.method, route.path);
        (request, route.access.to_string())
    });
    assert_eq!(told, routes.collect());
}

/// Policy versions are hashes of files that may change without a document being wrong.
fn without_versions(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if digits.len() == 16 {
            shown.push_str("VERSION");
            shown.push_str(&word[digits.len()..]);
        } else {
            shown.push_str(word);
        }
    }
    shown
}

#[test]
fn what_is_shown_is_what_is_printed() {
    let mut compared = 0;
    for (name, text) in documents() {
        let console: Vec<&str> = fenced(&text)
            .into_iter()
            .filter_map(|(kind, line)| (kind == "console").then_some(line))
            .collect();
        for session in console.chunk_by(|_, next| !next.starts_with("$ ")) {
            let (command, shown) = session.split_first().unwrap();
            let words = words(command);
            assert_eq!(words[0], "zerorate", "{name}: `{command}`");
            let (printed, _) = zerorate(&words[1..]);
            let tidy = |text: &str| without_versions(text.trim_end());
            assert_eq!(
                tidy(&shown.join("\n")),
                tidy(&printed),
                "{name}: `{command}`"
            );
            compared += 1;
        }
    }
    assert!(compared > 3, "no document shows what a command prints");
}

#[test]
fn every_link_leads_somewhere() {
    for (name, text) in documents() {
        let here = root().join(&name);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let path = target.split('#').next().unwrap();
            if target.contains("://") || path.is_empty() {
                continue;
            }
            let path = here.parent().unwrap().join(path);
            assert!(path.exists(), "{name}: there is no {target}");
        }
    }
}

#[test]
fn the_readme_knows_every_room() {
    let readme = read("README.md");
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let kept = !name.starts_with('.') && !name.starts_with("target");
        if kept && entry.file_type().unwrap().is_dir() {
            assert!(
                readme.contains(&format!("`{name}/`")),
                "README.md: no `{name}/`"
            );
        }
    }
}
