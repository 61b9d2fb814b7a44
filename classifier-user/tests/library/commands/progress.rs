//! The bar that long work shows on a terminal, which is a pseudo-terminal here: it is there while somebody may look, nothing
//! of it is left, and nothing of it goes anywhere else.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use tempfile::TempDir;

use super::{POLICY, stderr, stdout};

/// As many prefixes as take long enough for a bar.
const MANY: u32 = 300_000;

/// A policy with a long list, and one that lists a few others.
fn large() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in [("old", 0), ("new", 300)] {
        let list: String = (from..from + MANY)
            .map(|number| {
                format!(
                    "11.{}.{}.{}\n",
                    number >> 16,
                    number >> 8 & 255,
                    number & 255
                )
            })
            .collect();
        let policy = dir.path().join(name);
        fs::create_dir(&policy).unwrap();
        fs::write(policy.join("policy.toml"), POLICY).unwrap();
        fs::write(policy.join("portals.txt"), list).unwrap();
    }
    dir
}

/// What a command writes to a terminal as its standard error, byte for byte, and to standard output, which is a file.
fn on_terminal(dir: &Path, arguments: &[&str], term: &str) -> (String, String) {
    let pty = openpty(None, None).unwrap();
    let printed = dir.join("printed");
    let mut child = Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(arguments)
        .current_dir(dir)
        .env("TERM", term)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(File::create(&printed).unwrap())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    let mut master = File::from(pty.master);
    let mut piece = [0; 4096];
    // When nobody holds the other end any more, reading fails.
    while let Ok(length @ 1..) = master.read(&mut piece) {
        shown.extend_from_slice(&piece[..length]);
    }
    child.wait().unwrap();
    let shown = String::from_utf8(shown).unwrap();
    (shown, fs::read_to_string(printed).unwrap())
}

/// What stands on a terminal in the end: as much of its rules as the bar needs.
fn left_standing(shown: &str) -> String {
    let mut lines = vec![String::new()];
    let mut rest = shown;
    while let Some(first) = rest.chars().next() {
        let (taken, end) = match first {
            '\r' => (1, Some("")),
            '\n' => {
                lines.push(String::new());
                (1, None)
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                assert_eq!(&rest[..=end], "\x1b[2K", "a sequence of another kind");
                lines.last_mut().unwrap().clear();
                (end + 1, None)
            }
            _ => (first.len_utf8(), Some(&rest[..first.len_utf8()])),
        };
        match end {
            // What follows is written over the line; nothing shorter is, without erasing it.
            Some("") if rest[1..].starts_with(['\n', '\r', '\x1b']) || rest.len() == 1 => {}
            Some("") => lines.last_mut().unwrap().clear(),
            Some(text) => lines.last_mut().unwrap().push_str(text),
            None => {}
        }
        rest = &rest[taken..];
    }
    lines.join("\n")
}

#[test]
fn a_bar_is_shown_on_a_terminal_and_leaves_nothing() {
    let dir = large();
    for (arguments, what) in [
        (&["check", "old"][..], "checking ["),
        (&["check", "new", "--against", "old"], "checking ["),
        (&["diff", "old", "new"], "comparing ["),
        (&["import", "text", "old/portals.txt"], "importing ["),
    ] {
        let piped = super::zerorate(dir.path(), arguments);
        for bar in ["\r", "\x1b", "%", what] {
            assert!(
                !stderr(&piped).contains(bar),
                "{arguments:?}: {bar:?} in a pipe"
            );
        }
        let (shown, printed) = on_terminal(dir.path(), arguments, "xterm");
        assert!(
            shown.contains(what) && shown.contains('%'),
            "{arguments:?}: no bar: {shown:?}"
        );
        assert_eq!(
            left_standing(&shown),
            stderr(&piped),
            "{arguments:?}: {shown:?}"
        );
        let lasting = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with("# Time:"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(lasting(&printed), lasting(&stdout(&piped)), "{arguments:?}");
    }
}

#[test]
fn there_is_no_bar_where_it_could_not_be_taken_away_or_a_program_reads() {
    let dir = large();
    for (arguments, term) in [
        (&["check", "old"][..], "dumb"),
        (&["check", "old", "--format", "json"], "xterm"),
        (&["diff", "old", "new", "--format", "json"], "xterm"),
    ] {
        let (shown, _) = on_terminal(dir.path(), arguments, term);
        assert!(
            !shown.contains('%') && !shown.contains('\x1b'),
            "{arguments:?}: {shown:?}"
        );
    }
}

#[test]
fn small_work_shows_no_bar() {
    let dir = super::sample();
    let (shown, printed) = on_terminal(dir.path(), &["check", "."], "xterm");
    assert_eq!(shown, "");
    assert!(printed.starts_with("policy       sample"), "{printed}");
}
