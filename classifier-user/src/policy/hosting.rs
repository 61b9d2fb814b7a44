//! Address space of content networks and shared hosting: who lists it for one service gives away every other that
//! lives there. The list of such space is a file of the admin's: a prefix a line, and whose it is.

use std::path::Path;

use super::list::listed;
use super::model::Place;
use super::prefix::Range;
use super::source::SourceFile;
use crate::diagnostic::Diagnostics;

/// Shared address space.
#[derive(Default)]
pub(super) struct Hosting {
    /// By address, none inside another.
    ranges: Vec<(Range, String)>,
}

impl Hosting {
    /// Reads the list at `path`, which `place` names.
    pub(super) fn read(path: &Path, place: Place, out: &mut Diagnostics) -> Self {
        let source = match SourceFile::read(path) {
            Ok(source) => source,
            Err(error) => {
                let shown = format!("the list of shared hosting {}", path.display());
                error.report(&shown, place, out);
                return Self::default();
            }
        };
        let mut ranges = Vec::new();
        for line in source.lines() {
            let entry = line.text.split('#').next().unwrap_or_default();
            let text = entry.trim();
            if text.is_empty() {
                continue;
            }
            let indent = entry.len() - entry.trim_start().len();
            let at = source.at(line.number, 1 + entry[..indent].chars().count() as u32);
            let (prefix, whose) = text.split_once([' ', '\t']).unwrap_or((text, ""));
            if let Some(prefix) = listed(prefix, at, out) {
                ranges.push((Range::of(&prefix.net), whose.trim().to_owned()));
            }
        }
        ranges.sort_by_key(|(range, _)| range.sort_key());
        ranges.dedup_by(|inner, outer| outer.0.contains(&inner.0));
        Hosting { ranges }
    }

    /// Whose space `range` lies in, or has in it; empty where the list does not say.
    pub(super) fn meets(&self, range: &Range) -> Option<&str> {
        let after = self
            .ranges
            .partition_point(|(other, _)| (other.v6, other.first) <= (range.v6, range.last));
        let (last, whose) = self.ranges[..after].last()?;
        let meets = last.v6 == range.v6 && last.last >= range.first;
        meets.then_some(whose.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    #[test]
    fn space_is_found_from_inside_and_from_around() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosting.txt");
        let list = "# ours\n 8.8.0.0/16 Example CDN # a note\n8.8.8.0/24 inside\n2a00:1::/32\n";
        fs::write(&path, list).unwrap();
        let place = Place {
            file: Arc::new(PathBuf::from("policy.toml")),
            line: 1,
            column: 1,
        };
        let mut out = Diagnostics::default();
        let hosting = Hosting::read(&path, place.clone(), &mut out);
        assert_eq!(out.errors(), 0);
        let meets = |net: &str| {
            let range = Range::of(&net.parse().unwrap());
            hosting.meets(&range).map(str::to_owned)
        };
        for (net, expected) in [
            ("8.8.4.0/24", Some("Example CDN")),
            ("8.8.255.255/32", Some("Example CDN")),
            ("8.0.0.0/8", Some("Example CDN")),
            ("8.9.0.0/16", None),
            ("8.7.255.0/24", None),
            ("2a00:1:2::/48", Some("")),
            ("2a00:2::/32", None),
            ("::/16", None),
        ] {
            assert_eq!(meets(net).as_deref(), expected, "{net}");
        }
        Hosting::read(&dir.path().join("missing"), place, &mut out);
        assert_eq!(out.errors(), 1);
    }
}
