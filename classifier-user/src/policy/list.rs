//! The prefixes of a set: written in `policy.toml`, or in a list file with one prefix a line and
//! `#` comments.

use std::sync::Arc;

use super::model::{ListFile, ListedPrefix, Place};
use super::prefix::parse_prefix;
use super::read::RawSet;
use super::source::SourceFile;
use super::version::sha256;
use crate::diagnostic::{Diagnostics, quote};

/// No prefix and its blanks are as long; a longer line says that the file is something else.
const MAX_LINE: usize = 1024;

impl ListFile {
    /// What is remembered of the file.
    pub(super) fn of(source: &SourceFile) -> Self {
        let text = source.text();
        ListFile {
            path: Arc::clone(source.path()),
            ends_in_newline: text.is_empty() || text.ends_with('\n'),
            has_end: last_line(source) == "# end",
        }
    }
}

/// The last line that is not blank, without blanks around it.
fn last_line(source: &SourceFile) -> &str {
    source
        .text()
        .trim_end()
        .lines()
        .next_back()
        .unwrap_or("")
        .trim()
}

/// Checks what a set declares of its list file, so that one that was cut short is known.
pub(super) fn check_whole(source: &SourceFile, set: &RawSet, out: &mut Diagnostics) {
    if let Some(end) = &set.ends_with {
        let last = last_line(source);
        if last != end.value.trim() {
            out.error(
                source.at(source.lines().map(|line| line.number).last().unwrap_or(1), 1),
                "cut-short",
                format!(
                    "the list ends with {}, not with {} as the set declares at {}",
                    quote(last),
                    quote(&end.value),
                    end.place
                ),
                "fetch it again: it was cut short, or has another end now, which the set has to declare",
            );
        }
    }
    if let Some(declared) = &set.sha256 {
        let hex = declared.value.to_ascii_lowercase();
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            out.error(
                declared.place.clone(),
                "bad-checksum",
                format!("{} is not a SHA-256", quote(&declared.value)),
                "write the 64 hex digits that sha256sum prints",
            );
            return;
        }
        let found = sha256(source);
        if found != hex {
            out.error(
                declared.place.clone(),
                "checksum",
                format!(
                    "{} is not the list that was declared: its SHA-256 is {found}",
                    source.path().display()
                ),
                "fetch the list again, or declare its new checksum if it is to be another one",
            );
        }
    }
}

/// What is declared of a list file needs one.
pub(super) fn check_has_file(set: &RawSet, out: &mut Diagnostics) {
    for (key, declared) in [("ends_with", &set.ends_with), ("sha256", &set.sha256)] {
        if let (Some(declared), None, false) = (declared, &set.file, set.broken) {
            out.error(
                declared.place.clone(),
                "no-file",
                format!("{key} is given, and the set has no file that it could be about"),
                format!("add file, or remove {key}"),
            );
        }
    }
}

/// Reads a list file.
pub(super) fn read_list(source: &SourceFile, out: &mut Diagnostics) -> Vec<ListedPrefix> {
    let mut prefixes = Vec::new();
    for line in source.lines() {
        let comment = line.text.bytes().position(|byte| byte == b'#');
        let entry = &line.text[..comment.unwrap_or(line.text.len())];
        let text = entry.trim();
        if text.is_empty() {
            continue;
        }
        let indent = entry.len() - entry.trim_start().len();
        let place = source.at(line.number, 1 + entry[..indent].chars().count() as u32);
        if text.len() > MAX_LINE {
            out.error(
                place,
                "line-too-long",
                format!(
                    "a line of {} bytes, which begins {}, is no prefix",
                    text.len(),
                    quote(text)
                ),
                "write one prefix a line, with comments after #",
            );
        } else if text
            .bytes()
            .any(|byte| matches!(byte, b' ' | b'\t' | b',' | b';'))
        {
            out.error(
                place,
                "bad-prefix",
                format!("{} is more than one prefix", quote(text)),
                "write one prefix a line, with comments after #",
            );
        } else {
            prefixes.extend(listed(text, place, out));
        }
    }
    prefixes
}

/// The prefix `text` at `place`, or what is wrong with it.
pub(super) fn listed(text: &str, place: Place, out: &mut Diagnostics) -> Option<ListedPrefix> {
    match parse_prefix(text) {
        Ok(net) => Some(ListedPrefix { net, place }),
        Err(error) => {
            out.error(place, error.code(), error.to_string(), error.help());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn read(content: &str) -> (Vec<String>, Vec<String>) {
        let source = SourceFile::new(Arc::new(PathBuf::from("l")), content.to_owned());
        let mut out = Diagnostics::default();
        let prefixes = read_list(&source, &mut out);
        (
            prefixes
                .iter()
                .map(|p| format!("{} {}:{}", p.net, p.place.line, p.place.column))
                .collect(),
            out.iter()
                .map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.code))
                .collect(),
        )
    }

    #[test]
    fn comments_blanks_and_line_ends() {
        let expected = [
            "203.0.113.0/24 2:1",
            "2001:db8::/32 4:3",
            "198.51.100.7/32 5:1",
        ];
        let content = "# head\n203.0.113.0/24 # why\n\n\t 2001:db8::/32\n198.51.100.7#x\n";
        for variant in [
            content.to_owned(),
            content.replace('\n', "\r\n"),
            format!("\u{feff}{content}"),
            content.trim_end().to_owned(),
        ] {
            assert_eq!(
                read(&variant),
                (expected.map(str::to_owned).to_vec(), vec![])
            );
        }
    }

    #[test]
    fn every_bad_line_is_reported() {
        let long = "1".repeat(MAX_LINE + 1);
        let (prefixes, errors) = read(&format!(
            "10.0.0.1/8\n {long}\n10.0.0.0/8,11.0.0.0/8\n::/129\n10.0.0.0/8\n"
        ));
        assert_eq!(prefixes, ["10.0.0.0/8 5:1"]);
        assert_eq!(
            errors,
            [
                "1:1 host-bits",
                "2:2 line-too-long",
                "3:1 bad-prefix",
                "4:1 bad-prefix"
            ]
        );
    }
}
