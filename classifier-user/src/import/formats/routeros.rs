//! Address lists of a RouterOS export (`.rsc`): the `add` commands of the menus `/ip firewall address-list` and
//! `/ipv6 firewall address-list`. Other menus of the export are passed over, and so are entries that are disabled.

use super::{prefix_or_range, take};
use crate::diagnostic::{Diagnostics, quote};
use crate::import::gathered::Gathered;
use crate::import::request::Key;
use crate::policy::{Place, SourceFile};

/// A command, from however many lines.
#[derive(Default)]
struct Command {
    text: String,
    /// Where each line's part begins: in the text, and in the file.
    parts: Vec<(usize, u32, u32)>,
}

impl Command {
    fn push(&mut self, number: u32, line: &str) {
        let part = line.trim_start();
        let indent = line[..line.len() - part.len()].chars().count();
        self.parts
            .push((self.text.len(), number, 1 + indent as u32));
        self.text.push_str(part.trim_end().trim_end_matches('\\'));
    }

    /// Where the command's text has `offset`.
    fn place(&self, source: &SourceFile, offset: usize) -> Place {
        let after = self.parts.partition_point(|(start, ..)| *start <= offset);
        let (start, line, column) = self.parts[after.saturating_sub(1)];
        let between = self.text.get(start..offset).unwrap_or_default();
        source.at(line, column + between.chars().count() as u32)
    }
}

pub(super) fn read(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    let mut in_menu = false;
    let mut menus = 0_usize;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let mut command = Command::default();
        command.push(line.number, line.text);
        // A command goes on behind a backslash at the end of the line.
        let mut last = line.text;
        while last.trim_end().ends_with('\\') && !last.trim_start().starts_with('#') {
            let Some(next) = lines.next() else {
                out.error(
                    command.place(source, 0),
                    "incomplete",
                    "the file ends in the middle of this command",
                    "export it again: it was cut off",
                );
                return;
            };
            command.push(next.number, next.text);
            last = next.text;
        }
        let text = command.text.as_str();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut rest = text;
        if let Some(path) = text.strip_prefix('/') {
            let menu = menu(path);
            in_menu = menu.is_some();
            menus += usize::from(in_menu);
            rest = menu.unwrap_or_default();
        }
        // Scripts wrap what may fail: :do { add ... } on-error={}
        let mut words = rest.split(|c: char| c.is_whitespace() || c == '{');
        let adds = match words.next() {
            Some(":do") => words.any(|word| word == "add"),
            first => first == Some("add"),
        };
        if in_menu && adds {
            add(source, &command, into, out);
        }
    }
    if menus == 0 {
        out.error(
            source.at(1, 1),
            "not-a-list",
            "there is no address list in it",
            "export one: /ip firewall address-list export file=list",
        );
    }
}

/// What follows the menu's name, if `path` (without its first slash) is the menu of address lists.
fn menu(path: &str) -> Option<&str> {
    let rest = path
        .strip_prefix("ipv6")
        .or_else(|| path.strip_prefix("ip"))?;
    let mut rest = rest;
    for word in ["firewall", "address-list"] {
        let apart = |c: char| c.is_whitespace() || c == '/';
        let trimmed = rest.trim_start_matches(apart);
        if trimmed.len() == rest.len() {
            return None;
        }
        rest = trimmed.strip_prefix(word)?;
    }
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// One `add` command.
fn add(source: &SourceFile, command: &Command, into: &mut Gathered, out: &mut Diagnostics) {
    let text = command.text.as_str();
    let start = || command.place(source, 0);
    let Some(words) = words(text) else {
        let help = "close it, or remove it";
        let message = "a quote is opened and not closed in this command";
        return out.error(start(), "bad-quotes", message, help);
    };
    let (mut address, mut list, mut disabled) = (None, None, false);
    for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let value = value.trim_matches(['"', '}', ';']);
        match key {
            "address" => address = Some(value),
            "list" => list = Some(value),
            "disabled" => disabled = value == "yes",
            _ => {}
        }
    }
    let (Some(address), Some(list)) = (address, list) else {
        let message = format!("{} has no address= or no list=", quote(text));
        let help = "an entry is add list=NAME address=PREFIX";
        return out.error(start(), "bad-entry", message, help);
    };
    if !into.wants(Key::List, [list]) {
        return;
    }
    if disabled {
        return into.leave_out("entries that are disabled");
    }
    let offset = (address.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    take(
        prefix_or_range(address),
        command.place(source, offset),
        into,
        out,
    );
}

/// The words of a line, with blanks inside quotes; `None` where a quote stays open.
fn words(line: &str) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let apart = |c: char| {
        let quote = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        quoted ^= quote;
        !quoted && c.is_whitespace()
    };
    let words: Vec<&str> = line.split(apart).filter(|word| !word.is_empty()).collect();
    (!quoted).then_some(words)
}
