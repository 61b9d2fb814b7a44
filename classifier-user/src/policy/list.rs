//! The prefixes of a set: written in `policy.toml`, or in a list file with one prefix a line and
//! `#` comments.

use super::model::{ListedPrefix, Place};
use super::prefix::parse_prefix;
use super::source::SourceFile;
use crate::diagnostic::{Diagnostics, quote};

/// No prefix and its blanks are as long; a longer line says that the file is something else.
const MAX_LINE: usize = 1024;

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
    use std::sync::Arc;

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
